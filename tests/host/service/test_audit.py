"""The audit keeps what it can hold, and says what it could not."""

import threading

import pytest
from lepton.service import audit as audits
from lepton.service import tables
from lepton.service.audit import Audit, Backlog
from lepton.service.errors import Refused
from lepton.service.identity import Identity
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

ACME, OTHER = Identity("device", "acme", "cam"), Identity("device", "other", "cam")
WHY = Refused(403, "not_yours", "it is not")


def counts(database):
    with database.read() as connection:
        return dict(connection.execute(select(tables.refusals.c.tenant, func.count())
                                       .group_by(tables.refusals.c.tenant)).all())


def details(database):
    with database.read() as connection:
        return connection.scalars(select(tables.refusals.c.detail).order_by(tables.refusals.c.id)).all()


def test_strangers_cannot_push_out_a_tenants_rows(database):
    audit = Audit(database, kept=100)
    for identity in (ACME, OTHER):
        audit.write("GET /", WHY, identity=identity)
    audit.write_rows([audit.row("GET /", WHY) for _ in range(2000)])
    kept = counts(database)
    assert (kept["acme"], kept["other"]) == (1, 1)
    assert 100 <= kept[None] <= 100 + 256


def test_the_oldest_go(database):
    audit = Audit(database, kept=100)
    audit.write_rows([audit.row("GET /", Refused(403, "x", str(i)), identity=ACME) for i in range(1000)])
    kept = [int(text) for text in details(database)]
    assert kept == list(range(1000 - len(kept), 1000))


def test_what_a_stranger_sends_is_made_printable(database):
    audit = Audit(database)
    audit.write("GET /\x1b[2J\0\u20ac" + "x" * 1000, Refused(400, "x", "\ud800\r\n" + "y" * 5000))
    with database.read() as connection:
        row = connection.execute(select(tables.refusals)).one()
    assert row.request.startswith("GET /\\x1b[2J\\x00\\u20acx")
    assert row.detail.startswith("\\ud800\\r\\ny")
    assert (len(row.request), len(row.detail)) == (256, 1000)


def test_backlog_writes_all(database):
    backlog = Backlog(Audit(database))
    for i in range(500):
        backlog.put("TLS handshake", Refused(401, "certificate_refused", str(i)))
    backlog.close()
    assert details(database) == [str(i) for i in range(500)]


def test_backlog_counts_what_it_cannot_hold(database, monkeypatch):
    audit, free = Audit(database), threading.Event()
    original = Audit.write_rows

    def blocked(self, rows):
        free.wait(60)
        original(self, rows)

    monkeypatch.setattr(Audit, "write_rows", blocked)
    backlog = Backlog(audit)
    sent = 3 * audits.QUEUE
    for i in range(sent):
        backlog.put("TLS handshake", Refused(401, "certificate_refused", str(i)))
    free.set()
    backlog.close()
    found = details(database)
    listed = [text for text in found if text.isdigit()]
    summed = sum(int(text.split()[0]) for text in found if "further refusals" in text)
    assert summed > 0
    assert len(listed) + summed == sent


def test_backlog_outlasts_a_database_that_fails(database, monkeypatch):
    failures = iter([True, True])
    original = Audit.write_rows

    def failing(self, rows):
        if next(failures, False):
            raise OperationalError("INSERT", {}, Exception("the disk is full"))
        original(self, rows)

    monkeypatch.setattr(Audit, "write_rows", failing)
    monkeypatch.setattr(audits.time, "sleep", lambda seconds: None)
    backlog = Backlog(Audit(database))
    backlog.put("HTTP", Refused(400, "malformed", "kept"))
    backlog.close()
    assert details(database) == ["kept"]


@pytest.mark.parametrize("identity", [ACME, None])
def test_a_refusal_names_whom_it_concerns(database, identity):
    Audit(database).write("GET /", Refused(401, "certificate_revoked", "x", identity=identity))
    assert counts(database) == {identity and identity.tenant: 1}
