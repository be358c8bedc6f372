"""`lepton cloud`: the state of results, stores and devices."""

import json
import time
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..upload import project_place, spool_key, user_place
from . import service
from .console import columns, facts, grouped, make_console, shortened
from .results import credentials_of, default_store

if TYPE_CHECKING:
    from rich.console import Console, Group

    from ..results.verify_report import VerifyReport

REFRESH_SECONDS = 0.5  # of --watch
SHOWN = 20  # notes and errors of a spool
_LOST = ("rejected", "dropped", "damaged")


def run(arguments: Namespace) -> int:
    if arguments.action in service.ACTIONS:
        return service.run(arguments)
    actions = {"status": _status, "verify": _verify, "up": _up, "down": _down, "salvage": _salvage,
               "accept": _accept, "drain": _drain}
    return actions[arguments.action](arguments)


def _spools(given: str | None) -> list[Path]:
    """The given spool, or those in the default places. Raises `CloudError` if there is none."""
    from ..results import CloudError
    mine = user_place().spool
    paths = [Path(given)] if given else [
        p for p in (project_place().spool, mine, *sorted(mine.parent.glob("service-*.db"))) if p.exists()]
    if not paths:
        raise CloudError(f"there is no spool at {project_place().spool} or {mine}; "
                         "`lepton sim` and `lepton run --upload` make one; give another place with --spool")
    for path in paths:
        if not path.is_file():  # opening it would create one
            raise CloudError(f"{path}: there is no such spool")
        if not path.stat().st_size:
            raise CloudError(f"{path} is empty, and not a spool")
    return paths


def _accept(arguments: Namespace) -> int:
    from ..results import CloudError, Spool, Store
    place = Store(arguments.store).place
    if arguments.home:
        return service.accept_store(arguments, place)
    known: list[str] = []
    for path in (paths := _spools(arguments.spool)):
        with Spool(path, key=spool_key()) as spool:
            if spool.forget_target(place):
                make_console().print(f"the next upload from {path} accepts the store at {place}", soft_wrap=True)
                return 0
            known += spool.targets()
    raise CloudError(f"the spool {', '.join(map(str, paths))} has not used the store {place}; it has used: "
                     f"{', '.join(known) or 'none yet'}")


def _drain(arguments: Namespace) -> int:
    from ..results import CloudError, DeviceKeys, Spool, Uploader
    from ..upload import open_upload_target
    from .status import EXIT_DIFFERENT
    path, *others = _spools(arguments.spool)
    if others:
        raise CloudError(f"there are several spools ({path}, {', '.join(map(str, others))}); give one with --spool")
    with Spool(path, key=spool_key()) as spool:
        where = arguments.target or spool.status().upload.get("store")
        if not where:
            raise CloudError(f"{path} has not been uploaded to any store yet; give one")
        keys = DeviceKeys.load_or_create(arguments.keys or user_place().keys)
        with Uploader(spool, open_upload_target(where), keys) as uploader:
            done = uploader.flush(arguments.timeout)
            state = uploader.status
        left = spool.left_until(spool.last_record())
    sent = f"{grouped(state.records)} results sent to {where}"
    make_console().print(f"{sent}; {grouped(left)} wait in {path}: {state.last_error or 'the store is slow'}"
                         if left or not done else sent, soft_wrap=True)
    return EXIT_DIFFERENT if left or not done else 0


def _status(arguments: Namespace) -> int:
    console = make_console()
    paths = _spools(arguments.spool)
    if arguments.metrics:
        print(_metrics(paths), end="")
        return 0
    if arguments.watch:
        _watch(console, paths)
        return 0
    for path in paths:
        console.print(_shown(path))
    return 0


def _metrics(paths: list[Path]) -> str:
    from ..results import SpoolView
    from ..results.spool_metrics import SpoolReading, text
    states = []
    for path in paths:
        spool = SpoolView(path, key=spool_key())
        oldest = spool.oldest_waiting()
        states.append(SpoolReading(spool.status(), 0.0 if oldest is None else max(0.0, time.time() - oldest)))
    return text(states)


def _watch(console: "Console", paths: list[Path]) -> None:
    from rich.console import Group
    from rich.live import Live
    before: dict[Path, tuple[float, int]] = {}
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(Group(*(_shown(path, before) for path in paths)), refresh=True)
            time.sleep(REFRESH_SECONDS)


def _shown(path: Path, before: dict[Path, tuple[float, int]] | None = None) -> "Group":
    """A spool's state; `before` has the time and the number of stored records of the last call, for the rate."""
    from rich.console import Group

    from ..results import SpoolView
    status = SpoolView(path, key=spool_key()).status()
    counters = status.counters
    lines = [("spool", f"{status.path}, {grouped(status.file_bytes)} bytes"), ("device", status.device),
             ("store", status.upload.get("store", "none yet")), ("last error", status.upload.get("error") or "none")]
    if before is not None:
        now = time.monotonic()
        then, stored = before.get(path, (now, counters["stored"]))
        before[path] = (now, counters["stored"])
        rate = (counters["stored"] - stored) / (now - then) if now > then else 0.0
        lines.append(("rate", f"{rate:,.0f} records a second".replace(",", " ")))
    table = columns("records", "count")
    for name, value in (
            ("waiting", status.waiting), ("in segments, not stored yet", status.sealed), ("stored", counters["stored"]),
            ("refused by the target", status.refused), ("rejected, spool full", counters["rejected"]),
            ("dropped, spool full", counters["dropped"]), ("damaged in the spool", counters["damaged"]),
            ("duplicates, ignored", counters["duplicate"])):
        table.add_row(name, grouped(value))
    return Group(facts(lines), table)


