"""TLS 1.3 and the client's certificate, for uvicorn.

uvicorn does not implement the TLS extension of ASGI, so a subclass of its HTTP protocol puts the client's certificate
into the state of each request (`scope["state"]`). A `RefusalReport` is called for everything that is refused here,
before the application sees it.
"""

import asyncio
import ssl
import tempfile
from typing import ClassVar, Protocol

import h11
from cryptography import x509
from uvicorn.protocols.http.h11_impl import H11Protocol

from .connections import Connections
from .errors import ServiceError
from .identity import Identity
from .refusal import RefusalReport, RequestRefused

CERTIFICATE = "peer_certificate"  # key in the state: DER, or None
ADMISSION = "admission"  # key in the state: `Admission`
# At shutdown an idle connection is aborted after this time: long enough for TLS's close_notify to arrive.
FAREWELL_SECONDS = 0.5


class Admission(Protocol):
    """Counts connections, and the refusals of unidentified clients by address."""

    def mistake(self, address: str) -> None:
        """A client at `address` was refused."""

    def erring(self, address: str) -> float:
        """0, or the seconds for which an address that was refused too often must wait."""

    def released(self) -> None:
        """A connection has ended."""


class PeerProtocol(H11Protocol):
    """HTTP/1.1 with the client's certificate, and a time limit for requests and for the rest of a refused one."""

    report: ClassVar[RefusalReport]
    patience: ClassVar[float]  # seconds
    registry: ClassVar[Connections]
    _deadline: asyncio.TimerHandle | None = None
    _answers = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls else None
        self.app_state = {**self.app_state, CERTIFICATE: certificate}
        identity = Identity.of(x509.load_der_x509_certificate(certificate)) if certificate else None
        if tls and not self.registry.admit(self, identity, self._address or ""):
            self.report("connection", RequestRefused(
                429, "busy", f"the tenant of {identity} has too many connections", identity=identity), self._address)
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._answers += 1
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self.registry.remove(self)
        self.app_state[ADMISSION].released()
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._answered and not self.conn.trailing_data[0]

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def unsent(self) -> tuple[int, int]:
        """Number of the answer, and bytes of it that the client has not taken."""
        return self._answers, self.transport.get_write_buffer_size()

    def shutdown(self) -> None:
        """Abort idle connections: otherwise TLS would wait for the client to agree to the end."""
        super().shutdown()
        if self._answered:
            self.loop.call_later(FAREWELL_SECONDS, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        self.report("HTTP", RequestRefused(400, "malformed", msg), self._address)
        super().send_400_response(msg)

    @property
    def _address(self) -> str | None:
        return self.client[0] if self.client else None

    @property
    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        """The deadline runs while the rest of a head, or of the body of a refused request, has not arrived."""
        if self._answered and self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            if self._deadline is None:
                self._deadline = self.loop.call_later(self.patience, self._too_slow)
        else:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            if self.cycle is None or self.conn.trailing_data[0]:  # otherwise the connection is only idle
                self.report("HTTP", RequestRefused(408, "slow", f"no request arrived within {self.patience:g} seconds"),
                            self._address)
            self.transport.close()


def protocol(report: RefusalReport, patience: float, registry: Connections) -> type[PeerProtocol]:
    """A subclass of `PeerProtocol` for uvicorn, which creates the objects itself."""
    return type("ReportingPeerProtocol", (PeerProtocol,), {
        "report": staticmethod(report), "patience": patience, "registry": registry})


def make_context(server_pem: bytes, roots: bytes, report: RefusalReport) -> ssl.SSLContext:
    """TLS 1.3 with the server's key and certificate; clients' certificates must be signed by one of `roots` (PEM).

    A client may have no certificate, since enrolment is done without one: the gate refuses all its other requests.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.NamedTemporaryFile() as file:  # Python's ssl reads keys only from files
        file.write(server_pem)
        file.flush()
        try:
            context.load_cert_chain(file.name)
            context.load_verify_locations(cadata=roots.decode())
        except (ssl.SSLError, ValueError) as error:
            raise ServiceError(f"the certificates for TLS cannot be used: {error}") from error
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.num_tickets = 0  # no resumption: every connection must prove that it has the key
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = _reporting(report)
    return context


def _reporting(report: RefusalReport) -> type[ssl.SSLObject]:
    class ReportingObject(ssl.SSLObject):
        """Reports why a handshake failed, which asyncio does not."""

        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLCertVerificationError as error:
                report("TLS handshake", RequestRefused(401, "certificate_refused", error.verify_message), None)
                raise
            except ssl.SSLError as error:
                report("TLS handshake", RequestRefused(400, "handshake", error.reason or str(error)), None)
                raise

    return ReportingObject
