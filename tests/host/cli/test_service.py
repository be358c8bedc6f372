"""`lepton cloud invite`, `enroll`, `rotate`, `revoke` and `serve`, as an operator and a device use them."""

import re

import pytest
from lepton.cli import main
from lepton.cli.status import EXIT_USER_ERROR
from lepton.service.identity import Identity
from lepton.service.tenant import TenantView

from tests.host.service.running import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service")) as started:
        yield started


def test_life_of_a_device(service, tmp_path, capsys):
    home = ["--home", str(service.home.folder)]
    keys = ["--keys", str(tmp_path / "keys")]

    def lepton(*arguments):
        status = main(["cloud", *arguments])
        return status, capsys.readouterr()

    status, said = lepton("invite", "acme", "cam7", *home)
    assert status == 0
    code = said.out.splitlines()[-1]
    assert "device cam7 of tenant acme" in said.out

    status, said = lepton("enroll", service.url, "--code", code, "--authority", str(service.authority), *keys)
    assert (status, said.err) == (0, "")
    assert "cam7 of tenant acme" in said.out
    first = (tmp_path / "keys" / "client.pem").read_bytes()

    assert lepton("rotate", service.url, *keys)[0] == 0
    assert (tmp_path / "keys" / "client.pem").read_bytes() != first

    status, said = lepton("revoke", "acme", "cam7", *home)
    assert status == 0
    assert said.out == "revoked: device cam7 of tenant acme, 1 code with all certificates issued for it\n"

    status, said = lepton("rotate", service.url, *keys)
    assert status == EXIT_USER_ERROR
    assert said.err.endswith("issued no certificate: the certificate has been revoked; ask the operator for a code\n")

    status, said = lepton("revoke", "acme", "cam7", *home)
    assert status == EXIT_USER_ERROR
    assert "there is nothing to revoke" in said.err


def test_results_stream_to_the_service(service, tmp_path, monkeypatch, capsys):
    """What a person sees: enrol once, then run with the service as the target."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    code = service.invite(Identity("device", "acme", "cam9"))
    assert main(["cloud", "enroll", service.url, "--code", code, "--authority", str(service.authority)]) == 0
    assert main(["sim", "--device", "golden", "--config", "tiny", "--images", "2", "--store", service.url]) == 0
    assert f"{service.url}, device cam9" in " ".join(capsys.readouterr().out.split())

    view = TenantView(service.open_database(), "acme")
    rows = view.segments(device="cam9")
    view.database.close()
    assert sum(row["records"] for row in rows) == 2
    assert all(re.fullmatch("[0-9a-f]{16,64}", row[name])
               for row in rows for name in ("model_hash", "program_hash", "config_hash"))


@pytest.mark.parametrize("arguments, text", [
    (["serve", "--listen", "8443"], "must be HOST:PORT, not '8443'"),
    (["serve", "--listen", "localhost:99999"], "must be HOST:PORT"),
    (["serve", "--days", "0"], "must be more than 0 and at most 3650 days, not 0")])
def test_arguments(arguments, text, capsys):
    with pytest.raises(SystemExit):
        main(["cloud", *arguments])
    assert text in capsys.readouterr().err


def test_name_that_cannot_be(tmp_path, capsys):
    assert main(["cloud", "invite", "acme", "a/b", "--home", str(tmp_path)]) == EXIT_USER_ERROR
    assert "a name must be 1 to 64 letters" in capsys.readouterr().err


def test_port_that_is_taken(service, tmp_path, capsys):
    assert main(["cloud", "serve", "--home", str(tmp_path), "--listen", f"127.0.0.1:{service.port}"]) == EXIT_USER_ERROR
    assert f"cannot listen on 127.0.0.1:{service.port}: Address already in use" in capsys.readouterr().err
