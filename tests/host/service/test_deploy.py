"""The files of deploy/ are valid, and name commands and options that exist."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from lepton.cli.main import make_parser

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"


def parsed(words):
    """The arguments of `lepton`, which ends the program if one does not exist."""
    return make_parser().parse_args(words)


def test_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "lepton-ingest.service"
    text = (DEPLOY / "lepton-ingest.service").read_text()
    program = tmp_path / "lepton"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit.write_text(text.replace("/opt/lepton/bin/lepton", str(program)))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "lepton-ingest.service" not in done.stderr, done.stderr


def test_command_of_the_unit():
    lines = (DEPLOY / "lepton-ingest.service").read_text().splitlines()
    command = next(line for line in lines if line.startswith("ExecStart=")).partition("=")[2]
    example = next(line for line in lines if "ARGUMENTS=--" in line).partition("ARGUMENTS=")[2]
    arguments = parsed(shlex.split(command.replace("$ARGUMENTS", example))[1:])
    assert (arguments.workers, arguments.probe, arguments.log_format) == (2, ("127.0.0.1", 9464), "json")


def test_compose():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"database", "objects", "ingest"}
    assert [name for name, service in services.items() if "ports" in service] == ["ingest"]
    assert services["ingest"]["ports"] == ["8443:8443"]  # neither the probe nor the store
    assert compose["networks"]["inside"] == {"internal": True}
    for name in ("database", "objects"):
        assert services[name]["networks"] == ["inside"]
    used = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert used == set(compose["volumes"])
    arguments = parsed(["cloud", *services["ingest"]["command"]])
    assert (arguments.store, arguments.workers) == ("s3://lepton", 2)
    assert (ROOT / services["ingest"]["build"]["dockerfile"]).exists()


def test_container():
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert list(ROOT.glob(source)), source
    entry = yaml.safe_load(next(line for line in lines if line.startswith("ENTRYPOINT")).partition(" ")[2])
    command = yaml.safe_load(next(line for line in lines if line.startswith("CMD")).partition(" ")[2])
    assert parsed([*entry, *command][1:]).probe == ("0.0.0.0", 9464)
    assert next(line for line in lines if line.startswith("USER")) == "USER lepton"


def test_proxy():
    text = (DEPLOY / "haproxy.cfg").read_text()
    assert text.index("del-header Client-Cert") < text.index("set-header Client-Cert")
    command = next(line for line in text.splitlines() if "cloud serve" in line).partition("lepton ")[2]
    assert parsed(shlex.split(command)).proxy == ["127.0.0.1"]
    if shutil.which("haproxy"):
        done = subprocess.run(["haproxy", "-c", "-f", DEPLOY / "haproxy.cfg"], capture_output=True, text=True)
        assert "unknown keyword" not in done.stderr
