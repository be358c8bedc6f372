"""The keys of a reader of results: whose signatures are trusted, and what can be decrypted.

A signature is trusted by its key, or by a certificate that an authority has issued for the key and the device. How
keyrings are read from folders and files is in `keyring_files`.
"""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNER_URI = "urn:lepton:signer:{tenant}:{device}"  # subject alternative name of a signing key's certificate


def recipient_id(key: ec.EllipticCurvePublicKey) -> str:
    """Identity of a recipient's key: the first 16 hexadecimal digits of the SHA-256 of its DER form."""
    return hashlib.sha256(key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()[:16]


@dataclass(frozen=True)
class Keyring:
    """The keys of a reader: what is trusted, and what can be decrypted.

    `signers`: public signing keys (hex). `authorities`: certificates that vouch for signing keys of a whole fleet.
    `readers`: recipients' private keys by identity; without them signatures can be checked, but nothing be read.
    `data_keys`: those of single segments, by the SHA-256 (hex) of the segment (`grants`).
    """

    signers: frozenset[str] = frozenset()
    authorities: tuple[x509.Certificate, ...] = ()
    readers: Mapping[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    data_keys: Mapping[str, bytes] = field(default_factory=dict)

    def __or__(self, other: "Keyring") -> "Keyring":
        """A keyring with the keys of both."""
        return Keyring(self.signers | other.signers, (*self.authorities, *other.authorities),
                       {**self.readers, **other.readers}, {**self.data_keys, **other.data_keys})

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
