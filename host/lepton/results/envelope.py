"""The envelope of stored objects: COSE (RFC 9052), by the library `cwt` (docs/decisions/11-segments.md).

A segment is `COSE_Sign1(COSE_Encrypt(body))`, a head `COSE_Sign1(body)`:

    COSE_Sign1     protected: 1 alg EdDSA · 3 content type · 4 kid: the Ed25519 public key ·
                              33 x5chain: its certificate, if there is one (RFC 9360) · "lepton": a map, the header
    COSE_Encrypt   protected: 1 alg A256GCM; unprotected: 5 IV; external AAD: the header
      recipients   1 alg ECDH-ES+A256KW (RFC 9053) on P-256 · 4 kid: identity of the recipient's key

The signature covers the ciphertext, so it can be checked without a secret key. The header is in the clear, for whoever
stores and indexes the object. Nothing in the clear depends on the plain text but its length.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cwt import COSE, COSEKey, Recipient
from cwt.exceptions import CWTError

from .errors import SegmentError
from .keyring import recipient_id
from .keys import MAX_RECIPIENTS, DeviceKeys
from .pem import private_pem, public_pem

MAX_HEADER_BYTES = 64 << 10  # today's headers have some 1.2 KiB; the rest is for more entries in the maps
MAX_CERTIFICATE_BYTES = 8 << 10  # a P-256 authority's has some 500
_SIGN1 = 18  # CBOR tags (RFC 9052, section 2)
_ENCRYPT = 96
_ALG = 1  # header labels (RFC 9052, section 3.1)
_CONTENT_TYPE = 3
_KID = 4
_IV = 5
_CHAIN = 33  # RFC 9360
_HEADER = "lepton"
_EDDSA = -8  # algorithms (RFC 9053)
_A256GCM = 3
_ECDH_ES_A256KW = -31
_NONCE_BYTES = 12  # of GCM in COSE (RFC 9053, section 4.1)
_SIGNATURE_BYTES = 64  # Ed25519 (RFC 8032, section 5.1.6)
_CONTEXT = {"alg": "A256KW"}  # of the key derivation: the algorithm of the wrapped key (RFC 9053, section 5.2)
_COSE = COSE.new()


@dataclass(frozen=True)
class Envelope:
    """A parsed object, with a signature that `check` has not verified yet. `certificate`: in DER, or empty."""

    data: bytes
    content_type: str
    header: dict[str, Any]
    signer: str  # Ed25519 public key, hex
    certificate: bytes
    payload: bytes

    def check(self) -> None:
        """Raise `SegmentError` unless `signer` has signed the object."""
        try:
            public = bytes.fromhex(self.signer)
            key = COSEKey.from_pem(public_pem(Ed25519PublicKey.from_public_bytes(public)), kid=public)
            _COSE.decode(self.data, key)
        except (CWTError, ValueError, TypeError) as error:
            raise SegmentError(f"its signature is not that of {self.signer}") from error

    @cached_property
    def recipients(self) -> tuple[str, ...]:
        """Identities of the recipients' keys."""
        return tuple(_text(part[1].get(_KID)) for part in _encrypted(self.payload)[3])

    def decrypt(self, readers: Mapping[str, ec.EllipticCurvePrivateKey], data_key: bytes | None = None) -> bytes:
        """The body, with a recipient's private key or with the data key itself.

        Raises `SegmentError` if none of the private keys is a recipient's, or the object is altered.
        """
        if data_key is None:
            return decrypt(self.payload, readers, canonical(self.header))
        protected, unprotected, ciphertext, _ = _encrypted(self.payload)
        described = _loads(_bytes(protected))
        nonce = unprotected.get(_IV) if isinstance(unprotected, dict) else None
        if described != {_ALG: _A256GCM} or not isinstance(nonce, bytes) or len(nonce) != _NONCE_BYTES:
            raise SegmentError("it is not encrypted with AES-256-GCM")
        try:  # the associated data are COSE's Enc_structure (RFC 9052, section 5.3)
            return AESGCM(data_key).decrypt(nonce, _bytes(ciphertext), cbor2.dumps(
                ["Encrypt", protected, canonical(self.header)]))
        except InvalidTag as error:
            raise SegmentError("it cannot be decrypted: it is altered, or the granted key is wrong") from error

    def data_key(self, readers: Mapping[str, ec.EllipticCurvePrivateKey]) -> bytes:
        """The key of the cipher, unwrapped with a recipient's private key. Raises `SegmentError`."""
        name = _reader(self.recipients, readers)
        part = _encrypted(self.payload)[3][self.recipients.index(name)]
        try:
            key = Recipient.from_list(part, _CONTEXT).decode(_private(name, readers))
        except (CWTError, ValueError, TypeError, KeyError) as error:
            raise SegmentError("its data key cannot be unwrapped: it is altered, or the key is wrong") from error
        return _bytes(key)


def decrypt(data: bytes, readers: Mapping[str, ec.EllipticCurvePrivateKey], aad: bytes) -> bytes:
    """The content of a COSE_Encrypt. Raises `SegmentError`."""
    name = _reader([_text(part[1].get(_KID)) for part in _encrypted(data)[3]], readers)
    try:
        return _COSE.decode(data, _private(name, readers), context=_CONTEXT, external_aad=aad)
    except (CWTError, ValueError, TypeError, KeyError) as error:
        raise SegmentError("it cannot be decrypted: it is altered, or the key is wrong") from error


