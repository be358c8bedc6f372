"""The keys of a device: it signs its segments, and encrypts them for recipients whose public keys it has.

A device's folder, readable by its owner only, has

- `signing.pem`: its private Ed25519 key, which signs segments and heads
- `certificate.pem`: an authority's certificate of that key, if there is one
- `signers.pem`: its public signing keys, the present one and earlier ones, to verify its own segments
- `recipients/*.pem`: public P-256 keys that new segments are encrypted for
- `reader.pem`: a private P-256 key, made only if there was no recipient: without an organisation's key the device is
  its own recipient

A data key is random for each segment and stored nowhere but in it, wrapped for each recipient. So a device without a
recipient's private key cannot read what devices have sent, and a device that dies takes no key with it.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import durable
from .errors import KeyFileError
from .keyring import Keyring, recipient_id
from .pem import (
    private_pem,
    public_pem,
    read_certificates,
    read_private,
    read_recipient,
    read_signers,
    read_signing,
    signer_pem,
)

MAX_RECIPIENTS = 16  # each adds some 160 bytes and 1 ms to a segment
_SIGNING = "signing.pem"
_SIGNERS = "signers.pem"
CERTIFICATE = "certificate.pem"
_READER = "reader.pem"
_RECIPIENTS = "recipients"


@dataclass(frozen=True)
class DeviceKeys:
    """The keys of a device. `signing` is independent of the device's TLS certificates.

    `earlier`: public signing keys (hex) that it has used before. `certificate`: of the signing key, in DER, or empty.
    `reader`: the private key of a recipient, if the device has one itself.
    """

    signing: Ed25519PrivateKey
    recipients: tuple[ec.EllipticCurvePublicKey, ...]
    earlier: frozenset[str] = frozenset()
    certificate: bytes = b""
    reader: ec.EllipticCurvePrivateKey | None = None

    @property
    def public_hex(self) -> str:
        """The public key of `signing`, 64 hexadecimal digits."""
        return self.signing.public_key().public_bytes_raw().hex()

    def keyring(self) -> Keyring:
        """The keys to verify this device's segments, and to read them if it is a recipient."""
        readers = {} if self.reader is None else {recipient_id(self.reader.public_key()): self.reader}
        return Keyring(self.earlier | {self.public_hex}, (), readers)

    @classmethod
    def generate(cls, *recipients: ec.EllipticCurvePublicKey) -> "DeviceKeys":
        """New random keys, for these recipients; without any the device is its own recipient."""
        if recipients:
            return cls(Ed25519PrivateKey.generate(), recipients)
        reader = ec.generate_private_key(ec.SECP256R1())
        return cls(Ed25519PrivateKey.generate(), (reader.public_key(),), reader=reader)

    @classmethod
    def load_or_create(cls, folder: str | Path) -> "DeviceKeys":
        """The keys in `folder`, made if there are none. Several processes may do so at once and get the same keys."""
        folder = Path(folder)
        if not (folder / _SIGNING).exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _recipient_files(folder):
                reader = ec.generate_private_key(ec.SECP256R1())
                _create(folder / _READER, private_pem(reader))
                add_recipient(folder, read_private(folder / _READER).public_key())
            # the signing key last: if it exists, the others existed too, and must not be replaced if they are lost
            _create(folder / _SIGNING, private_pem(Ed25519PrivateKey.generate()))
        return cls.load(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "DeviceKeys":
        """Raises `KeyFileError` if the keys are missing, damaged, or readable by others."""
        folder = Path(folder)
        signing = read_signing(folder / _SIGNING)
        reader = read_private(folder / _READER) if (folder / _READER).exists() else None
        recipients = tuple(read_recipient(path) for path in _recipient_files(folder))
        if not recipients:
            raise KeyFileError(f"there are no recipients in {folder / _RECIPIENTS}, so no key could read the results; "
                               f"restore the folder, or add a public key with: lepton results keys {folder} "
                               "--add-recipient FILE.pem")
        earlier = read_signers(folder / _SIGNERS) if (folder / _SIGNERS).exists() else frozenset()
        path = folder / CERTIFICATE
        certificate = b""
        if path.exists():
            certificate = read_certificates(path)[0].public_bytes(serialization.Encoding.DER)
        return cls(signing, recipients, earlier, certificate, reader)


def rotate_signing(folder: str | Path) -> DeviceKeys:
    """Replace the signing key by a new one; returns the new keys.

    A device of the ingest service registers its new key with `Credentials.rotate_signing` instead.
    """
    return replace_signing(folder, Ed25519PrivateKey.generate())


def replace_signing(folder: str | Path, key: Ed25519PrivateKey) -> DeviceKeys:
    """Sign with `key` from now on; the old public key is kept, so that old segments can be verified."""
    folder = Path(folder)
    old = DeviceKeys.load(folder)
    signers = sorted(old.earlier | {old.public_hex})
    durable.replace(folder / _SIGNERS, b"".join(map(signer_pem, signers)))
    (folder / CERTIFICATE).unlink(missing_ok=True)  # it vouches for the old key
    durable.replace(folder / _SIGNING, private_pem(key))
    return DeviceKeys.load(folder)


def add_recipient(folder: str | Path, key: ec.EllipticCurvePublicKey) -> str:
    """Encrypt new segments for this key too; returns its identity."""
    folder = Path(folder)
    if len(_recipient_files(folder)) >= MAX_RECIPIENTS:
        raise KeyFileError(f"a device may have at most {MAX_RECIPIENTS} recipients; remove one with: lepton results "
                           f"keys {folder} --remove-recipient ID")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / _RECIPIENTS).mkdir(mode=0o700, exist_ok=True)
    name = recipient_id(key)
    _create(folder / _RECIPIENTS / f"{name}.pem", public_pem(key))
    return name


def remove_recipient(folder: str | Path, identity: str) -> None:
    """Encrypt new segments no longer for this recipient. Raises `KeyFileError` if it is not one, or the last one."""
    folder = Path(folder)
    files = {recipient_id(read_recipient(path)): path for path in _recipient_files(folder)}
    if identity not in files:
        raise KeyFileError(f"{identity!r} is no recipient of {folder}; they are: {', '.join(files) or 'none'}")
    if len(files) == 1:
        raise KeyFileError(f"{identity} is the only recipient of {folder}: no key could read new results; add another "
                           "one first")
    files[identity].unlink()


def _recipient_files(folder: Path) -> list[Path]:
    return sorted((folder / _RECIPIENTS).glob("*.pem"))


def _create(path: Path, content: bytes) -> None:
    with contextlib.suppress(FileExistsError):  # another process was faster
        durable.create(path, content)
