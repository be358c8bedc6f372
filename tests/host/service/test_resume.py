"""Uploads that break off go on where they stopped (`partials`)."""

import hashlib
import os
import random
import time

import pytest
from lepton.results import Spool, Unavailable, Uploader
from lepton.results.ingest import IngestTarget
from lepton.service.identity import Identity
from lepton.service.partials import KEPT_SECONDS, LEAST_BYTES, Partials

from tests.host.results.proxy import Proxy
from tests.host.service.running import Service, members

CAMERA = Identity("device", "acme", "cam7")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service"), limits="body_seconds=1") as started:
        yield started


@pytest.fixture(scope="module")
def camera(service):
    return service.enrol("device", "acme", "cam7")


def attempts(target, segment, most):
    """Upload until it is stored; the number of attempts."""
    for number in range(1, most + 1):
        try:
            assert target.put_new(segment.key, segment.data)
            return number
        except Unavailable:
            time.sleep(0.05)
    raise AssertionError(f"not stored after {most} attempts")


@pytest.mark.parametrize("kilobytes", [16, 50])
def test_link_that_breaks_after_some_kilobytes(service, camera, kilobytes):
    """Each connection carries a fixed number of bytes, and then breaks: the segment arrives all the same."""
    spool = camera.spool()
    segment = spool.next(noise=240_000)
    assert len(segment.data) > 200_000
    with Proxy(service.port) as proxy:
        proxy.cut_after = kilobytes << 10
        target = IngestTarget(f"https://127.0.0.1:{proxy.port}", credentials=camera.credentials)
        needed = len(segment.data) / proxy.cut_after
        # a handshake with certificates takes some 3 kB of each connection, and a piece may be lost at the break
        assert needed < attempts(target, segment, round(6 * needed) + 10)
        proxy.cut_after = None
        following = spool.next()
        assert target.put_new(following.key, following.data)
        assert not target.put_new(segment.key, segment.data)
        target.close()


def test_uploader_over_a_link_that_breaks(service, tmp_path):
    """The pauses do not grow while there is progress."""
    device = service.enrol("device", "acme", "edge")
    rng = random.Random(5)
    with Proxy(service.port) as proxy, Spool(tmp_path / "spool.db", device="edge") as spool:
        spool.append_many("run", [{"noise": rng.randbytes(20_000).hex()} for _ in range(10)])
        proxy.cut_after = 24 << 10
        target = IngestTarget(f"https://127.0.0.1:{proxy.port}", credentials=device.credentials)
        with Uploader(spool, target, device.keys, backoff_base=0.05, backoff_cap=600.0) as uploader:
            deadline = time.monotonic() + 240
            while uploader.status.records < 10:
                assert time.monotonic() < deadline, uploader.status
                time.sleep(0.1)
        assert proxy.cuts >= 5
        target.close()


def test_offsets(service, camera):
    spool = camera.spool()
    segment = spool.next(noise=50_000)
    path = f"/v1/{segment.key}"
    headers = {"Upload-Complete": "?1", "Content-Type": "application/partial-upload"}

    def offset():
        answer = camera.head(path)
        assert answer.status_code == 204
        assert answer.headers["upload-complete"] == "?0"
        return int(answer.headers["upload-offset"])

    def rest(start, content=None, **more):
        return camera.patch(path, content=segment.data[start:] if content is None else content,
                            headers=headers | {"Upload-Offset": str(start)} | more)

    assert offset() == 0
    answer = rest(100)
    assert members(answer) == (409, "offset") and answer.json()["offset"] == 0
    assert members(camera.patch(path, content=b"x", headers=headers)) == (400, "malformed")
    assert members(rest(0, **{"Upload-Offset": "-1"})) == (400, "malformed")

    def broken():
        yield segment.data[:20_000]
        time.sleep(2)  # longer than `body_seconds`
        yield segment.data[20_000:]

    answer = camera.put(path, content=broken(), headers={"Content-Length": str(len(segment.data))})
    assert members(answer) == (408, "slow")
    here = offset()
    assert here == 20_000
    other = service.enrol("device", "acme", "other")
    assert other.head(path).status_code == 403
    answer = rest(here, content=bytes(len(segment.data) - here))  # other bytes than the key names
    assert members(answer) == (409, "offset") and answer.json()["offset"] == 0
    assert offset() == 0
    answer = rest(0)
    assert answer.status_code == 201 and answer.json()["sequence"] == 0
    assert camera.upload(segment).status_code == 200


def test_kept_parts_are_bounded(tmp_path, monkeypatch):
    """One body of a device, some bytes of a tenant, and a day."""
    now = [time.time()]
    partials = Partials(tmp_path, lambda: now[0])
    key = f"results/tenant=acme/device=cam7/date=2026-11-30/{'0' * 32}-{1:012}-{hashlib.sha256(b'').hexdigest()}.cose"
    partials.keep(CAMERA, key, 0, bytes(LEAST_BYTES - 1))
    assert partials.size(CAMERA, key) == 0
    partials.keep(CAMERA, key, 0, b"a" * 5000)
    partials.keep(CAMERA, key, 5000, b"b")
    partials.keep(CAMERA, key, 9000, b"c")  # a hole would be sent as zeros
    assert partials.read(CAMERA, key) == b"a" * 5000 + b"b"
    another = key.replace("-000000000001-", "-000000000002-")
    partials.keep(CAMERA, another, 0, b"d" * 5000)
    assert (partials.size(CAMERA, key), partials.size(CAMERA, another)) == (0, 5000)
    monkeypatch.setattr("lepton.service.partials.MOST_BYTES", 12_000)
    others = [Identity("device", "acme", f"cam{n}") for n in range(4)]
    for n, device in enumerate(others):
        partials.keep(device, key, 0, b"e" * 4000)
        path = partials._path(device, key)
        os.utime(path, (now[0] + n, now[0] + n))
    assert [partials.size(device, key) for device in (CAMERA, *others)] == [0, 0, 4000, 4000, 4000]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 12_000
    now[0] += KEPT_SECONDS + 10
    assert partials.size(others[3], key) == 0
    partials.keep(others[0], key, 0, b"f" * 2000)
    assert [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()] == [2000]
    partials.drop(others[0])
    assert partials.read(others[0], key) == b""


def test_folder_that_cannot_be_written(tmp_path):
    """Then nothing is kept, and a device sends its segment as a whole."""
    (tmp_path / "incoming").write_text("a file")
    partials = Partials(tmp_path / "incoming")
    key = "results/x/y.cose"
    partials.keep(CAMERA, key, 0, bytes(5000))
    assert partials.size(CAMERA, key) == 0 and partials.read(CAMERA, key) == b""
