"""Actions of `lepton cloud` for the operator of the ingest service: lists, limits, deletion, checks, backup.

`main` imports this file for its arguments, so packages of an extra are imported where they are used.
"""

import json
import shutil
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _SubParsersAction
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..service.fleet import Fleet
    from ..service.options import Home
    from ..service.reindex import Reindexer

ACTIONS = ("list", "limit", "expire", "delete", "audit", "reindex", "scrub", "backup", "root")
_TIMES = frozenset({"expires", "issued", "enrolled", "last_received", "revoked", "time"})
_COLUMNS = {
    "tenants": ("tenant", "devices", "segments", "bytes", "max_bytes", "max_devices", "keep_days"),
    "devices": ("tenant", "role", "name", "enrolled", "expires", "last_received", "segments", "bytes"),
    "codes": ("tenant", "role", "name", "state", "expires", "digest"),
    "certificates": ("tenant", "role", "name", "state", "issued", "expires", "fingerprint"),
    "changes": ("id", "time", "actor", "action", "subject"),
}


def add_actions(actions: "_SubParsersAction[ArgumentParser]", add_home: Callable[[ArgumentParser], None]) -> None:
    """The actions that this file runs. `add_home` adds the arguments that name a service."""
    def add(name: str, text: str) -> ArgumentParser:
        parser = actions.add_parser(name, help=text)
        add_home(parser)
        parser.add_argument("--store", metavar="PATH", help="the service's store, as for `cloud serve`")
        return parser

    shown = add("list", "list a service's tenants, devices and readers, codes or certificates, with expiry")
    shown.add_argument("what", choices=["tenants", "devices", "codes", "certificates"])
    shown.add_argument("--tenant", metavar="NAME", help="only this tenant")
    shown.add_argument("--json", action="store_true", help="print JSON; times are seconds since 1970")
    limit = add("limit", "set the limits of a tenant; what is not given has no limit")
    limit.add_argument("tenant", metavar="TENANT")
    limit.add_argument("--max-bytes", type=_count, metavar="N", help="of stored segments; further ones are refused")
    limit.add_argument("--max-devices", type=_count, metavar="N", help="further ones cannot enrol")
    limit.add_argument("--keep-days", type=float, metavar="DAYS",
                       help="segments that arrived longer ago are deleted by `cloud expire`")
    expire = add("expire", "delete the segments that are older than their tenant keeps them; run it daily")
    expire.add_argument("tenant", nargs="?", metavar="TENANT", help="default: all tenants")
    remove = add("delete", "revoke everything of a tenant, and delete its results")
    remove.add_argument("tenant", metavar="TENANT")
    remove.add_argument("--yes", action="store_true", help="needed: what is deleted cannot be recovered")
    audit = add("audit", "show or check the log of everything that changed rights")
    audit.add_argument("what", choices=["list", "verify"])
    audit.add_argument("--limit", type=_count, default=100, metavar="N", help="newest entries (default: %(default)d)")
    audit.add_argument("--head", metavar="COUNT:DIGEST", help="verify: what an earlier `audit verify` has printed; "
                       "shows that no entry was removed since")
    audit.add_argument("--json", action="store_true", help="print JSON")
    reindex = add("reindex", "add the rows of stored segments that the database does not have")
    reindex.add_argument("tenant", nargs="*", metavar="TENANT", help="default: all tenants that the database knows")
    scrub = add("scrub", "compare the database with the stored segments; exit status 1 if they differ")
    scrub.add_argument("tenant", nargs="*", metavar="TENANT", help="default: all tenants that the database knows")
    scrub.add_argument("--content", action="store_true", help="read each segment and check its digest")
    scrub.add_argument("--json", action="store_true", help="print JSON")
    root = add("root", "rotate the root certificate that signs those of devices, readers and the server")
    root.add_argument("what", choices=["prepare", "finish"], help="prepare: make the next root, which devices learn "
                      "with their next certificate; finish: let it sign (restart the service afterwards)")
    root.add_argument("--force", action="store_true", help="finish, although some do not know the next root: they must "
                      "enrol again")
    backup = add("backup", "copy authority and SQLite database into a new folder, while the service runs")
    backup.add_argument("folder", metavar="FOLDER")


def run(arguments: Namespace, home: "Home") -> int:
    """Run one of `ACTIONS`."""
    actions = {"list": _list, "limit": _limit, "expire": _expire, "delete": _delete, "audit": _audit,
               "reindex": _reindex, "scrub": _scrub, "backup": _backup, "root": _root}
    return actions[arguments.action](arguments, home)


def _fleet(home: "Home") -> "Fleet":
    from ..service.fleet import Fleet
    return Fleet(home.open_database(make=False), home.objects)


def _list(arguments: Namespace, home: "Home") -> int:
    fleet = _fleet(home)
    if arguments.what == "tenants":
        rows = [row for row in fleet.tenants() if arguments.tenant in (None, row["tenant"])]
    else:
        rows = {"devices": fleet.devices, "codes": fleet.codes, "certificates": fleet.certificates}[arguments.what](
            arguments.tenant)
    _show(rows, arguments.what, arguments.json)
    return 0


def _limit(arguments: Namespace, home: "Home") -> int:
    from ..service.fleet import TenantLimits
    from ..service.identity import Identity
    Identity("device", arguments.tenant, "x")  # checks the name
    fleet = _fleet(home)
    fleet.limit(arguments.tenant, TenantLimits(arguments.max_bytes, arguments.max_devices, arguments.keep_days))
    _show([row for row in fleet.tenants() if row["tenant"] == arguments.tenant], "tenants", False)
    return 0


