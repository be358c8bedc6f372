"""Access to the service: one-time codes, certificates, revocation."""

import base64
import binascii
import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection, Row, select, update

from . import changes, tables
from .authority import CLIENT_DAYS, Authority, read_request
from .database import IndexDatabase, insert_new
from .errors import ServiceError
from .identity import Identity
from .quotas import check_devices
from .refusal import RequestRefused
from .renewal import GRACE_DAYS, check_proof, read_certificate

CODE_HOURS = 24.0
MOST_REMEMBERED = 20_000  # certificates, at some 1 KB each
CODE_BYTES = 20  # 160 random bits cannot be guessed, and their digest needs no slow hash
PROOF_CONTEXT = b"lepton-enrolment/1\0"


@dataclass(frozen=True)
class Issued:
    """A certificate and its owner."""

    identity: Identity
    certificate: x509.Certificate
    signing: x509.Certificate | None = None  # of the device's signing key

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def signing_pem(self) -> str | None:
        return None if self.signing is None else self.signing.public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True)
class Peer:
    """The sender of a request, and the digest of the code from which its certificates were issued."""

    identity: Identity
    code: str


def check_certificate(row: Row[*tuple[Any, ...]] | None, now: float) -> Peer:
    """The owner of a certificate, by a row with the columns digest, role, tenant, name and revoked of its code, and its
    own expires; None if there is none. Raises `RequestRefused` unless it is valid at `now`."""
    if row is None:
        raise RequestRefused(401, "certificate_unknown", "this service has not issued the certificate; enrol again")
    peer = Peer(Identity(row.role, row.tenant, row.name), row.digest)
    if row.revoked is not None:
        raise RequestRefused(401, "certificate_revoked",
                             "the certificate has been revoked; ask the operator for a code", identity=peer.identity)
    if row.expires <= now:  # a connection may last longer than its certificate
        raise RequestRefused(401, "certificate_expired", "the certificate has expired; enrol again with a new code",
                             identity=peer.identity)
    return peer


