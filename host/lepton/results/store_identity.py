"""The identity of a store: a small object that is made when the store is first used, and must be there ever after.

Without it a mount point whose disk is gone, or a bucket that was made again, would be taken for the store: results
would be confirmed there, deleted from the spool, and lost.
"""

import json
import secrets

from .errors import Unavailable

KEY = "lepton-store.json"  # beside `results/`
FORMAT = "lepton-store/1"


def make() -> tuple[str, bytes]:
    """A new identity, 32 hexadecimal digits, and the object that holds it."""
    identity = secrets.token_hex(16)
    return identity, json.dumps({"format": FORMAT, "store": identity}).encode() + b"\n"


def check(where: str, content: bytes | None, expected: str | None) -> str:
    """The identity in an object, if it is the one that is expected (None: any).

    `content` is None where the object is missing. Raises `Unavailable`: results wait until the store is back.
    """
    remedy = f"if this store is to be used in its place, {acceptance(where)}"
    if content is None:
        raise Unavailable(f"{where} is not the store that was used before: {KEY} is missing there; "
                          f"is its disk mounted, was the bucket made again? Results wait; {remedy}")
    found = _parse(content)
    if found is None:
        raise Unavailable(f"{where}: {KEY} is damaged, so it cannot be told whether this is the store that was used "
                          f"before; put back a copy, or remove it, and {remedy}")
    if expected not in (None, found):
        raise Unavailable(f"{where} is another store than the one that was used before (its {KEY} says {found[:8]}, "
                          f"not {expected[:8]}); is another disk mounted? Results wait; {remedy}")
    return found


def acceptance(where: str) -> str:
    """How an operator says that another store is meant."""
    return f"accept it with: lepton cloud accept {where} (for a service with --home)"


def _parse(content: bytes) -> str | None:
    try:
        described = json.loads(content)
        identity = described["store"]
        bytes.fromhex(identity)
    except (ValueError, KeyError, TypeError):
        return None
    return identity if described.get("format") == FORMAT and len(identity) == 32 else None