def _verify(arguments: Namespace) -> int:
    from ..results.keyring_files import load_keyring
    from ..results.reading import open_source
    from ..results.verify import verify
    from .status import EXIT_DIFFERENT
    where = arguments.store or default_store()
    source = open_source(where, **credentials_of(arguments))
    keyring = load_keyring(arguments.keys)
    known = Path(arguments.known) if arguments.known else None
    report = verify(source, keyring, device=arguments.device, run=arguments.run,
                    known=_read_known(known))
    _check_keys_fit(where, arguments.keys, report)
    if known is not None and report.good:
        _remember(known, report)
    if arguments.json:
        print(json.dumps({"store": where, "good": report.good, "records": report.records, "errors": report.errors,
                          "spools": [{**asdict(spool), "signers": sorted(spool.signers)} for spool in report.spools],
                          "unchecked": [{"device": device, "signer": signer, "segments": count}
                                        for (device, signer), count in sorted(report.unchecked.items())]}, indent=1))
    else:
        _show_report(where, report)
    return 0 if report.good else EXIT_DIFFERENT


def _show_report(where: str, report: "VerifyReport") -> None:
    console = make_console()
    for spool in report.spools:
        signers = ", ".join(signer[:16] for signer in sorted(spool.signers)) or "no key"
        console.print(facts([
            ("device", f"{spool.device}, spool {spool.spool[:8]}, signed by {signers}"),
            ("stored", f"{grouped(spool.records)} records of {spool.runs} runs in {grouped(spool.segments)} segments"),
            ("lost", ", ".join(f"{spool.counters.get(name, 0)} {name}" for name in _LOST)),
            *(("note", text) for text in spool.notes[:SHOWN]), *(("ERROR", text) for text in spool.errors[:SHOWN])]))
    for text in report.errors[:SHOWN]:
        console.print(f"ERROR {text}", style="red")
    errors = len(report.errors) + sum(len(spool.errors) for spool in report.spools)
    if errors > SHOWN:
        console.print(f"{errors} errors in all")
    for (device, signer), count in sorted(report.unchecked.items()):
        console.print(f"NOT CHECKED: {count} segments of device {device}, signed by {signer[:16]}; give that device's "
                      "public key or an authority's certificate with a further --keys, or check one device with "
                      "--device", style="yellow")
    found = ("ERRORS FOUND" if errors else "right, but others could not be checked" if report.unchecked else
             "every signature, digest, sequence and count is right")
    console.print(f"{grouped(report.records)} records in {shortened(where, 60)}: {found}",
                  style="bold green" if report.good else "bold red")


def _read_known(path: Path | None) -> dict[str, int]:
    """What an earlier check has found, by spool; empty if there was none."""
    from ..results import CloudError
    if path is None or not path.exists():
        return {}
    try:
        known = json.loads(path.read_text())
        if not all(place.count("/") == 2 and isinstance(last, int) for place, last in known.items()):
            raise ValueError("it has other entries than spools")
    except (ValueError, AttributeError) as error:
        raise CloudError(f"{path} is not what an earlier check has written: {error}") from error
    return known


def _remember(path: Path, report: "VerifyReport") -> None:
    """Remember the report's heads in `path`, and those of other spools that are there."""
    from ..results import durable
    known = {**_read_known(path), **report.known()}
    durable.replace(path, json.dumps(known, indent=1, sort_keys=True).encode() + b"\n")


def _check_keys_fit(where: str, given: list[str], report: "VerifyReport") -> None:
    """Raise `KeyFileError` if the keys fit no segment: then nothing about the store is known."""
    from ..results import KeyFileError
    if report.unchecked and not report.spools:
        signers = ", ".join(f"{signer[:16]} (device {device})" for device, signer in sorted(report.unchecked)[:4])
        raise KeyFileError(f"the keys in {', '.join(given) or user_place().keys} do not belong to {where}, whose "
                           f"segments are signed by {signers}; give the public key of that device, or the certificate "
                           "of its authority, with --keys PATH")


def _up(arguments: Namespace) -> int:
    from ..results import server
    from .console import working
    console = make_console()
    with working(console, "starting SeaweedFS"):
        found = server.up(arguments.folder)
    lines = [("server", f"{found.endpoint}, process {found.pid}"), ("store", found.url),
             ("folder", f"{found.folder} (credentials in server.json)")]
    if arguments.folder is None:
        lines.append(("use", f"lepton run ... --upload {found.url}"))
    else:
        lines.append(("use", "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from server.json"))
    console.print(facts(lines))
    return 0


def _down(arguments: Namespace) -> int:
    from ..results import server
    from .console import working
    console = make_console()
    with working(console, "stopping SeaweedFS"):
        stopped = server.down(arguments.folder)
    console.print("the server is stopped; its data are kept" if stopped else "the server was not running")
    return 0


def _salvage(arguments: Namespace) -> int:
    from ..results.salvage import salvage
    found = salvage(Path(arguments.spool), key=spool_key(), device=arguments.device)
    make_console().print(facts([
        ("recovered", f"{grouped(found.records)} records, {grouped(found.segments)} segments"),
        ("lost", f"{grouped(found.lost)} records, counted as damaged"),
        ("kept", f"the damaged files, as {found.kept}")]))
    return 0