class Enrolment:
    """Codes and certificates in `database`; certificates are signed by `authority` and valid for `days`.

    Every request looks up its certificate in the database, so a revocation is effective at once, also on open
    connections. `clock` returns the seconds since 1970. `client_ca` (PEM) are authorities of the operator: one of their
    certificates, with the identity in its subject alternative name, is accepted while that identity has a code.
    """

    def __init__(self, database: IndexDatabase, authority: Authority, days: float = CLIENT_DAYS,
                 clock: Callable[[], float] = time.time, client_ca: bytes | None = None):
        self._client_cas = x509.load_pem_x509_certificates(client_ca) if client_ca else []
        self._database = database
        self._authority = authority
        self._days = days
        self._clock = clock
        self._remembered: dict[bytes, Peer] = {}  # by certificate in DER; the oldest first

    def remembered(self, certificate_der: bytes) -> Peer | None:
        """The owner of a certificate of this service that `identify` has accepted before.

        It may have been revoked since: whoever uses this checks the certificate with `check_certificate` later.
        """
        return self._remembered.get(certificate_der)

    def forget(self, certificate_der: bytes) -> None:
        """Look the certificate up again next time."""
        self._remembered.pop(certificate_der, None)

    def invite(self, identity: Identity, hours: float = CODE_HOURS) -> str:
        """A code with which `identity` can enrol once, within `hours`. The database has only its digest."""
        return self.invite_all([identity], hours)[0]

    def invite_all(self, identities: Sequence[Identity], hours: float = CODE_HOURS) -> list[str]:
        """A code for each of `identities`, all or none."""
        if not hours > 0:
            raise ServiceError(f"a code must be valid for more than 0 hours, not {hours}")
        made = [secrets.token_hex(CODE_BYTES) for _ in identities]
        with self._database.write() as connection:
            for identity, code in zip(identities, made, strict=True):
                connection.execute(tables.codes.insert().values(
                    digest=_digest(code.encode()), role=identity.role, tenant=identity.tenant, name=identity.name,
                    expires=self._clock() + 3600 * hours))
                changes.add(connection, self._clock(), changes.operator(), "invite", **_about(identity),
                            code=_digest(code.encode()), hours=hours)
        return made

    def enrol(self, code: str, request_pem: str, signing_key: str | None, signing_proof: str | None) -> Issued:
        """Exchange `code` for a certificate. Raises `RequestRefused`; the code is then not used.

        A code is bound to the first key that uses it: a device that lost the answer repeats the request with that key.
        """
        request = read_request(request_pem)
        key = _digest(request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        now = self._clock()
        digest = _digest(code.encode())
        codes = tables.codes.c
        with self._database.write() as connection:
            # one statement checks and uses the code: of two simultaneous requests only one gets it
            row = connection.execute(
                update(tables.codes).values(key=key)
                .where(codes.digest == digest, codes.key.is_(None) | (codes.key == key), codes.revoked.is_(None),
                       codes.expires > now)
                .returning(codes.role, codes.tenant, codes.name)).one_or_none()
            if row is None:  # the answer does not say which: that would help to guess codes
                raise RequestRefused(403, "code_refused", "the code is unknown, expired, revoked or already used; "
                                     "ask the operator for a new one")
            identity = Identity(*row)
            if identity.role != "device":
                return self._issue(connection, digest, identity, request)
            proven = _proven_key(request, signing_key, signing_proof)
            check_devices(connection, identity.tenant, identity.name)
            insert_new(connection, tables.devices, [{"tenant": identity.tenant, "device": identity.name,
                                                     "enrolled": now}])
            return self._issue(connection, digest, identity, request, proven)

    def rotate(self, peer: Peer, request_pem: str, signing_key: str | None = None, signing_proof: str | None = None
               ) -> Issued:
        """Another certificate for a client with a valid one. It is revoked together with the first.

        A device may register another signing key at the same time.
        """
        request = read_request(request_pem)
        proven = _proven_key(request, signing_key, signing_proof) if signing_key else None
        if proven and peer.identity.role != "device":
            raise RequestRefused(422, "invalid", "only a device has a signing key")
        with self._database.write() as connection:
            return self._issue(connection, peer.code, peer.identity, request, proven)

    def renew(self, certificate_pem: str, request_pem: str, proof: str) -> Issued:
        """Another certificate for a client whose own one has expired, at most `GRACE_DAYS` ago."""
        request = read_request(request_pem)
        certificate = read_certificate(certificate_pem)
        peer = self.identify(certificate.public_bytes(Encoding.DER), grace_days=GRACE_DAYS)
        check_proof(certificate, request, proof)
        with self._database.write() as connection:
            return self._issue(connection, peer.code, peer.identity, request)

    def identify(self, certificate_der: bytes, grace_days: float = 0.0) -> Peer:
        """The owner of a certificate that is valid now, or was `grace_days` ago.

        Raises `RequestRefused` for any other certificate.
        """
        certificates = tables.certificates.c
        codes = tables.codes.c
        with self._database.statement() as connection:
            row = connection.execute(
                select(codes.digest, codes.role, codes.tenant, codes.name, codes.revoked, certificates.expires)
                .where(certificates.fingerprint == _digest(certificate_der))
                .join_from(tables.certificates, tables.codes)).one_or_none()
        if row is None and (peer := self._foreign(certificate_der)):
            return peer
        peer = check_certificate(row, self._clock() - 86_400 * grace_days)
        if not grace_days:
            self._remembered[certificate_der] = peer
            while len(self._remembered) > MOST_REMEMBERED:
                with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread does the same
                    del self._remembered[next(iter(self._remembered))]
        return peer

    def _foreign(self, certificate_der: bytes) -> Peer | None:
        """The owner of a certificate of one of `client_ca` whose identity has a code that is not revoked."""
        if not self._client_cas:
            return None
        certificate = x509.load_der_x509_certificate(certificate_der)
        identity = Identity.of(certificate)
        expired = certificate.not_valid_after_utc.timestamp() <= self._clock()
        if identity is None or expired or not any(_issued_by(certificate, ca) for ca in self._client_cas):
            return None
        codes = tables.codes.c
        with self._database.read() as connection:
            code = connection.scalar(
                select(codes.digest).filter_by(tenant=identity.tenant, role=identity.role, name=identity.name)
                .where(codes.revoked.is_(None)).order_by(codes.expires.desc()).limit(1))
        return Peer(identity, code) if code else None

    def revoke(self, identity: Identity) -> int:
        """Revoke the codes of `identity`, and so all its certificates and signing keys; the number of codes."""
        codes = tables.codes.c
        with self._database.write() as connection:
            count = connection.execute(
                update(tables.codes).values(revoked=self._clock())
                .where(codes.tenant == identity.tenant, codes.role == identity.role, codes.name == identity.name,
                       codes.revoked.is_(None))).rowcount
            if count:
                changes.add(connection, self._clock(), changes.operator(), "revoke", **_about(identity), codes=count)
        if not count:
            raise ServiceError(f"there is nothing to revoke: {identity} has no valid code or certificate")
        return count

    def _issue(self, connection: Connection, code: str, identity: Identity, request: x509.CertificateSigningRequest,
               signing_key: str | None = None) -> Issued:
        """`signing_key`: a proven one (hex) to be registered."""
        signing = None
        actor = f"code {code}"
        if signing_key is not None:
            changes.add(connection, self._clock(), actor, "signing_key", **_about(identity), key=signing_key)
            insert_new(connection, tables.signing_keys, [{
                "tenant": identity.tenant, "device": identity.name, "key": signing_key, "code": code,
                "since": self._clock()}])
            signing = self._authority.vouch(identity.tenant, identity.name, signing_key)
        certificate = self._authority.issue(identity, request, self._days)
        connection.execute(tables.certificates.insert().values(
            fingerprint=_digest(certificate.public_bytes(Encoding.DER)), code=code, issued=self._clock(),
            expires=certificate.not_valid_after_utc.timestamp()))
        changes.add(connection, self._clock(), actor, "certificate", **_about(identity),
                    fingerprint=_digest(certificate.public_bytes(Encoding.DER)),
                    expires=certificate.not_valid_after_utc.isoformat())
        return Issued(identity, certificate, signing)


def _about(identity: Identity) -> dict[str, str]:
    """The subject of a change."""
    return {"role": identity.role, "tenant": identity.tenant, "name": identity.name}


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _proven_key(request: x509.CertificateSigningRequest, key: str | None, proof: str | None) -> str:
    """The signing key in hexadecimal. The proof must show that the sender has its private key."""
    if not key or not proof:
        raise RequestRefused(422, "invalid", "a device must send signing_key and signing_proof")
    try:
        raw, signature = (base64.b64decode(text, validate=True) for text in (key, proof))
        Ed25519PublicKey.from_public_bytes(raw).verify(
            signature, PROOF_CONTEXT + request.public_bytes(Encoding.DER))
    except (binascii.Error, ValueError) as error:
        raise RequestRefused(422, "invalid", f"signing_key must be 32 bytes in base64, and signing_proof 64: {error}"
                             ) from error
    except InvalidSignature as error:
        raise RequestRefused(422, "invalid",
                             "signing_proof is not a signature of this request by signing_key") from error
    return raw.hex()
