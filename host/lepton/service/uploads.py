"""Uploads of segments: the work of the endpoint, and a direct way to it for the usual request.

FastAPI takes half of the processor time of an upload for its routing, dependencies and validation. The gate gives an
upload with a well-formed path to `Uploads.direct`; everything else takes the endpoint of the same function in `routes`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import Scope

from . import messages
from .commits import Commits
from .enrolment import Enrolment
from .identity import NAME, Identity
from .ingest import Accepted, Ingest, Step
from .metrics import Metrics
from .refusal import RequestRefused
from .turns import Pools

UPLOADS = frozenset({"PUT", "PATCH"})  # PATCH sends the rest of a body (`partials`)
_PATH = re.compile(rf"/v1/(results/tenant=({NAME})/device=({NAME})/date=[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}/"
                   r"[0-9a-f]{32}-[0-9]{12}-[0-9a-f]{64}\.cose)")


@dataclass(frozen=True)
class SegmentUpload:
    """A segment that `sender` sends. `certificate` (DER): not checked yet, see `Ingest.steps`."""

    sender: Identity
    key: str
    body: bytes
    lost_from: int | None = None
    certificate: bytes | None = None


class SegmentPath(NamedTuple):
    """The parts of the path of an upload."""

    key: str
    tenant: str
    device: str


class Uploads:
    """Stores segments with the threads that `pools` returns."""

    def __init__(self, ingest: Ingest, enrolment: Enrolment, metrics: Metrics, pools: Callable[[], Pools]):
        self._ingest = ingest
        self._enrolment = enrolment
        self._metrics = metrics
        self._pools = pools
        self._commits: Commits | None = None

    @staticmethod
    def path_of(scope: Scope) -> SegmentPath | None:
        """The path of an upload, if it is well-formed."""
        found = _PATH.fullmatch(scope["path"]) if scope["method"] in UPLOADS else None
        return SegmentPath(*found.groups()) if found else None

    @staticmethod
    def is_direct(scope: Scope) -> bool:
        """Whether `direct` can take an upload: it has no further headers of its own."""
        return not any(name == b"lepton-lost-from" for name, _ in scope["headers"])

    async def direct(self, sender: Identity, path: SegmentPath, body: bytes, certificate: bytes | None) -> Response:
        """The answer to an upload; `certificate`, if it was only remembered, is checked in the statement that reads the
        state of the spool. Raises `RequestRefused`, or the errors of store and database."""
        if sender.role != "device" or (path.tenant, path.device) != (sender.tenant, sender.name):
            raise RequestRefused(403, "not_yours", f"the certificate is that of {sender}, not of device {path.device} "
                                 f"of tenant {path.tenant}")
        try:
            return await self.store(SegmentUpload(sender, path.key, body, None, certificate))
        except RequestRefused as refused:
            if refused.status == 401 and certificate:
                self._enrolment.forget(certificate)
            raise

    async def store(self, upload: SegmentUpload) -> Response:
        """Make a segment durable, each step in the threads for it. Raises as `direct`."""
        pools = self._pools()
        if self._commits is None:
            self._commits = Commits(pools.index, self._ingest.index_all)
        steps = self._ingest.steps(upload.sender, upload.key, upload.body, upload.lost_from, upload.certificate)
        try:
            step: Step = next(steps)
            while True:
                if step.entry is not None:
                    step = steps.send(await self._commits.add(step.entry))
                else:
                    pool = pools.put if step.pool == "put" else pools.index
                    step = steps.send(await pool.run(step.call))
        except StopIteration as end:
            accepted: Accepted = end.value
        except RequestRefused:
            self._metrics.segment("refused")
            raise
        self._metrics.segment("stored" if accepted.new else "repeated", len(upload.body) if accepted.new else 0)
        stored = messages.Stored(device=upload.sender.name, sequence=accepted.sequence, digest=accepted.digest,
                                 expected=accepted.expected)
        return Response(stored.model_dump_json(), 201 if accepted.new else 200, media_type="application/json")
