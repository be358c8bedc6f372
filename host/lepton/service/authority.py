"""The service's certificate authority: one root certificate, which signs those of the server, devices and readers.

The root's key is in a file that only its owner can read: whoever has it can issue certificates. Whether a certificate
is valid is decided by the database (`enrolment`), which has all that were issued; the root's signature rejects other
clients during the handshake, before a query.
"""

import contextlib
import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..results import durable
from ..results.keyring import SIGNER_URI
from .errors import ServiceError
from .identity import Identity
from .refusal import RequestRefused

ROOT_DAYS = 3650
SERVER_DAYS = 397  # a new one is issued at every start; clients may reject more than 398 (CA/Browser Forum, SC-31)
CLIENT_DAYS = 90  # as Let's Encrypt's certificates: short enough that rotation is in constant use
_NO_END = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)  # as RFC 5280, section 4.1.2.5, has it
_SKEW = datetime.timedelta(minutes=5)  # a device's clock may be this much slow, and the server's certificate is valid


class Authority:
    """The root certificate in `folder`, made if the folder is new.

    `authority.key` has the key and the certificate, `authority.pem` only the certificate, for distribution to devices.
    After a rotation (`root_rotation`) the latter also has those of former roots, and before its end that of the next.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.root_file = self.folder / "authority.pem"
        key_file = self.folder / "authority.key"
        distributed = self.root_file.exists()  # checked first because it is made last: if it exists, the key existed
        if not key_file.exists():
            if distributed:  # a new root would lock out all devices
                raise ServiceError(f"{key_file} is missing; restore it from a backup, or start again in another folder")
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError):  # another process was faster
                durable.create(key_file, new_root())
        pem = key_file.read_bytes()
        try:
            key = serialization.load_pem_private_key(pem, None)
            self.root = x509.load_pem_x509_certificate(pem)
        except ValueError as error:
            raise ServiceError(f"{key_file} cannot be read ({error}); restore it from a backup, or start again in "
                               "another folder") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ServiceError(f"{key_file} must be an elliptic-curve key, not {type(key).__name__}; restore it from a "
                               "backup, or start again in another folder")
        self._key = key
        if not self.root_file.exists():
            durable.replace(self.root_file, _pem(self.root).encode(), mode=0o644)

    @property
    def root_pem(self) -> str:
        """All root certificates that devices and readers trust, as they are in the file now."""
        try:
            return self.root_file.read_text()
        except OSError as error:
            raise ServiceError(f"cannot read {self.root_file}: {error.strerror}") from error

    def issue(self, identity: Identity, request: x509.CertificateSigningRequest, days: float = CLIENT_DAYS
              ) -> x509.Certificate:
        """A client certificate of `identity` for the key of a request that `read_request` has returned."""
        return self._sign(request.public_key(), identity.name, [x509.UniformResourceIdentifier(identity.uri)],
                          ExtendedKeyUsageOID.CLIENT_AUTH, datetime.timedelta(days=days))

    def vouch(self, tenant: str, device: str, signing_key: str) -> x509.Certificate:
        """A certificate of a device's Ed25519 signing key (hex). It has no end: what was signed stays signed."""
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(signing_key))
        name = x509.UniformResourceIdentifier(SIGNER_URI.format(tenant=tenant, device=device))
        return self._sign(key, device, [name], ExtendedKeyUsageOID.CODE_SIGNING, None)

    def server_pem(self, names: Sequence[str]) -> bytes:
        """PEM of a new key and its certificate for a server with these `names` (host names, IP addresses)."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(key.public_key(), "Lepton ingest", [_general_name(name) for name in names],
                                 ExtendedKeyUsageOID.SERVER_AUTH, datetime.timedelta(days=SERVER_DAYS))
        return _private_pem(key) + _pem(certificate).encode()

    def _sign(self, public_key, common_name: str, names: list[x509.GeneralName], usage,
              validity: datetime.timedelta | None) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        return (
            _builder(common_name, public_key, now - _SKEW, _NO_END if validity is None else now + validity)
            .issuer_name(self.root.subject)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def new_root() -> bytes:
    """PEM of a key and its self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    name = "Lepton ingest authority"
    root = (
        _builder(name, key.public_key(), now - _SKEW, now + datetime.timedelta(days=ROOT_DAYS))
        .issuer_name(_subject(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _private_pem(key) + _pem(root).encode()


def read_request(pem: str) -> x509.CertificateSigningRequest:
    """A PKCS#10 request (RFC 2986) that is signed by its own key. Raises `RequestRefused`."""
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        valid = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise RequestRefused(422, "invalid", f"the certificate request cannot be read: {error}") from error
    if not (isinstance(key, ed25519.Ed25519PublicKey)
            or (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1))):
        raise RequestRefused(422, "invalid", "the key of a certificate request must be P-256 or Ed25519")
    if not valid:
        raise RequestRefused(422, "invalid", "the certificate request must be signed by its own key")
    return request


def _builder(common_name: str, public_key, start: datetime.datetime, end: datetime.datetime) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(_subject(common_name)).public_key(public_key)
            .serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end))


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(**used: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: used.get(name, False) for name in names})


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private_pem(key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())