def encrypt(content: bytes, recipients: Sequence[ec.EllipticCurvePublicKey], aad: bytes) -> bytes:
    """A COSE_Encrypt of some content with a new data key, wrapped for the recipients."""
    protected: dict[str | int, Any] = {_ALG: _A256GCM}
    unprotected: dict[str | int, Any] = {_IV: secrets.token_bytes(_NONCE_BYTES)}
    return _COSE.encode_and_encrypt(
        content, COSEKey.generate_symmetric_key(alg="A256GCM"), protected=protected, unprotected=unprotected,
        recipients=[_recipient(key) for key in recipients], external_aad=aad)


def _reader(recipients: Sequence[str], readers: Mapping[str, ec.EllipticCurvePrivateKey]) -> str:
    """The first recipient whose private key is given."""
    for name in recipients:
        if name in readers:
            return name
    raise SegmentError(f"it is encrypted for {', '.join(recipients)}, and none of these keys is given")


def _private(name: str, readers: Mapping[str, ec.EllipticCurvePrivateKey]) -> Any:
    return COSEKey.from_pem(private_pem(readers[name]), kid=name.encode(), alg="ECDH-ES+A256KW")


def sign(keys: DeviceKeys, header: Mapping[str, Any], content_type: str, payload: bytes) -> bytes:
    """A signed object with the payload in the clear."""
    protected: dict[str | int, Any] = {_ALG: _EDDSA, _CONTENT_TYPE: content_type,
                                       _KID: bytes.fromhex(keys.public_hex), _HEADER: dict(header)}
    if keys.certificate:
        protected[_CHAIN] = keys.certificate
    key = COSEKey.from_pem(private_pem(keys.signing))
    return _COSE.encode_and_sign(payload, key, protected=protected, unprotected={})


def seal(keys: DeviceKeys, header: Mapping[str, Any], content_type: str, body: bytes) -> bytes:
    """An object with the body encrypted for the recipients, then signed."""
    payload = encrypt(body, keys.recipients, canonical(header))
    return sign(keys, header, content_type, payload)


def parse(data: bytes) -> Envelope:
    """The parts of an object; its structure is checked, its signature is not. Raises `SegmentError`."""
    protected, unprotected, payload, signature = _parts(data, _SIGN1, 4)
    if unprotected != {} or not isinstance(payload, bytes) or len(_bytes(signature)) != _SIGNATURE_BYTES:
        raise SegmentError("a signed object must have a payload, a signature of 64 bytes and no unprotected header")
    if len(_bytes(protected)) > MAX_HEADER_BYTES:
        raise SegmentError(f"a header may have at most {MAX_HEADER_BYTES} bytes, not {len(protected)}")
    described = _loads(protected)
    if not isinstance(described, dict) or described.get(_ALG) != _EDDSA:
        raise SegmentError("an object must be signed with EdDSA")
    header = described.get(_HEADER)
    signer = _bytes(described.get(_KID))
    certificate = _bytes(described.get(_CHAIN, b""))
    if not isinstance(header, dict) or len(signer) != 32 or len(certificate) > MAX_CERTIFICATE_BYTES \
            or not set(described) <= {_ALG, _CONTENT_TYPE, _KID, _CHAIN, _HEADER}:
        raise SegmentError("an object must have a header and the public key of its signer")
    # an object has one form only: otherwise the same signed content could be stored again under another digest
    if cbor2.dumps(cbor2.CBORTag(_SIGN1, [protected, {}, payload, signature])) != data:
        raise SegmentError("an object must be in the shortest CBOR form")
    return Envelope(data, _text(described.get(_CONTENT_TYPE)), header, signer.hex(), certificate, payload)


def canonical(header: Mapping[str, Any]) -> bytes:
    """The header as the cipher's external AAD (deterministic CBOR; RFC 8949, section 4.2)."""
    return cbor2.dumps(dict(header), canonical=True)


def _recipient(key: ec.EllipticCurvePublicKey) -> Any:
    name = recipient_id(key).encode()
    return Recipient.new(protected={_ALG: _ECDH_ES_A256KW}, unprotected={_KID: name}, context=_CONTEXT,
                         recipient_key=COSEKey.from_pem(public_pem(key), kid=name, alg="ECDH-ES+A256KW"))


def _encrypted(payload: bytes) -> list[Any]:
    parts = _parts(payload, _ENCRYPT, 4)
    recipients = parts[3]
    if not isinstance(recipients, list) or not 0 < len(recipients) <= MAX_RECIPIENTS or not all(
            isinstance(part, list) and len(part) >= 3 and isinstance(part[1], dict) for part in recipients):
        raise SegmentError(f"an encrypted object must have 1 to {MAX_RECIPIENTS} recipients")
    return parts


def _parts(data: bytes, tag: int, count: int) -> list[Any]:
    found = _loads(data)
    if not isinstance(found, cbor2.CBORTag) or found.tag != tag or not isinstance(found.value, list) \
            or len(found.value) != count:
        raise SegmentError(f"the bytes are not a COSE object (CBOR tag {tag})")
    return found.value


def _loads(data: bytes) -> Any:
    try:
        return cbor2.loads(data)
    except Exception as error:  # cbor2 raises errors of many classes for bytes that are no CBOR
        raise SegmentError(f"the bytes are not a COSE object: {str(error)[:200]}") from error


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise SegmentError(f"an object has a header of type {type(value).__name__} instead of bytes")
    return value


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    return value if isinstance(value, str) else ""


