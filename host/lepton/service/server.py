"""A process of the service: its sockets, event loop and threads."""

import asyncio
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import uvicorn
from fastapi import FastAPI

from . import logs
from .acceptor import Acceptor
from .app import make_app
from .audit import Audit
from .connections import Connections
from .enrolment import Enrolment
from .errors import ServiceError
from .ingest import Ingest
from .metrics import Metrics
from .options import Address, Home, Options
from .partials import Partials
from .peer import ADMISSION, make_context, protocol
from .probe import Probe, ProbeServer
from .turns import Pools

BACKLOG = 1024  # connections that wait to be accepted; Linux allows 4096 (net.core.somaxconn)
GRACE_SECONDS = 1  # at the end: time in which open requests may finish
AUDIT_SECONDS = 0.6  # then: for the audit's waiting rows; the whole end takes less than 2 s
AUDIT_LINGER = 1.0  # seconds in which refusals of unidentified clients are collected
# Python switches between threads every 5 ms by default: so long the event loop would wait for each query's thread.
SWITCH_SECONDS = 0.0005
REFRESH_SECONDS = 5.0  # between updates of the gauges


def serve(home: Home, options: Options, *, ready: Callable[[int], None] = lambda port: None) -> None:
    """Answer requests until SIGINT or SIGTERM. `ready` is called with the port when the service is ready."""
    logs.set_up(options.log_format, options.log_level)
    files = _raise_file_limit()
    listener = listen(options.address, shared=options.workers > 1)
    probe = listen(Address(*options.probe), shared=options.workers > 1) if options.probe else None
    database = home.open_database()
    authority = home.open_authority()
    audit = Audit(database, linger=AUDIT_LINGER)
    # uvicorn raises the signal again when it has stopped; the default action would end the process at once
    former = signal.signal(signal.SIGTERM, _end)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        enrolment = Enrolment(database, authority, options.days, client_ca=options.certificates.client_pem())
        metrics = Metrics()
        options = replace(options, limits=options.limits.of_worker(options.workers))
        limits = options.limits
        app = make_app(database, authority, enrolment, Ingest(database, home.objects), audit, limits, metrics,
                       Partials(home.folder / "incoming"), options.proxies)
        registry = Connections(limits)
        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None,
                                access_log=False, server_header=False, proxy_headers=False,
                                timeout_graceful_shutdown=GRACE_SECONDS)
        make_protocol = protocol(audit.put, limits.head_seconds, registry)
        context = None
        if not options.proxies:
            pem = options.certificates.server_pem() or authority.server_pem(options.address.all_names())
            context = make_context(pem, authority.root_pem.encode() + (options.certificates.client_pem() or b""),
                                   audit.put)

        def make_acceptor(server: uvicorn.Server) -> Acceptor:
            return Acceptor(listener, lambda: protocol_of(server), context, limits, limits.shared_by(files), audit.put,
                        proxies=options.proxies)

        def protocol_of(server: uvicorn.Server) -> asyncio.Protocol:
            return make_protocol(config=config, server_state=server.server_state,
                                 app_state=server.lifespan.state)

        def make_probe(pools: Pools, refresh: Callable[[], None]) -> ProbeServer | None:
            return ProbeServer(Probe(database, metrics, pools, refresh), probe) if probe else None

        parts = Parts(make_acceptor, make_probe, app, registry, metrics, options)
        _UvicornServer(config, parts, lambda: ready(listener.getsockname()[1])).run()
    finally:
        signal.signal(signal.SIGTERM, former)
        audit.close(AUDIT_SECONDS / 2, AUDIT_SECONDS)
        database.close()
        listener.close()


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def end_process(status: int) -> None:
    """End at once if threads still wait for a store that does not answer: devices repeat what was not confirmed."""
    if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
        os._exit(status)


def bind(address: Address, *, shared: bool = False) -> socket.socket:
    """A socket that does not listen yet. `shared`: other processes listen on the same address. Raises `ServiceError`.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only if the socket names its protocol; without it Nagle's algorithm (RFC 896) and the
    # client's delayed acknowledgement (40 ms on Linux) delay each answer
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by accepted sockets
        listener.bind((address.host, address.port))
        return listener
    except OSError as error:
        listener.close()
        raise ServiceError(f"cannot listen on {address.host}:{address.port}: {error.strerror or error}") from error


def listen(address: Address, *, shared: bool = False) -> socket.socket:
    """`bind`, and listen."""
    listener = bind(address, shared=shared)
    listener.listen(BACKLOG)
    return listener


def _raise_file_limit() -> int:
    """As many open files as the system permits; their number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


@dataclass(frozen=True)
class Parts:
    """What `_UvicornServer` starts within its event loop."""

    make_acceptor: Callable[[uvicorn.Server], Acceptor]
    make_probe: Callable[[Pools, Callable[[], None]], ProbeServer | None]
    app: FastAPI
    registry: Connections
    metrics: Metrics
    options: Options


class _UvicornServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, parts: Parts, ready: Callable[[], None]):
        super().__init__(config)
        self._parts = parts
        self._ready = ready
        self._acceptor: Acceptor | None = None
        self._probe: ProbeServer | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        parts = self._parts
        self.servers = []
        self._pools = parts.app.state.pools = Pools(parts.options.limits.store_seconds)
        self._acceptor = parts.make_acceptor(self)
        self.lifespan.state[ADMISSION] = self._acceptor
        self._probe = parts.make_probe(self._pools, self._refresh)
        if self._probe:
            await self._probe.start()
        self._acceptor.open()
        self._background = asyncio.create_task(self._tend())
        self.started = True
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._background.cancel()
        if self._acceptor:
            self._acceptor.close()
        if self._probe:
            await self._probe.stop()
        await super().shutdown(sockets)
        self._pools.close()

    async def _tend(self) -> None:
        """Update the gauges, and end connections whose clients do not take their answers."""
        limits = self._parts.options.limits
        due = time.monotonic() + limits.answer_seconds
        while True:
            await asyncio.sleep(min(REFRESH_SECONDS, limits.answer_seconds))
            self._refresh()
            if time.monotonic() >= due:
                due += limits.answer_seconds
                self._parts.metrics.closed("answer", self._parts.registry.abort_stalled(
                    limits.body_rate * limits.answer_seconds))

    def _refresh(self) -> None:
        if self._acceptor:
            self._parts.metrics.state(self._acceptor.counts | self._parts.registry.counts, {
                "put": self._pools.put_breaker.broken, "get": self._pools.get_breaker.broken})
