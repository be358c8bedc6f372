"""Renewal of a certificate that has expired, with its own key: for a device that was off for a long time.

TLS refuses an expired certificate, so the request comes without one. It has the old certificate, and a signature of the
request for the new one by the old one's key.
"""

import base64
import binascii

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from ..results.credentials import RENEWAL_CONTEXT
from .refusal import RequestRefused

GRACE_DAYS = 180.0  # after the end of a certificate: twice its lifetime, so a device may be off for half a year


def read_certificate(pem: str) -> x509.Certificate:
    """Raises `RequestRefused`."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise RequestRefused(422, "invalid", f"certificate is not an X.509 certificate in PEM: {error}") from error


def check_proof(certificate: x509.Certificate, request: x509.CertificateSigningRequest, proof: str) -> None:
    """Raise `RequestRefused` unless the certificate's key has signed the request."""
    content = RENEWAL_CONTEXT + request.public_bytes(Encoding.DER)
    key = certificate.public_key()
    try:
        signature = base64.b64decode(proof, validate=True)
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, Ed25519PublicKey):
            key.verify(signature, content)
        else:
            raise InvalidSignature
    except (binascii.Error, ValueError, InvalidSignature) as error:
        raise RequestRefused(401, "certificate_unknown", "proof is not a signature of this request by the "
                             "certificate's key; enrol again with a new code") from error
