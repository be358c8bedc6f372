"""The root that signs: made once, kept closed, and refused when damaged."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from lepton.service.authority import Authority
from lepton.service.errors import ServiceError


def test_made_once(tmp_path):
    first = Authority(tmp_path / "a")
    again = Authority(tmp_path / "a")
    assert first.root == again.root
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()} == {
        "authority.pem": 0o644, "authority.key": 0o600}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_made_by_many_at_once(tmp_path):
    """As when the service starts while its operator makes the first code."""
    with ThreadPoolExecutor(8) as pool:
        roots = {authority.root_pem for authority in pool.map(lambda _: Authority(tmp_path / "a"), range(16))}
    assert len(roots) == 1


def test_root_signs_only_leaves(tmp_path):
    constraints = Authority(tmp_path).root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)


def test_server_names(tmp_path):
    pem = Authority(tmp_path).server_pem(["ingest.example", "192.0.2.7", "::1"])
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["ingest.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "::1"]


def test_damaged(tmp_path):
    Authority(tmp_path / "a")
    (tmp_path / "a" / "authority.key").write_text("?")
    with pytest.raises(ServiceError, match=r"cannot be read .*; restore it from a backup"):
        Authority(tmp_path / "a")
    (tmp_path / "a" / "authority.key").unlink()
    with pytest.raises(ServiceError, match=r"authority\.key is missing; restore it from a backup"):
        Authority(tmp_path / "a")


def test_copy_that_is_handed_out_is_made_again(tmp_path):
    first = Authority(tmp_path)
    first.root_file.unlink()
    assert Authority(tmp_path).root_file.read_text() == first.root_pem
