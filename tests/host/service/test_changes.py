"""The log of changes has everything that changes rights, and shows when it was altered."""

import threading

import pytest
from lepton.results.keys import DeviceKeys
from lepton.service import changes, tables
from lepton.service.authority import Authority
from lepton.service.changes import ChangeHead
from lepton.service.enrolment import Enrolment
from lepton.service.identity import Identity
from sqlalchemy import delete, insert, select, update

from tests.host.service.senders import der, new_request, pem, signing

CAMERA = Identity("device", "acme", "cam7")


@pytest.fixture
def enrolment(database, tmp_path):
    return Enrolment(database, Authority(tmp_path / "authority"))


def add_some(database, number=5):
    for n in range(number):
        with database.write() as connection:
            changes.add(connection, 1000.0 + n, "operator test", "limits", tenant=f"t{n}")


def test_what_changes_rights_is_logged(database, enrolment):
    code = enrolment.invite(CAMERA)
    request = new_request()
    issued = enrolment.enrol(code, pem(request), *signing(DeviceKeys.generate(), request))
    peer = enrolment.identify(der(issued.certificate))
    enrolment.rotate(peer, pem(new_request()))
    enrolment.revoke(CAMERA)
    rows = changes.listed(database, 100)[::-1]
    assert [row["action"] for row in rows] == ["invite", "signing_key", "certificate", "certificate", "revoke"]
    assert rows[0]["actor"].startswith("operator ")
    assert rows[1]["actor"].startswith("code ")
    assert all('"name": "cam7"' in row["subject"] and '"tenant": "acme"' in row["subject"] for row in rows)
    assert code not in str(rows)  # a code must not be readable before it is used
    head, errors = changes.verify(database)
    assert (head.count, errors) == (5, [])


def test_refused_change_leaves_no_row(database, enrolment):
    with pytest.raises(Exception, match="the code is unknown"):
        enrolment.enrol("guess", pem(new_request()), None, None)
    assert changes.verify(database) == (ChangeHead(0, changes.FIRST), [])


COLUMNS = [("time", 5.0), ("actor", "somebody else"), ("action", "revoke"), ("subject", "{}"), ("previous", "1" * 64),
           ("digest", "2" * 64)]


@pytest.mark.parametrize("column, value", COLUMNS)
@pytest.mark.parametrize("number", [1, 3, 5])
def test_altered_row(database, column, value, number):
    add_some(database)
    with database.write() as connection:
        connection.execute(update(tables.changes).filter_by(id=number).values(**{column: value}))
    _, errors = changes.verify(database)
    assert any(f"row {number}" in error or f"row {number + 1}" in error for error in errors)


@pytest.mark.parametrize("number", [1, 3, 4])
def test_removed_row(database, number):
    add_some(database)
    with database.write() as connection:
        connection.execute(delete(tables.changes).filter_by(id=number))
    _, errors = changes.verify(database)
    assert errors == [f"rows {number} to {number} are missing"]


def test_removed_row_with_the_others_numbered_again(database):
    add_some(database)
    with database.write() as connection:
        connection.execute(delete(tables.changes).filter_by(id=2))
        for number in (3, 4, 5):
            connection.execute(update(tables.changes).filter_by(id=number).values(id=number - 1))
    _, errors = changes.verify(database)
    assert errors[0] == "row 2 does not follow the row before it"


def test_rows_removed_at_the_end(database):
    """The chain itself is right; an earlier head shows it."""
    add_some(database)
    head, _ = changes.verify(database)
    with database.write() as connection:
        connection.execute(delete(tables.changes).where(tables.changes.c.id >= 4))
    assert changes.verify(database)[1] == []
    assert not changes.includes(database, head)
    add_some(database)
    assert not changes.includes(database, head)
    assert changes.includes(database, changes.verify(database)[0])


def test_inserted_row(database):
    add_some(database)
    with database.write() as connection:
        row = dict(connection.execute(select(tables.changes).filter_by(id=5)).mappings().one())
        connection.execute(insert(tables.changes).values(row | {"id": 6}))
    assert changes.verify(database)[1] == ["row 6 does not follow the row before it", "row 6 has been altered"]


def test_simultaneous_changes_are_one_chain(database):
    threads = [threading.Thread(target=add_some, args=(database, 10)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    head, errors = changes.verify(database)
    assert (head.count, errors) == (40, [])
