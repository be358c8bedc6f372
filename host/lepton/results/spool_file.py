"""What every connection to a spool's SQLite file needs, whether it writes (`database`) or only reads (`spool_view`)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import apsw

from .errors import SegmentError, SpoolDamaged, SpoolError
from .schema import APPLICATION_ID, SCHEMA_VERSION
from .state import SpoolState

BUSY_SECONDS = 5  # that another process may hold the lock: far more than a transaction of at most max_bytes / 16 takes


def configure(db: apsw.Connection, key: bytes | None) -> None:
    """The settings that a connection needs before it reads the file."""
    db.set_busy_timeout(1000 * BUSY_SECONDS)
    if key is not None:
        db.pragma("key", f"raw:{key.hex()}")
    db.pragma("mmap_size", 0)


def check_schema(db: apsw.Connection, path: Path) -> None:
    """Raise `SpoolError` unless the file is a spool of this version."""
    if db.pragma("application_id") != APPLICATION_ID:
        raise SpoolError(f"{str(path)!r} is a database of another program; give another path")
    found = db.pragma("user_version")
    if found != SCHEMA_VERSION:
        which = "a later version" if found > SCHEMA_VERSION else "a version before the first release"
        remedy = "update lepton" if found > SCHEMA_VERSION else "upload its records with that version"
        raise SpoolError(f"the spool {str(path)!r} was written by {which} (schema {found}, this one knows "
                         f"{SCHEMA_VERSION}); {remedy}")


def state_of(db: apsw.Connection) -> SpoolState:
    """The spool's state. Raises `SpoolDamaged`."""
    for body, crc in db.execute("SELECT body, crc FROM state"):
        return SpoolState.unpack(body, crc)
    raise SpoolDamaged("the row with its state is missing")


@contextlib.contextmanager
def translated(path: Path, encrypted: bool) -> Iterator[None]:
    """Raise SQLite's errors about the file at `path` as `SpoolError`s that name a remedy."""
    where = f"the spool {str(path)!r}"
    remedy = f"save what can be read with: lepton cloud salvage --spool {path}"
    try:
        yield
    except SpoolDamaged as error:
        text = str(error)
        raise error if text.startswith(where) else SpoolDamaged(f"{where} is damaged: {text}; {remedy}") from error
    except apsw.NotADBError as error:
        reason = "wrong key, or damaged" if encrypted else "encrypted, or damaged"
        raise SpoolDamaged(f"{where} cannot be read ({reason}: {error}); give its key if it has one, otherwise "
                           f"{remedy}") from error
    except apsw.CorruptError as error:
        raise SpoolDamaged(f"{where} is damaged: {error}; {remedy}") from error
    except apsw.BusyError as error:
        raise SpoolError(f"{where} has been locked by another process for more than {BUSY_SECONDS} s; end that "
                         "process, or try again") from error
    except SegmentError as error:
        raise SpoolError(str(error)) from error
    except apsw.FullError as error:
        raise SpoolError(f"{where} cannot be written: the disk is full, or its size limit is reached") from error
    except apsw.Error as error:
        raise SpoolError(f"{where} cannot be used: {error}") from error
