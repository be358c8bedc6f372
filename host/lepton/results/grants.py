"""Grants: the data keys of stored segments, wrapped for a further recipient.

A segment says for whom its data key is wrapped, and never changes. So that a new recipient reads old segments, someone
who can read them wraps their data keys again, in a file of some 70 bytes a segment; no body is written again, and no
store is changed. The file is a COSE_Encrypt for the new recipient:

    payload    a map: "format", and "keys": SHA-256 of each segment -> its data key

It lets its owner read and vouches for nothing: signatures of segments are checked as ever.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from . import envelope
from .errors import KeyFileError, SegmentError

if TYPE_CHECKING:
    from .keyring import Keyring
    from .segment import Segment

FORMAT = "lepton-grants/1"
MAGIC = b"\xd8\x60"  # CBOR's tag 96 (RFC 9052, section 2): a COSE_Encrypt
MAX_BYTES = 256 << 20  # of a file: more than 3 million segments

_DIGEST_BYTES = 32  # SHA-256
_KEY_BYTES = 32  # AES-256


def data_key(segment: "Segment", keyring: "Keyring") -> bytes:
    """The data key of a segment. Raises `SegmentError` if the keyring cannot read it."""
    granted = keyring.data_keys.get(segment.digest)
    return granted if granted is not None else segment.envelope.data_key(keyring.readers)


def make(keys: Mapping[str, bytes], recipient: ec.EllipticCurvePublicKey) -> bytes:
    """The file with data keys by the SHA-256 (hex) of their segments."""
    content = {"format": FORMAT, "keys": {bytes.fromhex(digest): key for digest, key in keys.items()}}
    return envelope.encrypt(cbor2.dumps(content), [recipient], b"")


def read(data: bytes, readers: Mapping[str, ec.EllipticCurvePrivateKey], source: str) -> dict[str, bytes]:
    """The data keys in a file by the SHA-256 (hex) of their segments. `source` names it in errors (`KeyFileError`)."""
    if len(data) > MAX_BYTES:
        raise KeyFileError(f"the grants {source} have {len(data)} bytes, and at most {MAX_BYTES} are read")
    try:
        content = cbor2.loads(envelope.decrypt(data, readers, b""))
    except (SegmentError, cbor2.CBORDecodeError) as error:
        text = re.sub("^it is", "they are", str(error))
        raise KeyFileError(f"the grants {source} cannot be read: {text}; give the private key that they were made for "
                           "with a further --keys") from error
    keys = content.get("keys") if isinstance(content, dict) and content.get("format") == FORMAT else None
    if not isinstance(keys, dict) or not all(_is_bytes(digest, _DIGEST_BYTES) and _is_bytes(key, _KEY_BYTES)
                                             for digest, key in keys.items()):
        raise KeyFileError(f"the grants {source} have another form than {FORMAT}")
    return {digest.hex(): key for digest, key in keys.items()}


def _is_bytes(value: object, length: int) -> bool:
    return isinstance(value, bytes) and len(value) == length
