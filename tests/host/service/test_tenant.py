"""Queries: by device, model and time, in pages, on a running service and on both databases."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.host.service.running import Service, members
from tests.host.service.senders import MODELS

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request, tmp_path_factory):
    database = None if request.param == "sqlite" else request.getfixturevalue("postgres").new_database()
    with Service(tmp_path_factory.mktemp("service"), database) as started:
        yield started


@pytest.fixture(scope="module")
def reader(service):
    """Three devices, two models, ten segments each, one a minute; and another tenant with the same names."""
    for tenant in ("acme", "other"):
        for device in ("a", "a.b", "b"):
            client = service.enrol("device", tenant, device)
            spool = client.spool()
            for minute in range(10 if tenant == "acme" else 3):
                at = START + timedelta(minutes=minute)
                segment = spool.next(model="kws" if minute % 3 == 0 else "mnist", at_ms=int(at.timestamp() * 1000))
                assert client.upload(segment).status_code == 201
    return service.enrol("reader", "acme", "alice")


def query(reader, **parameters):
    """All rows of all pages."""
    rows = []
    after = {}
    while True:
        answer = reader.get("/v1/results", params=parameters | after)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        rows += page["segments"]
        if page["next"] is None:
            return [(row["device"], row["sequence"]) for row in rows]
        after = {"after": page["next"]}


def test_everything_once_whatever_the_page(reader):
    everything = [(device, n) for device in ("a", "a.b", "b") for n in range(10)]
    assert sorted(query(reader)) == everything
    for limit in (1, 7, 10, 30, 31):
        assert query(reader, limit=limit) == query(reader)


def test_rows_say_what_a_segment_says(reader):
    row = reader.get("/v1/results", params={"device": "b", "limit": 1}).json()["segments"][0]
    assert (row["device"], row["sequence"], row["run"], row["first"], row["last"], row["records"]) == (
        "b", 0, "r1", 0, 1, 2)
    assert (row["model_hash"], row["program_hash"], row["config_hash"]) == (MODELS["kws"], "p", "c")
    assert datetime.fromisoformat(row["first_time"]) == START
    body = reader.get(f"/v1/{row['key']}").content
    assert len(body) == row["bytes"]


def test_by_device(reader):
    assert query(reader, device="a") == [("a", n) for n in range(10)]
    assert query(reader, device="nobody") == []


def test_by_model(reader):
    assert query(reader, model=MODELS["kws"], device="b", limit=3) == [("b", n) for n in (0, 3, 6, 9)]
    assert len(query(reader, model=MODELS["mnist"])) == 18
    assert query(reader, model="0" * 64) == []


def test_by_time(reader):
    def between(since=None, until=None):
        span = {name: (START + timedelta(minutes=m)).isoformat() for name, m in (("since", since), ("until", until))
                if m is not None}
        return [n for _, n in query(reader, device="a", **span)]

    assert between(since=7) == [7, 8, 9]
    assert between(until=2) == [0, 1]
    assert between(3, 5) == [3, 4]
    assert between(3 + 0.5 / 60, 5) == [3, 4]  # within the second that segment 3 spans
    assert between(3 + 1.5 / 60, 5) == [4]
    assert between(5, 3) == []


@pytest.mark.parametrize("parameters", [
    {"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"device": "a/b"}, {"device": ""}, {"model": "\0"}, {"after": "a"},
    {"after": "a:b:1"}, {"after": "a:" + "0" * 32 + ":" + "9" * 13}, {"since": "yesterday"},
    {"since": "2026-03-01T00:00:00"}, {"until": "9" * 30}])
def test_bad_parameters(reader, parameters):
    assert members(reader.get("/v1/results", params=parameters)) == (422, "invalid")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_ends_of_time(reader, time):
    assert query(reader, since=time, until=time) == []


def test_devices(reader):
    pages = [reader.get("/v1/devices", params={"limit": 2}).json()]
    pages.append(reader.get("/v1/devices", params={"limit": 2, "after": pages[0]["next"]}).json())
    assert pages[1]["next"] is None
    rows = [row for page in pages for row in page["devices"]]
    assert sorted((row["device"], row["segments"], row["records"], row["spools"], row["missing_segments"])
                  for row in rows) == [(d, 10, 20, 1, 0) for d in ("a", "a.b", "b")]


def test_refusals(service, reader):
    client = service.enrol("device", "acme", "clumsy")
    for _ in range(3):
        assert client.get("/v1/devices").status_code == 403
    page = reader.get("/v1/refusals", params={"limit": 2}).json()
    rest = reader.get("/v1/refusals", params={"before": page["next"]}).json()["refusals"]
    ids = [row["id"] for row in page["refusals"] + rest]
    assert ids == sorted(set(ids), reverse=True)
    newest = page["refusals"][0]
    assert (newest["name"], newest["request"], newest["status"], newest["reason"]) == (
        "clumsy", "GET /v1/devices", 403, "not_yours")
