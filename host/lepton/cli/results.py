"""`lepton results`: reads stored results, and manages the keys for that."""

import json
from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..upload import project_place, user_place
from .console import columns, facts, grouped, make_console

if TYPE_CHECKING:
    import pyarrow as pa

    from ..results import Results

CELL = 60  # characters of a value that is shown


def run(arguments: Namespace) -> int:
    actions = {"list": _list, "show": _show, "query": _query, "export": _export, "grant": _grant,
               "keys": _keys}
    return actions[arguments.action](arguments)


def default_store() -> str:
    """The project's store if it has results, otherwise the user's."""
    place = project_place() if (Path(project_place().target) / "results").exists() else user_place()
    return place.target


def _open(arguments: Namespace) -> "Results":
    from ..results.reading import open_results
    return open_results(arguments.store or default_store(), keys=arguments.keys, device=arguments.device,
                        run=arguments.run, since=arguments.since, until=arguments.until, **credentials_of(arguments))


def credentials_of(arguments: Namespace) -> dict[str, str]:
    """The option `--credentials`, if it is given for a service."""
    service = (arguments.store or "").startswith("https://")
    return {"credentials": arguments.credentials} if arguments.credentials and service else {}


def _list(arguments: Namespace) -> int:
    from ..results import ResultsError
    found = _open(arguments).runs()
    if not found:
        raise ResultsError(f"there are no results in {arguments.store or default_store()}")
    if arguments.json:
        print(json.dumps([{**asdict(summary), "signers": sorted(summary.signers)} for summary in found], indent=1))
        return 0
    table = columns("run", "device", "model", "on", "from", "until", "results", "bytes", left=6)
    for summary in found:
        table.add_row(summary.run, summary.device, summary.model, summary.backend, _time(summary.from_ms),
                      _time(summary.to_ms), grouped(summary.records), grouped(summary.bytes))
    make_console().print(table)
    return 0


def _show(arguments: Namespace) -> int:
    from ..results.tables import flat
    table = _open(arguments).table()
    _print(flat(table.slice(0, max(0, arguments.limit))))
    if table.num_rows > arguments.limit:
        make_console().print(f"{grouped(arguments.limit)} of {grouped(table.num_rows)} results; --limit shows more, "
                             "`lepton results export` writes all")
    return 0


def _query(arguments: Namespace) -> int:
    from ..results.tables import export, flat
    answer = _open(arguments).query(arguments.sql)
    if arguments.output:
        export(answer, arguments.output)
        make_console().print(f"{grouped(answer.num_rows)} rows in {arguments.output}")
    else:
        _print(flat(answer))
    return 0


def _export(arguments: Namespace) -> int:
    count = _open(arguments).export(arguments.output)
    make_console().print(f"{grouped(count)} results in {arguments.output}")
    return 0


def _grant(arguments: Namespace) -> int:
    from ..results import durable, pem
    content, count = _open(arguments).grant(pem.read_recipient(arguments.to))
    durable.replace(Path(arguments.output), content)
    make_console().print(f"{grouped(count)} segments can be read with the private key of {arguments.to} and "
                         f"--keys {arguments.output}", soft_wrap=True)
    return 0


def _print(table: "pa.Table") -> None:
    """A table; one with many columns row by row, as lines of name and value. Columns without values are left out."""
    from ..results.tables import without_empty
    console = make_console()
    table = without_empty(table)
    rows = table.to_pylist()
    if table.num_columns > 6 or not rows:
        for row in rows:
            console.print(facts([(name, _cell(value)) for name, value in row.items() if value is not None]))
            console.print()
        return
    shown = columns(*table.column_names, left=table.num_columns)
    for row in rows:
        shown.add_row(*(_cell(value) for value in row.values()))
    console.print(shown)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CELL else f"{text[:CELL - 3]}..."


def _time(ms: int) -> str:
    return datetime.fromtimestamp(min(ms, 253402214400000) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _keys(arguments: Namespace) -> int:
    from ..results import DeviceKeys, durable, keys, pem
    from ..results.keyring import recipient_id
    console = make_console()
    folder = Path(arguments.folder) if arguments.folder else user_place().keys
    if arguments.make_reader:
        key = pem.make_reader(arguments.make_reader)
        public = Path(arguments.make_reader).with_suffix(".pub.pem")
        console.print(facts([("identity", recipient_id(key)), ("private key", f"{arguments.make_reader}; keep it "
                             "and a copy of it safe: without it the results cannot be read"),
                             ("public key", f"{public}; for `lepton results keys --add-recipient` on each device")]))
        return 0
    if arguments.add_recipient:
        keys.add_recipient(folder, pem.read_recipient(arguments.add_recipient))
        DeviceKeys.load_or_create(folder)  # now: a new device with a recipient needs no key of its own to read with
    elif arguments.remove_recipient:
        keys.remove_recipient(folder, arguments.remove_recipient)
    elif arguments.rotate_signing and arguments.service:
        from ..results.credentials import Credentials
        Credentials(folder).rotate_signing(arguments.service)
    elif arguments.rotate_signing:
        keys.rotate_signing(folder)
    found = DeviceKeys.load(folder)
    if arguments.signers:
        signers = sorted(found.keyring().signers)
        durable.replace(Path(arguments.signers), b"".join(map(pem.signer_pem, signers)), mode=0o644)
    own = found.keyring().readers
    console.print(facts([
        ("folder", str(folder)), ("signs with", found.public_hex),
        *(("signed before with", signer) for signer in sorted(found.earlier - {found.public_hex})),
        *(("can read", f"{identity}{' (the key is here)' if identity in own else ''}")
          for identity in map(recipient_id, found.recipients))]))
    return 0
