"""Keys and certificates in PEM files. Private keys must be in files that only their owner can read.

A file that cannot be read, or has something else, raises `KeyFileError`, which names the file.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from . import durable
from .errors import KeyFileError

_END = b"-----END"


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


def read_signing(path: Path) -> Ed25519PrivateKey:
    """A device's private signing key, from a PEM file that only its owner can read."""
    key = _private(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise _unfit(path, "an Ed25519 private key", key)
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
