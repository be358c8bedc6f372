"""Metrics in the format of Prometheus, with names by its conventions (prometheus.io/docs/practices/naming).

With several workers the values are in files of the folder `PROMETHEUS_MULTIPROC_DIR`, and every worker shows the sums.
"""

import os
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

_SECONDS = (.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1., 2.5, 5., 10., 30.)
_ROUTES = frozenset({"enrolment", "certificate", "position", "results", "heads", "devices", "refusals", "openapi.json"})
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # the variable of prometheus_client; read when it is imported


class Metrics:
    """What a process has done. `connections` and `broken` are asked when the metrics are read."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("lepton_service_requests", "Answered requests", ["method", "route", "status"],
                                 registry=self._registry)
        self._seconds = Histogram("lepton_service_request_seconds", "From a request's head to the end of its answer",
                                  ["method", "route"], buckets=_SECONDS, registry=self._registry)
        self._segments = Counter("lepton_service_segments", "Segments by outcome", ["outcome"], registry=self._registry)
        self._bytes = Counter("lepton_service_segment_bytes", "Bytes of newly stored segments", registry=self._registry)
        self._refusals = Counter("lepton_service_refusals", "Refused requests and connections", ["reason"],
                                 registry=self._registry)
        self._connections = Gauge("lepton_service_connections", "Connections by state", ["state"],
                                  multiprocess_mode="livesum", registry=self._registry)
        self._broken = Gauge("lepton_service_store_unavailable", "1 while the store is not asked because it has failed",
                             ["use"], multiprocess_mode="livemax", registry=self._registry)
        self._stalled = Counter("lepton_service_closed_connections", "Connections closed because of a limit",
                                ["limit"], registry=self._registry)

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """An answered request; `status` 0: the client has gone."""
        route = path.split("/")[2] if path.startswith("/v1/") else ""
        route = route if route in _ROUTES else "other"
        method = method if method in ("GET", "PUT", "POST", "HEAD", "DELETE") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def segment(self, outcome: str, size: int = 0) -> None:
        """A segment that was `stored`, was there (`repeated`), or was `refused`."""
        self._segments.labels(outcome).inc()
        if size:
            self._bytes.inc(size)

    def refusal(self, reason: str) -> None:
        self._refusals.labels(reason).inc()

    def closed(self, limit: str, count: int) -> None:
        self._stalled.labels(limit).inc(count)

    def state(self, connections: dict[str, int], broken: dict[str, bool]) -> None:
        """Connections by state; for which uses the store counts as unavailable."""
        for name, count in connections.items():
            self._connections.labels(name).set(count)
        for use, value in broken.items():
            self._broken.labels(use).set(value)

    def text(self, devices: Callable[[], Iterable[Metric]]) -> bytes:
        """The text format, with further metrics that `devices` gives."""
        registry = self._registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        extra = CollectorRegistry()
        extra.register(_Collector(devices))
        return generate_latest(registry) + generate_latest(extra)


class _Collector:
    def __init__(self, collect: Callable[[], Iterable[Metric]]):
        self.collect = collect

    def describe(self) -> Iterable[Metric]:
        return []  # otherwise the registry would ask the database when it is made


def gauge(name: str, text: str, labels: list[str], rows: Iterable[tuple[list[str], float]]) -> GaugeMetricFamily:
    """A gauge with a value for each row."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family
