"""Where the command line keeps its spool and store, and how results get there."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

FLUSH_SECONDS = 30.0
RESULTS_CAP = 256 << 20


@dataclass(frozen=True)
class Place:
    """A spool file and the store that its records go to (objects lie under results/ in it)."""

    spool: Path
    store: str


def project_place(store: str | None = None) -> Place:
    """The folder `build` of the working directory."""
    return Place(Path("build") / "spool.db", store or "build")


def user_place(store: str | None = None) -> Place:
    """`lepton` in the user's data folder (XDG base directory specification)."""
    base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "lepton"
    return Place(base / "spool.db", store or str(base))


class Upload:
    """Spool and uploader for the time of one command.

        with Upload(place) as upload:
            log = upload.log(model=..., ...)
            log.add(outputs, cycles=...)
        print(upload.summary)
    """

    def __init__(self, place: Place):
        self.place = place
        self.summary = ""
        self.complete = False

    def __enter__(self) -> "Upload":
        from ..cloud import Spool, Store, Uploader
        with ExitStack() as stack:
            self._spool = stack.enter_context(Spool(self.place.spool, max_bytes=RESULTS_CAP))
            self._uploader = stack.enter_context(Uploader(self._spool, Store(self.place.store)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc) -> None:
        self._stack.close()

    def log(self, **hashes):
        """A `ResultLog` of this spool."""
        from ..cloud import ResultLog
        return ResultLog(self._spool, **hashes)

    def finish(self, log) -> None:
        """Make the log durable, wait for the store, and say in `summary` where the results are."""
        log.flush()
        self.complete = self._uploader.flush(FLUSH_SECONDS)
        count = self._spool.last_number(log.run) + 1
        if self.complete:
            where = self.place.store.rstrip("/")
            self.summary = f"{count} results of run {log.run} in {where}/results/{self._spool.device}/"
        else:
            why = self._uploader.status.last_error or "the store is slow"
            self.summary = (f"{self._spool.left_until(self._spool.last_record())} results wait in {self.place.spool} "
                            f"({why}); they leave with the next run")
        if log.lost:
            self.complete = False
            self.summary += f"; the spool was full and did not take {log.lost}"
