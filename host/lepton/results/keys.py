"""Keys: a device signs its segments, and encrypts them for recipients whose public keys it has.

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
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from . import durable
from .errors import KeyFileError

MAX_RECIPIENTS = 16  # each adds some 160 bytes and 1 ms to a segment
SIGNER_URI = "urn:lepton:signer:{tenant}:{device}"  # subject alternative name of a signing key's certificate
_SIGNING = "signing.pem"
_SIGNERS = "signers.pem"
CERTIFICATE = "certificate.pem"
_READER = "reader.pem"
_RECIPIENTS = "recipients"
_END = b"-----END"


def recipient_id(key: ec.EllipticCurvePublicKey) -> str:
    """Identity of a recipient's key: the first 16 hexadecimal digits of the SHA-256 of its DER form."""
    return hashlib.sha256(key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()[:16]


@dataclass(frozen=True)
class Keyring:
    """The keys of a reader: what is trusted, and what can be decrypted.

    `signers`: public signing keys (hex). `authorities`: certificates that vouch for signing keys of a whole fleet.
    `readers`: recipients' private keys by identity; without them signatures can be checked, but nothing be read.
    """

    signers: frozenset[str] = frozenset()
    authorities: tuple[x509.Certificate, ...] = ()
    readers: Mapping[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)

    def __or__(self, other: "Keyring") -> "Keyring":
        """A keyring with the keys of both."""
        return Keyring(self.signers | other.signers, (*self.authorities, *other.authorities),
                       {**self.readers, **other.readers})

    def trusts(self, signer: str, tenant: str, device: str, certificate: bytes) -> bool:
        """Whether `signer` (hex) may sign for a device: it is one of `signers`, or has an authority's certificate.

        `certificate`: in DER, empty if there is none. Its dates are not compared with a clock: what was signed stays
        signed, and the ingest service refuses segments of revoked keys.
        """
        if signer in self.signers:
            return True
        if not certificate or not self.authorities:
            return False
        try:
            found = x509.load_der_x509_certificate(certificate)
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            key = found.public_key()
        except (ValueError, x509.ExtensionNotFound):
            return False
        named = names.get_values_for_type(x509.UniformResourceIdentifier)
        return (isinstance(key, Ed25519PublicKey) and key.public_bytes_raw().hex() == signer
                and SIGNER_URI.format(tenant=tenant, device=device) in named
                and any(_issued(found, authority) for authority in self.authorities))


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    with contextlib.suppress(Exception):  # a wrong name, algorithm or signature has an exception of its own each
        certificate.verify_directly_issued_by(authority)
        return True
    return False


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
        signing = _private(folder / _SIGNING)
        if not isinstance(signing, Ed25519PrivateKey):
            raise _unfit(folder / _SIGNING, "an Ed25519 private key", signing)
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
    (folder / _RECIPIENTS).mkdir(mode=0o700, parents=True, exist_ok=True)
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


def make_reader(path: str | Path) -> ec.EllipticCurvePublicKey:
    """Make a recipient's private key in the file `path`, and its public key next to it with the suffix `.pub.pem`."""
    path = Path(path)
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        durable.create(path, private_pem(key))
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists; a private key is not replaced, as results may need it") from error
    durable.replace(path.with_suffix(".pub.pem"), public_pem(key.public_key()), mode=0o644)
    return key.public_key()


def read_recipient(path: str | Path) -> ec.EllipticCurvePublicKey:
    """The public P-256 key in a PEM file."""
    key = _public(Path(path), _content(Path(path)))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _unfit(Path(path), "a P-256 public key", key)
    return key


def read_private(path: str | Path) -> ec.EllipticCurvePrivateKey:
    """A recipient's private P-256 key, from a PEM file that only its owner can read."""
    key = _private(Path(path))
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _unfit(Path(path), "a P-256 private key", key)
    return key


def read_signers(path: str | Path) -> frozenset[str]:
    """The public signing keys (hex) in a PEM file, one or several."""
    found = set()
    for block in _blocks(Path(path)):
        key = _public(Path(path), block)
        if not isinstance(key, Ed25519PublicKey):
            raise _unfit(Path(path), "Ed25519 public keys", key)
        found.add(key.public_bytes_raw().hex())
    return frozenset(found)


def read_certificates(path: str | Path) -> list[x509.Certificate]:
    """The certificates in a PEM file."""
    try:
        return x509.load_pem_x509_certificates(_content(Path(path)))
    except ValueError as error:
        raise KeyFileError(f"{path} must have certificates in PEM form: {error}") from error


def signer_pem(public_hex: str) -> bytes:
    """The PEM form of a public signing key (hex)."""
    return public_pem(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)))


def public_pem(key: ec.EllipticCurvePublicKey | Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def _recipient_files(folder: Path) -> list[Path]:
    return sorted((folder / _RECIPIENTS).glob("*.pem"))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise KeyFileError(f"there are no keys in {path.parent}: {path} is missing; restore it from a backup"
                           ) from error
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error


def _blocks(path: Path) -> list[bytes]:
    """The PEM blocks of a file."""
    parts = _content(path).split(_END)
    ends = [_END + part.split(b"\n", 1)[0] + b"\n" for part in parts[1:]]
    starts = [parts[0], *(part.partition(b"\n")[2] for part in parts[1:-1])]
    if not ends:
        raise KeyFileError(f"{path} has no key in PEM form")
    return [start + end for start, end in zip(starts, ends, strict=True)]


def _public(path: Path, pem: bytes) -> object:
    try:
        return serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise KeyFileError(f"{path} must have a public key in PEM form: {error}") from error


def _private(path: Path) -> object:
    """The private key of a file that only its owner can read."""
    content = _content(path)
    if path.stat().st_mode & 0o077:
        raise KeyFileError(f"{path} can be read by others (mode {path.stat().st_mode & 0o777:o}); correct it with: "
                           f"chmod 600 {path}")
    try:
        return serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"the keys in {path.parent} are damaged ({path.name}: {error}); restore them from a backup"
                           ) from error


def _unfit(path: Path, what: str, found: object) -> KeyFileError:
    return KeyFileError(f"{path} must have {what}, not {type(found).__name__.removeprefix('_')}")


def _create(path: Path, content: bytes) -> None:
    with contextlib.suppress(FileExistsError):  # another process was faster
        durable.create(path, content)