def _expire(arguments: Namespace, home: "Home") -> int:
    for tenant, count in _fleet(home).expire(home.open_authority(make=False), arguments.tenant).items():
        print(f"{tenant}: {count} segments deleted")
    return 0


def _delete(arguments: Namespace, home: "Home") -> int:
    from ..service.errors import ServiceError
    if not arguments.yes:
        raise ServiceError(f"all results of tenant {arguments.tenant} would be deleted; confirm with --yes")
    count = _fleet(home).delete_tenant(arguments.tenant)
    print(f"{arguments.tenant}: everything is revoked, {count} segments deleted")
    return 0


def _audit(arguments: Namespace, home: "Home") -> int:
    from ..service import changes
    from ..service.errors import ServiceError
    from .status import EXIT_DIFFERENT
    database = home.open_database(make=False)
    if arguments.what == "list":
        _show(changes.listed(database, arguments.limit), "changes", arguments.json)
        return 0
    head, errors = changes.verify(database)
    if arguments.head:
        count, _, digest = arguments.head.partition(":")
        if not count.isdigit() or not digest:
            raise ServiceError(f"--head must be COUNT:DIGEST, as `audit verify` prints it, not {arguments.head!r}")
        if not changes.includes(database, changes.ChangeHead(int(count), digest)):
            errors.append(f"entry {count} is not the one that was there before: entries were removed or replaced")
    if arguments.json:
        print(json.dumps({"head": str(head), "good": not errors, "errors": errors}))
    else:
        for error in errors:
            print(error)
        print(f"{head.count} entries, {'NOT as they were written' if errors else 'each as it was written'}; "
              f"head {head}")
    return EXIT_DIFFERENT if errors else 0


def _reindexer(home: "Home", *, make: bool) -> "Reindexer":
    """`make`: for a database that is lost, which is made from the objects."""
    from cryptography import x509

    from ..service.reindex import Reindexer
    roots = tuple(x509.load_pem_x509_certificates(home.open_authority(make=False).root_pem.encode()))
    return Reindexer(home.open_database(make=make), home.objects, roots)


def _tenants(arguments: Namespace, home: "Home") -> list[str]:
    return arguments.tenant or [str(row["tenant"]) for row in _fleet(home).tenants()]


def _reindex(arguments: Namespace, home: "Home") -> int:
    from .status import EXIT_DIFFERENT
    result = _reindexer(home, make=True).reindex(_tenants(arguments, home))
    for tenant, count in result.added.items():
        print(f"{tenant}: {count} segments added")
    for reason in result.refused:
        print(f"not added: {reason}")
    return EXIT_DIFFERENT if result.refused else 0


def _scrub(arguments: Namespace, home: "Home") -> int:
    from .status import EXIT_DIFFERENT
    result = _reindexer(home, make=False).scrub(_tenants(arguments, home), content=arguments.content)
    found = {"without object": result.without_object, "without row": result.without_row, "damaged": result.damaged}
    if arguments.json:
        print(json.dumps({"good": result.good, "segments": result.segments, **found}))
    else:
        for what, keys in found.items():
            for key in keys:
                print(f"{what}: {key}")
        print(f"{result.segments} segments; " + ", ".join(f"{len(keys)} {what}" for what, keys in found.items()))
    return 0 if result.good else EXIT_DIFFERENT


def _backup(arguments: Namespace, home: "Home") -> int:
    from ..service.errors import ServiceError
    folder = Path(arguments.folder)
    authority = home.open_authority(make=False)
    database = home.open_database(make=False)
    try:
        folder.mkdir(mode=0o700, parents=True)
        shutil.copytree(authority.folder, folder / "authority")
    except OSError as error:
        raise ServiceError(f"cannot copy to {folder}: {error.strerror}; give a folder that does not exist yet"
                           ) from error
    if database.is_file:
        database.backup(folder / "index.db")
        print(f"authority and database are copied to {folder}")
    else:
        print(f"the authority is copied to {folder}; copy the PostgreSQL database with pg_dump")
    return 0


def _root(arguments: Namespace, home: "Home") -> int:
    from cryptography.hazmat.primitives import hashes

    from ..service.root_rotation import RootRotation
    rotation = RootRotation(home.open_authority(make=False), home.open_database(make=False))
    if arguments.what == "prepare":
        root = rotation.prepare()
        left = rotation.without()
        print(f"next root {root.fingerprint(hashes.SHA256()).hex()}; {len(left)} devices and readers do not know it "
              "yet")
        for name in left:
            print(name)
    else:
        root = rotation.finish(force=arguments.force)
        print(f"root {root.fingerprint(hashes.SHA256()).hex()}; restart the service, and give readers the new "
              f"{home.folder / 'authority' / 'authority.pem'}")
    return 0


def _show(rows: list[dict[str, object]], what: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    from .console import columns, make_console
    names = _COLUMNS[what]
    console = make_console()
    if not console.is_terminal:  # whole values for programs and files
        for line in (names, *([_text(name, row[name]) for name in names] for row in rows)):
            print("\t".join(line))
        return
    table = columns(*names, left=len(names))
    for row in rows:
        table.add_row(*(_text(name, row[name]) for name in names))
    console.print(table)


def _text(name: str, value: object) -> str:
    if value is None:
        return "none"
    if name in _TIMES and isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
    return str(value)


def _count(text: str) -> int:
    if not text.isdigit():
        raise ArgumentTypeError(f"must be a number, not {text!r}")
    return int(text)
