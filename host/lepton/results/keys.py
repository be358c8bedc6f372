"""A device's keys: one signs its segments, the others encrypt them.

They are in a folder that only its owner can read: `signing.pem`, an Ed25519 private key, and `data.json`, AES-256 keys
by identity and the identity of the current one. Old data keys are kept, so that old segments stay readable.
"""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import durable
from .errors import KeyFileError

DATA_KEY_BYTES = 32  # AES-256
_SIGNING = "signing.pem"
_DATA = "data.json"


@dataclass(frozen=True)
class Keyring:
    """The keys of a reader: `data` keys by identity, and `signers`, the public keys (hex) that it trusts."""

    data: Mapping[str, bytes] = field(default_factory=dict)
    signers: frozenset[str] = frozenset()

    def __or__(self, other: "Keyring") -> "Keyring":
        """A keyring with the keys of both."""
        return Keyring({**self.data, **other.data}, self.signers | other.signers)


@dataclass(frozen=True)
class DeviceKeys:
    """The keys of a device. `signing` signs its segments; it is independent of the device's certificates."""

    signing: Ed25519PrivateKey
    data: Mapping[str, bytes]
    current: str  # identity of the data key for new segments

    @property
    def public_hex(self) -> str:
        """The public key of `signing`, 64 hexadecimal digits."""
        return self.signing.public_key().public_bytes_raw().hex()

    def keyring(self) -> Keyring:
        """The keys to read this device's segments."""
        return Keyring(dict(self.data), frozenset({self.public_hex}))

    @classmethod
    def generate(cls) -> "DeviceKeys":
        """New random keys."""
        key = secrets.token_bytes(DATA_KEY_BYTES)
        return cls(Ed25519PrivateKey.generate(), {data_key_id(key): key}, data_key_id(key))

    @classmethod
    def load_or_create(cls, folder: str | Path) -> "DeviceKeys":
        """The keys in `folder`, made if there are none. Several processes may do so at once and get the same keys."""
        folder = Path(folder)
        if not (folder / _SIGNING).exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = cls.generate()
            # the signing key last: if it exists, the data keys existed too, and must not be replaced if they are lost
            _create(folder / _DATA, json.dumps(
                {"current": made.current, "keys": {i: k.hex() for i, k in made.data.items()}}, indent=1).encode())
            _create(folder / _SIGNING, made.signing.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return cls.load(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "DeviceKeys":
        """Raises `KeyFileError` if the keys are missing, damaged, or readable by others."""
        folder = Path(folder)
        try:
            for path in (folder / _SIGNING, folder / _DATA):
                if path.stat().st_mode & 0o077:
                    raise KeyFileError(f"{path} can be read by others (mode {path.stat().st_mode & 0o777:o}); "
                                       f"correct it with: chmod 600 {path}")
            signing = serialization.load_pem_private_key((folder / _SIGNING).read_bytes(), password=None)
            described = json.loads((folder / _DATA).read_text())
            data = {i: bytes.fromhex(k) for i, k in described["keys"].items()}
            current = described["current"]
        except FileNotFoundError as error:
            raise KeyFileError(f"there are no keys in {folder}: {error.filename} is missing; restore it from a "
                               "backup") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeyFileError(f"the keys in {folder} are damaged ({error}); restore them from a backup") from error
        if not isinstance(signing, Ed25519PrivateKey):
            raise KeyFileError(f"{folder / _SIGNING} must be an Ed25519 key, not {type(signing).__name__}")
        if current not in data or any(i != data_key_id(k) for i, k in data.items()):
            raise KeyFileError(f"the keys in {folder} are damaged (a data key does not match its identity); "
                               "restore them from a backup")
        return cls(signing, data, current)


def data_key_id(key: bytes) -> str:
    """Identity of a data key: the first 8 bytes of the SHA-256 of a label and the key, in hexadecimal."""
    if len(key) != DATA_KEY_BYTES:
        raise ValueError(f"a data key must have {DATA_KEY_BYTES} bytes, not {len(key)}")
    return hashlib.sha256(b"lepton data key\0" + key).hexdigest()[:16]


def _create(path: Path, content: bytes) -> None:
    with contextlib.suppress(FileExistsError):  # another process was faster
        durable.create(path, content)
