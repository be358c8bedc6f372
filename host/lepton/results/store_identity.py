"""The identity of a store: a small object, made when the store is first used, that must exist from then on.

Without it, an empty mount point or a new bucket of the same name would be mistaken for the store: results would be
confirmed there, deleted from the spool, and lost.
"""

import json
import secrets

from .errors import Unavailable

KEY = "lepton-store.json"  # next to `results/`
FORMAT = "lepton-store/1"


def make() -> tuple[str, bytes]:
    """A new identity, 32 hexadecimal digits, and the content of its object."""
    identity = secrets.token_hex(16)
    return identity, json.dumps({"format": FORMAT, "store": identity}).encode() + b"\n"


def check(where: str, content: bytes | None, expected: str | None) -> str:
    """The identity in an object. Raises `Unavailable` unless it is `expected` (None: any identity).

    `content` is None if the object is missing.
    """
    remedy = f"to use this store from now on, {acceptance(where)}"
    if content is None:
        raise Unavailable(f"{where} is not the store that was used before: it has no {KEY}. Is the disk mounted? Was "
                          f"the bucket deleted and made again? Results wait in the spool; {remedy}")
    found = _parse(content)
    if found is None:
        raise Unavailable(f"{where}: {KEY} is damaged, so this may not be the store that was used before. Restore the "
                          f"file from a backup, or remove it, and {remedy}")
    if expected is not None and expected != found:
        raise Unavailable(f"{where} is not the store that was used before: its {KEY} has the identity {found[:8]}, not "
                          f"{expected[:8]}. Is another disk mounted? Results wait in the spool; {remedy}")
    return found


def acceptance(where: str) -> str:
    """The command that accepts another store."""
    return f"accept it with: lepton cloud accept {where} (add --home for the store of an ingest service)"


def _parse(content: bytes) -> str | None:
    try:
        described = json.loads(content)
        identity = described["store"]
        bytes.fromhex(identity)
    except (ValueError, KeyError, TypeError):
        return None
    return identity if described.get("format") == FORMAT and len(identity) == 32 else None
