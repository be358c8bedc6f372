"""`lepton cloud status`: what became of the results."""

from argparse import Namespace
from pathlib import Path

from . import service
from .console import columns, facts, grouped, make_console
from .upload import project_place, user_place


def run(arguments: Namespace) -> int:
    return service.run(arguments) if arguments.action in service.ACTIONS else _status(arguments)


def _status(arguments: Namespace) -> int:
    from ..cloud import CloudError, Spool
    console = make_console()
    if arguments.spool:
        paths = [Path(arguments.spool)]
    else:
        paths = [p for p in (project_place().spool, user_place().spool) if p.exists()]
    if not paths:
        raise CloudError(f"no spool was found, neither {project_place().spool} nor {user_place().spool}; "
                         "results appear after `lepton sim` or `lepton run --upload`, or give --spool")
    for path in paths:
        if not path.exists():  # opening would make one
            raise CloudError(f"{path}: there is no such spool")
        with Spool(path) as spool:
            status = spool.status()
        console.print(facts([
            ("spool", f"{status.path}, {grouped(status.file_bytes)} bytes"),
            ("device", status.device),
            ("store", status.upload.get("store", "none yet")),
            ("last error", status.upload.get("error") or "none"),
        ]))
        table = columns("records", "count")
        for name, value in (
                ("waiting", status.waiting), ("in segments on their way", status.sealed),
                ("stored", status.counters["stored"]), ("rejected, spool full", status.counters["rejected"]),
                ("dropped, spool full", status.counters["dropped"]),
                ("offered twice, taken once", status.counters["duplicate"])):
            table.add_row(name, grouped(value))
        console.print(table)
    return 0
