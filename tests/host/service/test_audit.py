"""The audit keeps what it can hold, and says what it could not."""

import threading

import pytest
from lepton.service import audit as audits
from lepton.service import tables
from lepton.service.audit import Audit
from lepton.service.identity import Identity
from lepton.service.refusal import RequestRefused
from sqlalchemy import func, select
from sqlalchemy.exc import DataError, OperationalError

ACME = Identity("device", "acme", "cam")
OTHER = Identity("device", "other", "cam")
WHY = RequestRefused(403, "not_yours", "it is not")


def counts(database):
    with database.read() as connection:
        return dict(connection.execute(select(tables.refusals.c.tenant, func.count())
                                       .group_by(tables.refusals.c.tenant)).all())


def details(database):
    with database.read() as connection:
        return connection.scalars(select(tables.refusals.c.detail).order_by(tables.refusals.c.id)).all()


def put_all(audit, number):
    """As fast as the audit takes them."""
    for i in range(number):
        audit.put("TLS handshake", RequestRefused(401, "certificate_refused", str(i)))
        while audit._waiting.qsize() > audits.QUEUE // 2:
            threading.Event().wait(0.001)


def test_strangers_cannot_push_out_a_tenants_rows(database):
    audit = Audit(database, kept=100)
    for identity in (ACME, OTHER):
        audit.write("GET /", WHY, identity)
    put_all(audit, 2000)
    audit.close()
    kept = counts(database)
    assert (kept["acme"], kept["other"]) == (1, 1)
    assert 100 <= kept[None] <= 100 + 256


def test_the_oldest_go(database):
    audit = Audit(database, kept=100)
    put_all(audit, 1000)
    audit.close()
    kept = [int(text) for text in details(database)]
    assert 100 <= len(kept) <= 100 + 256
    assert kept == list(range(1000 - len(kept), 1000))


def test_what_a_stranger_sends_is_made_printable(database):
    audit = Audit(database)
    audit.put("GET /\x1b[2J\0\u20ac" + "x" * 1000, RequestRefused(400, "x", "\ud800\r\n" + "y" * 5000))
    audit.close()
    with database.read() as connection:
        row = connection.execute(select(tables.refusals)).one()
    assert row.request.startswith("GET /\\x1b[2J\\x00\\u20acx")
    assert row.detail.startswith("\\ud800\\r\\ny")
    assert (len(row.request), len(row.detail)) == (256, 1000)


def test_close_writes_what_waits(database):
    audit = Audit(database)
    for i in range(500):
        audit.put("TLS handshake", RequestRefused(401, "certificate_refused", str(i)))
    audit.close()
    assert details(database) == [str(i) for i in range(500)]


def test_flood_is_counted(database, monkeypatch):
    free = threading.Event()
    original = Audit._write

    def blocked(self, rows):
        free.wait(60)
        original(self, rows)

    monkeypatch.setattr(Audit, "_write", blocked)
    audit = Audit(database)
    sent = 3 * audits.QUEUE
    for i in range(sent):
        audit.put("TLS handshake", RequestRefused(401, "certificate_refused", str(i)))
    free.set()
    audit.close()
    found = details(database)
    listed = [text for text in found if text.isdigit()]
    summed = sum(int(text.split()[0]) for text in found if "more refusals" in text)
    assert summed > 0
    assert len(listed) + summed == sent


def test_outlasts_a_database_that_fails(database, monkeypatch):
    failures = iter([True, True])
    original = Audit._write

    def failing(self, rows):
        if next(failures, False):
            raise OperationalError("INSERT", {}, Exception("the disk is full"))
        original(self, rows)

    monkeypatch.setattr(Audit, "_write", failing)
    monkeypatch.setattr(audits, "_RETRY_SECONDS", 0)
    audit = Audit(database)
    audit.put("HTTP", RequestRefused(400, "malformed", "kept"))
    audit.close()
    assert details(database) == ["kept"]


def test_tells_the_writer_of_a_database_that_fails(database, monkeypatch):
    """Then the request is answered with 503, not refused without a trace."""
    def failing(self, rows):
        raise OperationalError("INSERT", {}, Exception("the disk is full"))

    audit = Audit(database)
    monkeypatch.setattr(Audit, "_write", failing)
    with pytest.raises(OperationalError):
        audit.write("GET /", WHY, ACME)
    audit.close()


def test_unexpected_errors_do_not_end_the_audit(database, monkeypatch):
    """Neither those of the system, nor a row that the database can never take: that one alone is lost, to the log."""
    original = Audit._write
    errors = [OSError("no"), MemoryError(), RuntimeError("?"), ZeroDivisionError()]

    def failing(self, rows):
        if errors:
            raise errors.pop()
        if any(row["detail"] == "bad" for row in rows):
            raise DataError("INSERT", {}, ValueError("it is too long"))
        return original(self, rows)

    monkeypatch.setattr(Audit, "_write", failing)
    monkeypatch.setattr(audits, "_RETRY_SECONDS", 0.01)
    audit = Audit(database)
    for text in ("first", "bad", "last"):
        audit.put("GET /", RequestRefused(400, "x", text))
    while errors:
        threading.Event().wait(0.01)
    audit.close()
    assert details(database) == ["first", "last"]


def test_close_does_not_wait_for_a_database_for_ever(database, monkeypatch, caplog):
    def away(self, rows):
        raise OperationalError("INSERT", {}, OSError("away"))

    monkeypatch.setattr(Audit, "_write", away)
    monkeypatch.setattr(audits, "CLOSE_SECONDS", 0.3)
    audit = Audit(database)
    for i in range(2 * audits.QUEUE):
        audit.put("GET /", RequestRefused(400, "x", str(i)))
    audit.close()
    assert not audit._writer.alive
    assert "refusals could not be recorded" in caplog.text
