"""Spool and store of commands and of the toolkit, and the upload of results."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .program import CompiledModel
    from .results import ResultLog, Target

FLUSH_SECONDS = 30.0  # a command waits this long for its results to arrive; the next command sends the rest
RESULTS_CAP = 256 << 20  # bytes of the spool's files, as `Spool`'s default
KEY_VARIABLE = "LEPTON_SPOOL_KEY"


@dataclass(frozen=True)
class UploadPlace:
    """A spool file, the target of its records (in a store, objects are under results/), and the device's keys."""

    spool: Path
    target: str
    keys: Path
    device: str | None = None  # its name in the ingest service


def project_place(target: str | None = None) -> UploadPlace:
    """The folder `build` of the working directory, with the user's keys."""
    if target and target.startswith("https://"):
        return _service_place(target)
    return UploadPlace(Path("build") / "spool.db", target or "build", _user_folder() / "keys")


def user_place(target: str | None = None) -> UploadPlace:
    """`lepton` in the user's data folder (XDG base directory specification)."""
    if target and target.startswith("https://"):
        return _service_place(target)
    base = _user_folder()
    return UploadPlace(base / "spool.db", target or str(base), base / "keys")


def spool_key() -> bytes | None:
    """The key of encrypted spools: 64 hexadecimal digits in the file named by $LEPTON_SPOOL_KEY."""
    from .results import SpoolError
    path = os.environ.get(KEY_VARIABLE)
    if not path:
        return None
    try:
        return bytes.fromhex(Path(path).read_text().strip())
    except (OSError, ValueError) as error:
        raise SpoolError(f"{KEY_VARIABLE} must name a file with 64 hexadecimal digits, not {path!r}: "
                         f"{error}") from error


def _user_folder() -> Path:
    from .results.keyring_files import user_folder
    return user_folder()


def _service_place(target: str) -> UploadPlace:
    """For the ingest service: the enrolled device's keys and name, and a spool of its own."""
    from .results.credentials import Credentials
    base = _user_folder()
    name = Credentials(base / "keys").name()
    return UploadPlace(base / f"service-{name}.db", target, base / "keys", name)


class Upload:
    """Spool and uploader of one command.

        with Upload(place) as upload:
            log = upload.log(model=..., ...)
            log.add(outputs, cycles=...)
        print(upload.summary)
    """

    def __init__(self, place: UploadPlace):
        self.place = place
        self.summary = ""
        self.complete = False
        self.failed = False  # whether nothing was sent

    def __enter__(self) -> "Upload":
        from .results import DeviceKeys, Spool, Uploader
        with ExitStack() as stack:
            self._spool = stack.enter_context(Spool(self.place.spool, device=self.place.device, max_bytes=RESULTS_CAP,
                                                    key=spool_key()))
            keys = DeviceKeys.load_or_create(self.place.keys)
            self._uploader = stack.enter_context(Uploader(self._spool, self._target(), keys))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc) -> None:
        self._stack.close()

    def log(self, model: "CompiledModel", device: str, keep: str) -> "ResultLog":
        """A `ResultLog` of this spool for a model on a device; `keep`: what is kept of the outputs."""
        from .results import ResultLog, Scale
        from .runtime import program_hash
        return ResultLog(self._spool, model=model.name, model_hash=model.source_hash,
                         program_hash=program_hash(model), config_hash=model.config_hash, device=device, keep=keep,
                         scales={output.name: Scale(output.scale, output.zero_point) for output in model.outputs})

    def finish(self, log: "ResultLog") -> None:
        """Make the log durable, wait for the target, and set `complete` and `summary`."""
        log.close()
        arrived = self._uploader.flush(FLUSH_SECONDS)
        count = self._spool.last_number(log.run) + 1
        refused = self._uploader.status.refused
        self.complete = arrived and not refused and not log.lost
        self.failed = count > 0 and not self.complete and self._uploader.status.records == 0
        if not arrived:
            why = self._uploader.status.last_error or "the store is slow"
            self.summary = (f"{self._spool.left_until(self._spool.last_record())} results wait in {self.place.spool} "
                            f"({why}); the next run uploads them")
        elif refused:
            self.summary = (f"the target refused {refused} segments, which stay in the spool: "
                            f"{self._uploader.status.last_error}")
        else:
            where = self.place.target.rstrip("/")
            self.summary = f"{count} results of run {log.run} in {where}, device {self._spool.device}"
        if log.lost:
            self.summary += f"; {log.lost} results were lost, as the spool was full"

    def _target(self) -> "Target":
        return open_upload_target(self.place.target)


def open_upload_target(where: str) -> "Target":
    """The target of a URL; for the ingest service with the certificate in the user's data folder."""
    from .results import open_target
    if not where.startswith("https://"):
        return open_target(where)
    from .results.credentials import Credentials
    return open_target(where, credentials=Credentials(_user_folder() / "keys"))
