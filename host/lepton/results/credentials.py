"""A device's certificate for the ingest service: enrolment by a one-time code, and rotation.

A folder has `client.pem`, the certificate and its private key in one file (so that a crash cannot leave a pair that
does not match), and `authority.pem`, the certificate that signed the service's own one. A new key is on disk before it
is sent for signing, so that the request can be repeated if the answer is lost.
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
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import durable, keys
from .errors import CredentialsError
from .keys import DeviceKeys

PROOF_CONTEXT = b"lepton-enrolment/1\0"
RENEWAL_CONTEXT = b"lepton-renewal/1\0"
RENEW_AT = 2 / 3  # of a certificate's lifetime, as Let's Encrypt advises: a third is left for attempts that fail
TIMEOUT_SECONDS = 30.0  # of a request; the service answers within milliseconds, over slow links within seconds


@dataclass(frozen=True)
class Credentials:
    """The certificate in `folder`. Methods that call the service raise `CredentialsError`."""

    folder: Path

    @property
    def client(self) -> Path:
        """PEM of the private key and its certificate."""
        return self.folder / "client.pem"

    @property
    def authority(self) -> Path:
        """PEM of the authority that must have signed the service's certificate."""
        return self.folder / "authority.pem"

    def enrol(self, service: str, code: str, authority: str | Path, device_keys: DeviceKeys) -> dict:
        """Exchange a one-time code for a certificate; returns the service's answer (docs/cloud-service.md).

        `authority` is the PEM file of the service's authority, which its operator distributes. The service will accept
        segments that are signed by `device_keys`.
        """
        try:
            trusted = Path(authority).read_bytes()
        except OSError as error:
            raise CredentialsError(f"cannot read the authority's certificate {authority}: {error.strerror}") from error
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        durable.replace(self.authority, trusted)
        key, request = self._request()
        answer = self._obtain(self._context(), service, "/v1/enrolment", key, {
            "request": _pem(request), "code": code, **_signing(device_keys.signing, request)})
        self._keep_signing(answer)
        return answer

    def rotate(self, service: str) -> dict:
        """Replace the certificate by one for a new key; returns the service's answer."""
        key, request = self._request()
        return self._obtain(self.context(), service, "/v1/certificate", key, {"request": _pem(request)})

    def renew(self, service: str) -> dict:
        """Replace a certificate that has expired, with its own key; returns the service's answer.

        The service does so for 180 days after the certificate's end.
        """
        certificate = self._certificate()
        old = serialization.load_pem_private_key(self.client.read_bytes(), None)
        if not isinstance(old, ec.EllipticCurvePrivateKey):
            raise CredentialsError(f"{self.client} must have an elliptic-curve key, not {type(old).__name__}; get a "
                                   "certificate with: lepton cloud enroll")
        key, request = self._request()
        proof = old.sign(RENEWAL_CONTEXT + request.public_bytes(serialization.Encoding.DER), ec.ECDSA(hashes.SHA256()))
        return self._obtain(self._context(), service, "/v1/renewal", key, {
            "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(), "request": _pem(request),
            "proof": base64.b64encode(proof).decode()})

    def expired(self, now: datetime | None = None) -> datetime | None:
        """The end of the certificate, if it has passed by this machine's clock."""
        end = self._certificate().not_valid_after_utc
        return end if (now or datetime.now(UTC)) >= end else None

    def rotate_signing(self, service: str) -> dict:
        """Replace the certificate, and the key that signs segments; returns the service's answer.

        The service knows the new key before the device uses it, and keeps the old one for segments that wait.
        """
        key, request = self._request()
        signing = Ed25519PrivateKey.generate()
        answer = self._obtain(self.context(), service, "/v1/certificate", key, {
            "request": _pem(request), **_signing(signing, request)})
        keys.replace_signing(self.folder, signing)
        self._keep_signing(answer)
        return answer

    def _keep_signing(self, answer: dict) -> None:
        if answer.get("signing_certificate"):
            durable.replace(self.folder / keys.CERTIFICATE, answer["signing_certificate"].encode(), mode=0o644)

    def context(self) -> ssl.SSLContext:
        """TLS 1.3 settings for the service, with the client certificate."""
        context = self._context()
        try:
            context.load_cert_chain(self.client)
        except (OSError, ssl.SSLError) as error:
            raise CredentialsError(f"cannot use {self.client}: {error}; get a certificate with: lepton cloud enroll"
                                   ) from error
        return context

    def version(self) -> str:
        """The certificate's serial number, which differs from that of any other one."""
        return f"{self._certificate().serial_number:x}"

    def due(self, now: datetime | None = None) -> bool:
        """Whether `RENEW_AT` of the certificate's lifetime has passed."""
        certificate = self._certificate()
        start = certificate.not_valid_before_utc
        end = certificate.not_valid_after_utc
        return (now or datetime.now(UTC)) >= start + RENEW_AT * (end - start)

    def name(self) -> str:
        """The device's name, from the certificate. Raises `CredentialsError` if there is none."""
        return self._identity()[-1]

    def tenant(self) -> str:
        """The device's tenant, from the certificate. Raises `CredentialsError` if there is none."""
        return self._identity()[-2]

    def _identity(self) -> list[str]:
        """The parts of `urn:lepton:<role>:<tenant>:<name>`."""
        try:
            names = self._certificate().extensions.get_extension_for_class(
                x509.SubjectAlternativeName).value.get_values_for_type(x509.UniformResourceIdentifier)
        except x509.ExtensionNotFound as error:
            raise CredentialsError(f"{self.client} is not a certificate of a device ({error}); get one with: "
                                   "lepton cloud enroll") from error
        parts = names[0].split(":") if names else []
        if len(parts) != 5:
            raise CredentialsError(f"{self.client} is not a certificate of a device (its name is {names}); get one "
                                   "with: lepton cloud enroll")
        return parts

    def _certificate(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self.client.read_bytes())
        except (OSError, ValueError) as error:
            raise CredentialsError(f"{self.client} is not a certificate of a device ({error}); get one with: "
                                   "lepton cloud enroll") from error

    @property
    def _next_key(self) -> Path:
        return self.folder / "next.key"

    def _request(self) -> tuple[bytes, x509.CertificateSigningRequest]:
        """The next key in PEM, which stays the same until its certificate has arrived, and a request for it."""
        if not self._next_key.exists():
            durable.replace(self._next_key, ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        pem = self._next_key.read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CredentialsError(f"{self._next_key} must be an elliptic-curve key, not {type(key).__name__}; remove "
                                   "the file, and a new one is made")
        return pem, x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
        except (OSError, ssl.SSLError) as error:
            raise CredentialsError(f"{self.authority} is not a certificate of an authority: {error}; "
                                   "use the file authority.pem from the service's operator") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def _obtain(self, context: ssl.SSLContext, service: str, path: str, key: bytes, body: dict) -> dict:
        try:
            with httpx.Client(base_url=service.rstrip("/"), verify=context, timeout=TIMEOUT_SECONDS,
                              trust_env=False) as client:
                response = client.post(path, json=body)
            answer = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise CredentialsError(f"{service} issued no certificate: {error or type(error).__name__}") from error
        if response.status_code != 201:
            raise CredentialsError(f"{service} issued no certificate: {answer.get('detail', response.reason_phrase)}")
        self._learn(answer.get("authority"))
        durable.replace(self.client, key + answer["certificate"].encode())
        self._next_key.unlink(missing_ok=True)  # missing: another process of the device has rotated at the same time
        return answer


    def _learn(self, given: object) -> None:
        """Trust further roots of a service whose own root is trusted already: it may be about to rotate that.

        With a certificate of the operator's own authority the service's roots are not trusted for TLS.
        """
        try:
            known = x509.load_pem_x509_certificates(self.authority.read_bytes())
            found = x509.load_pem_x509_certificates(given.encode()) if isinstance(given, str) else []
        except (OSError, ValueError):
            return
        new = [certificate for certificate in found if certificate not in known]
        if new and len(new) < len(found):
            durable.replace(self.authority, b"".join(
                certificate.public_bytes(serialization.Encoding.PEM) for certificate in [*known, *new]), mode=0o644)


def _pem(request: x509.CertificateSigningRequest) -> str:
    return request.public_bytes(serialization.Encoding.PEM).decode()


def _signing(key: Ed25519PrivateKey, request: x509.CertificateSigningRequest) -> dict[str, str]:
    """A signing key and the proof that its private key signed the request, as the service takes them."""
    proof = key.sign(PROOF_CONTEXT + request.public_bytes(serialization.Encoding.DER))
    return {"signing_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
            "signing_proof": base64.b64encode(proof).decode()}
