"""A device's certificate for the ingest service: enrolment by a one-time code, and its rotation.

A folder holds `client.pem`, the certificate with its private key in one file, so that a crash never leaves a
pair that does not fit, and `authority.pem`, which signed the service's own certificate. A new key is
on disk before it is sent for signing, so that an answer that got lost can be asked for again.
"""

import base64
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import durable
from .errors import CredentialsError
from .keys import DeviceKeys

PROOF_CONTEXT = b"lepton-enrolment/1\0"
RENEW_AT = 2 / 3  # of a certificate's life
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Credentials:
    """The certificate in `folder`. Methods that talk to the service raise `CredentialsError`."""

    folder: Path

    @property
    def client(self) -> Path:
        """PEM of the private key and its certificate."""
        return self.folder / "client.pem"

    @property
    def authority(self) -> Path:
        """PEM of the authority that the service's certificate is checked against."""
        return self.folder / "authority.pem"

    def enrol(self, service: str, code: str, authority: str | Path, keys: DeviceKeys) -> dict:
        """Spend a one-time code on a certificate; the service's answer (docs/cloud-service.md).

        `authority` is the PEM file of the service's authority, as its operator hands it out. The
        service will take segments that `keys` have signed.
        """
        try:
            trusted = Path(authority).read_bytes()
        except OSError as error:
            raise CredentialsError(f"cannot read the authority's certificate {authority}: {error.strerror}") from error
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        durable.replace(self.authority, trusted)
        key, request = self._request()
        proof = keys.signing.sign(PROOF_CONTEXT + request.public_bytes(serialization.Encoding.DER))
        return self._obtain(self._context(), service, "/v1/enrolment", key, {
            "request": _pem(request), "code": code,
            "signing_key": base64.b64encode(keys.signing.public_key().public_bytes_raw()).decode(),
            "signing_proof": base64.b64encode(proof).decode()})

    def rotate(self, service: str) -> dict:
        """A certificate for a new key in place of the present one; the service's answer."""
        key, request = self._request()
        return self._obtain(self.context(), service, "/v1/certificate", key, {"request": _pem(request)})

    def context(self) -> ssl.SSLContext:
        """TLS 1.3 to the service, with the certificate shown."""
        context = self._context()
        try:
            context.load_cert_chain(self.client)
        except (OSError, ssl.SSLError) as error:
            raise CredentialsError(f"cannot use {self.client}: {error}; get a certificate with: lepton cloud enroll"
                                   ) from error
        return context

    def version(self) -> str:
        """Tells the present certificate from others: its serial number."""
        return f"{self._certificate().serial_number:x}"

    def due(self, now: datetime | None = None) -> bool:
        """Whether the certificate has come to the part of its life in which it is to be rotated."""
        certificate = self._certificate()
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return (now or datetime.now(UTC)) >= start + RENEW_AT * (end - start)

    def name(self) -> str:
        """The device's name, from the certificate. Raises `CredentialsError` if there is none."""
        try:
            names = self._certificate().extensions.get_extension_for_class(
                x509.SubjectAlternativeName).value.get_values_for_type(x509.UniformResourceIdentifier)
        except x509.ExtensionNotFound as error:
            raise CredentialsError(f"{self.client} is no certificate of a device ({error}); get one with: "
                                   "lepton cloud enroll") from error
        return names[0].rpartition(":")[2] if names else ""

    def _certificate(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self.client.read_bytes())
        except (OSError, ValueError) as error:
            raise CredentialsError(f"{self.client} is no certificate of a device ({error}); get one with: "
                                   "lepton cloud enroll") from error

    @property
    def _next_key(self) -> Path:
        return self.folder / "next.key"

    def _request(self) -> tuple[bytes, x509.CertificateSigningRequest]:
        """The next key, which stays the same until its certificate has come, and a request for it."""
        if not self._next_key.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            durable.replace(self._next_key, key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        pem = self._next_key.read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        return pem, x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
        except (OSError, ssl.SSLError) as error:
            raise CredentialsError(f"{self.authority} is no certificate of an authority: {error}; "
                                   "take the file that the service's operator hands out") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def _obtain(self, context: ssl.SSLContext, service: str, path: str, key: bytes, body: dict) -> dict:
        try:
            with httpx.Client(base_url=service.rstrip("/"), verify=context, timeout=TIMEOUT_SECONDS,
                              trust_env=False) as client:
                response = client.post(path, json=body)
            answer = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise CredentialsError(f"{service} gives no certificate: {error or type(error).__name__}") from error
        if response.status_code != 201:
            raise CredentialsError(f"{service} gives no certificate: {answer.get('detail', response.reason_phrase)}")
        durable.replace(self.client, key + answer["certificate"].encode())
        self._next_key.unlink(missing_ok=True)  # two processes of a device may rotate at once
        return answer


def _pem(request: x509.CertificateSigningRequest) -> str:
    return request.public_bytes(serialization.Encoding.PEM).decode()
