"""The database or the store fails for a while: devices are told to come again, and nothing is lost or doubled."""

import psycopg
import pytest

from tests.host.service.running import Service, members


@pytest.fixture
def device(service):
    return service.enrol("device", "acme", "cam7")


def assert_unavailable(answer):
    assert members(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"
    assert "/" not in answer.json()["detail"]  # no paths, no URLs: those are in the log


def test_store(service, device):
    spool = device.spool()
    assert device.upload(spool.next()).status_code == 201
    folder = service.home.folder / "objects" / "acme" / "results" / "tenant=acme"
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("in the way")
    segment = spool.next()
    assert_unavailable(device.upload(segment))
    folder.unlink()
    aside.rename(folder)
    assert device.upload(segment).status_code == 201


def test_object_that_has_vanished(service, device):
    reader = service.enrol("reader", "acme", "alice")
    segment = device.spool().next()
    device.upload(segment)
    (service.home.folder / "objects" / "acme" / segment.key).unlink()
    assert_unavailable(reader.get(f"/v1/{segment.key}"))


def test_postgresql(postgres, tmp_path):
    url = postgres.new_database()
    name = url.rpartition("/test")[2].partition("?")[0]
    with Service(tmp_path, url) as service, psycopg.connect(postgres.url("postgres"), autocommit=True) as operator:
        device = service.enrol("device", "acme", "cam7")
        spool = device.spool()
        assert device.upload(spool.next()).status_code == 201
        operator.execute(f"ALTER DATABASE test{name} ALLOW_CONNECTIONS false")
        operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [f"test{name}"])
        segment = spool.next()
        assert_unavailable(device.upload(segment))
        operator.execute(f"ALTER DATABASE test{name} ALLOW_CONNECTIONS true")
        assert device.upload(segment).status_code == 201
