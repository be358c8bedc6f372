"""An object store that takes connections and never answers."""

import socket
import threading
import time

import pytest

from tests.host.service.running import Service, members

SECONDS = 1.0


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with socket.create_server(("127.0.0.1", 0), backlog=256) as hole:
        environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{hole.getsockname()[1]}", "AWS_ACCESS_KEY_ID": "x",
                       "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
        with Service(tmp_path_factory.mktemp("service"), store="s3://bucket", environment=environment,
                     limits=f"store_seconds={SECONDS}") as started:
            yield started


def test_reading_goes_on(service):
    """Uploads are told in time; queries and checks of certificates do not wait for the store."""
    devices = [service.enrol("device", "acme", f"cam{n}") for n in range(40)]
    reader = service.enrol("reader", "acme", "alice")
    statuses = []
    threads = [threading.Thread(target=lambda d=device: statuses.append(members(d.upload(d.spool().next()))))
               for device in devices]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS / 4)
    begun = time.monotonic()
    for _ in range(10):
        assert reader.get("/v1/results").json() == {"segments": [], "next": None}
        assert len(reader.get("/v1/devices").json()["devices"]) == 40
    seconds = time.monotonic() - begun
    for thread in threads:
        thread.join(60)
    assert statuses == [(503, "unavailable")] * 40
    assert seconds < 30  # without threads of their own the queries wait for the store, which never answers


def test_a_broken_store_is_not_asked(service):
    """After failures the answer comes at once."""
    device = service.enrol("device", "acme", "late")
    segment = device.spool().next()
    quick = 0
    for _ in range(20):
        begun = time.monotonic()
        assert members(device.upload(segment)) == (503, "unavailable")
        quick += time.monotonic() - begun < SECONDS
    assert quick >= 10


def test_stops_although_threads_wait(service):
    begun = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - begun < 20
