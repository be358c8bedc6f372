"""The service before a real S3 server."""

import pytest
from lepton.results import Store, server

from tests.host.service.running import Service, members


@pytest.fixture
def s3(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "STOP_SECONDS", 0.5)  # then SIGKILL: its farewell takes a quarter of a minute
    folder = tmp_path / "longer-than-the-name-of-a-socket-may-be" / ("x" * 60) / "s3"
    yield server.up(folder)
    server.down(folder)


def test_segments_in_a_bucket(s3, tmp_path):
    where = f"{s3.url}/ingest"
    environment = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key,
                   "AWS_ENDPOINT_URL": s3.endpoint}
    with Service(tmp_path, store=where, environment=environment) as service:
        camera = service.enrol("device", "acme", "cam7")
        reader = service.enrol("reader", "acme", "alice")
        spool = camera.spool()
        first = spool.next()
        second = spool.next()
        assert [camera.upload(first).status_code for _ in range(2)] == [201, 200]
        assert reader.get(f"/v1/{first.key}").content == first.data

        server.down(s3.folder)
        assert members(camera.upload(second)) == (503, "unavailable")
        restarted = server.up(s3.folder)
        assert restarted.endpoint == s3.endpoint
        assert camera.upload(second).status_code == 201
        assert Store(f"{where}/acme", **s3.options(), client_options={"allow_http": True}).keys() == [
            first.key, second.key]
