"""A second, plain HTTP address for the operator's tools: `/metrics`, `/healthz`, `/readyz`.

It must be reachable by Prometheus and the probes of a container runtime, but not by clients: metrics have the names of
tenants and devices.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterable

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import Metric
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from . import tables
from .database import IndexDatabase
from .metrics import Metrics, gauge
from .turns import Pools

READY_SECONDS = 2.0  # for the database's answer
DEVICES_SECONDS = 15.0  # between queries of the devices' state; Prometheus asks every 15 to 60 s


class Probe:
    """The endpoints. `refresh` updates the gauges of `metrics`."""

    def __init__(self, database: IndexDatabase, metrics: Metrics, pools: Pools, refresh: Callable[[], None]):
        self._database = database
        self._metrics = metrics
        self._pools = pools
        self._refresh = refresh
        self._read = 0.0
        self._devices: list[Metric] = []
        self.app = Starlette(routes=[Route("/metrics", self._show_metrics), Route("/healthz", self._healthy),
                                     Route("/readyz", self._ready)])

    async def _show_metrics(self, _request: Request) -> Response:
        self._refresh()
        return Response(await run_in_threadpool(self._metrics.text, self._device_metrics),
                        media_type=CONTENT_TYPE_LATEST)

    async def _healthy(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _request: Request) -> Response:
        checks = {"store": "failing" if self._pools.put_breaker.broken else "ok"}
        try:
            async with asyncio.timeout(READY_SECONDS):
                await run_in_threadpool(self._ask_database)
            checks["database"] = "ok"
        except (SQLAlchemyError, TimeoutError, OSError):
            checks["database"] = "failing"
        return JSONResponse(checks, status_code=200 if set(checks.values()) == {"ok"} else 503)

    def _ask_database(self) -> None:
        with self._database.query() as connection:
            connection.execute(select(1))

    def _device_metrics(self) -> Iterable[Metric]:
        """State of each device, as the service knows it. Kept for a while, since it is a query over all devices."""
        if self._read + DEVICES_SECONDS < time.monotonic():
            try:
                with self._database.query() as connection:
                    self._devices = _devices(connection)
                self._read = time.monotonic()
            except SQLAlchemyError:
                self._devices = []
        return self._devices


def _devices(connection: Connection) -> list[Metric]:
    spools = tables.spools.c
    certificates = tables.certificates.c
    codes = tables.codes.c
    rows = connection.execute(
        select(spools.tenant, spools.device, func.max(spools.last_received), func.sum(spools.segments),
               func.sum(spools.bytes), func.sum(spools.lost_records))
        .group_by(spools.tenant, spools.device)).all()
    expiries = connection.execute(
        select(codes.tenant, codes.name, func.max(certificates.expires))
        .join_from(tables.certificates, tables.codes).where(codes.revoked.is_(None), codes.role == "device")
        .group_by(codes.tenant, codes.name)).all()
    labels = ["tenant", "device"]
    names = [[row[0], row[1]] for row in rows]
    return [
        gauge("lepton_device_last_received_timestamp_seconds", "When the last segment of a device arrived", labels,
              zip(names, (row[2] for row in rows), strict=True)),
        gauge("lepton_device_segments", "Stored segments of a device", labels,
              zip(names, (float(row[3]) for row in rows), strict=True)),
        gauge("lepton_device_bytes", "Bytes of the stored segments of a device", labels,
              zip(names, (float(row[4]) for row in rows), strict=True)),
        gauge("lepton_device_lost_records", "Records that the full spools of a device rejected or dropped", labels,
              zip(names, (float(row[5]) for row in rows), strict=True)),
        gauge("lepton_device_certificate_expiry_timestamp_seconds", "When the newest certificate of a device expires",
              labels, (([row[0], row[1]], row[2]) for row in expiries)),
    ]


class ProbeServer:
    """Serves `Probe` within the event loop of the service."""

    def __init__(self, probe: Probe, listener: socket.socket):
        self._listener = listener
        config = uvicorn.Config(probe.app, lifespan="off", ws="none", log_config=None, access_log=False,
                                server_header=False, limit_concurrency=32, timeout_graceful_shutdown=1)
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)

    async def start(self) -> None:
        await self._server.startup([self._listener])

    async def stop(self) -> None:
        await self._server.shutdown([self._listener])
