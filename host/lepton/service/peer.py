"""TLS 1.3 and the peer's certificate, for uvicorn.

uvicorn has no ASGI extension for TLS: a subclass of its HTTP protocol puts the client's
certificate into the state of each request (`scope["state"]`). What is refused here, before the application
sees it, is told to a `Report`.
"""

import asyncio
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .refusal import RequestRefused

CERTIFICATE = "peer_certificate"  # in the state: DER, or None
FAREWELL_SECONDS = 0.5

Report = Callable[[str, RequestRefused, str | None], None]  # what was asked for, why not, the peer's address if known


class PeerProtocol(H11Protocol):
    """HTTP/1.1 that knows its peer, and does not wait for ever for a request, nor for the rest of a refused one."""

    report: ClassVar[Report]
    patience: ClassVar[float]  # seconds
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self.app_state = {**self.app_state, CERTIFICATE: tls.getpeercert(binary_form=True)}
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Idle peers need not agree to the end of their connection: TLS would wait for them."""
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
        """The deadline runs while the rest of a head, or of a body whose request was refused, is to come."""
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
            if self.cycle is None or self.conn.trailing_data[0]:  # not where a connection has only become idle
                self.report("HTTP", RequestRefused(408, "slow", f"no request came within {self.patience:g} seconds"),
                            self._address)
            self.transport.close()


def protocol(report: Report, patience: float) -> type[PeerProtocol]:
    """`PeerProtocol` for uvicorn, which makes the objects itself."""
    return type("ReportingPeerProtocol", (PeerProtocol,), {"report": staticmethod(report), "patience": patience})


def make_context(server_pem: bytes, root: Path, report: Report) -> ssl.SSLContext:
    """TLS 1.3 with the server's key and certificate, and with clients' certificates of `root` only.

    A client may come without one, because enrolment must: the application refuses it all other requests.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.NamedTemporaryFile() as file:  # the module ssl reads keys from files only
        file.write(server_pem)
        file.flush()
        context.load_cert_chain(file.name)
    context.load_verify_locations(root)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.num_tickets = 0  # no resumption: every connection proves its key anew
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = _reporting(report)
    return context


def _reporting(report: Report) -> type[ssl.SSLObject]:
    class ReportingObject(ssl.SSLObject):
        """asyncio tells nobody why a handshake failed; this does."""

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
