"""`lepton cloud serve`, `invite`, `revoke`: the ingest service. `enroll`, `rotate`: certificates of a device.

`main` imports this file for its arguments, so packages of an extra are imported where they are used.
"""

import contextlib
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _SubParsersAction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..upload import user_place
from . import service_admin

if TYPE_CHECKING:
    from ..results.credentials import Credentials
    from ..service.enrolment import Enrolment
    from ..service.identity import Identity
    from ..service.options import Home

ACTIONS = ("serve", "invite", "revoke", "enroll", "rotate", *service_admin.ACTIONS)


def add_actions(actions: "_SubParsersAction[ArgumentParser]") -> None:
    """The actions of `lepton cloud` that this file runs."""
    serve = actions.add_parser("serve", help="run the ingest service, to which devices upload over mutual TLS")
    _add_home(serve)
    serve.add_argument("--listen", type=_address, default=("127.0.0.1", 8443), metavar="HOST:PORT",
                       help="default: 127.0.0.1:8443; use 0.0.0.0:8443 to accept devices on other machines; port 0 is "
                       "any free port")
    serve.add_argument("--name", type=_host, action="append", default=[], metavar="NAME",
                       help="host name or IP address by which devices reach the service; may be repeated")
    serve.add_argument("--store", metavar="PATH", help="folder or URL (s3://...) for segments (default: in --home)")
    serve.add_argument("--days", type=_days, default=90.0, metavar="N",
                       help="validity of the certificates that it issues (default: %(default)g)")
    serve.add_argument("--workers", type=_workers, default=1, metavar="N",
                       help="processes; use PostgreSQL with more than one (default: %(default)d)")
    serve.add_argument("--probe", type=_address, metavar="HOST:PORT",
                       help="serve /metrics, /healthz and /readyz here over plain HTTP; not for clients")
    serve.add_argument("--cert", metavar="FILE", help="certificate chain of the service in PEM, instead of one that it "
                       "issues itself")
    serve.add_argument("--key", metavar="FILE", help="the key of --cert, if it is in another file")
    serve.add_argument("--client-ca", metavar="FILE", help="accept also clients' certificates of this authority, with "
                       "urn:lepton:ROLE:TENANT:NAME as URI in the subject alternative name")
    serve.add_argument("--proxy", action="append", default=[], metavar="ADDRESS", type=_host,
                       help="address of a proxy that ends TLS and gives the client's certificate in the header "
                       "Client-Cert; only such addresses can connect, without TLS; may be repeated")
    serve.add_argument("--log-format", choices=["text", "json"], default="text", help="(default: %(default)s)")
    serve.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="warning",
                       help="info has a line for each request (default: %(default)s)")

    invite = actions.add_parser("invite", help="make a one-time code for the enrolment of a device or reader")
    _add_home(invite)
    _add_identity(invite)
    invite.add_argument("--file", metavar="FILE", help="make a code for each name in this file, one a line, in place "
                        "of NAME; prints name and code, separated by a tab")
    invite.add_argument("--hours", type=float, default=24.0, metavar="N",
                        help="validity of the code (default: %(default)g)")

    revoke = actions.add_parser("revoke", help="revoke the certificates, keys and codes of a device or reader")
    _add_home(revoke)
    _add_identity(revoke)

    enroll = actions.add_parser("enroll", help="get a certificate for this device with a code from `cloud invite`")
    enroll.add_argument("service", metavar="URL", help="the service's address, like https://ingest.example:8443")
    enroll.add_argument("--code", required=True, help="the code that `cloud invite` printed")
    enroll.add_argument("--authority", required=True, metavar="FILE", help="a copy of the service's authority.pem")
    _add_keys(enroll)

    rotate = actions.add_parser("rotate", help="replace this device's certificate by one for a new key")
    rotate.add_argument("service", metavar="URL", help="the service's address")
    _add_keys(rotate)
    service_admin.add_actions(actions, _add_home)


def run(arguments: Namespace) -> int:
    """Run one of `ACTIONS`."""
    if arguments.action in service_admin.ACTIONS:
        return service_admin.run(arguments, _home(arguments, arguments.store))
    actions = {"serve": _serve, "invite": _invite, "revoke": _revoke, "enroll": _enroll, "rotate": _rotate}
    return actions[arguments.action](arguments)


def accept_store(arguments: Namespace, place: str) -> int:
    """`lepton cloud accept --home`: the service accepts the store that is now at `place`."""
    from ..service.errors import ServiceError
    from ..service.ingest import Ingest
    home = _home(arguments)
    count = Ingest(home.open_database(make=False), home.objects).accept_store(place)
    if not count:
        raise ServiceError(f"the service of {arguments.home} has not used the store {place}")
    print(f"from its next start on, the service accepts the store at {place} ({count} tenant{'s' * (count != 1)})")
    return 0


def _serve(arguments: Namespace) -> int:
    from ..service.limits import Limits
    from ..service.options import Address, Certificates, Options
    from ..service.server import end_process, serve
    from ..service.workers import serve_with_workers
    host, port = arguments.listen
    home = _home(arguments, arguments.store)
    options = Options(
        Address(host, port, arguments.name), Limits(), arguments.days,
        Certificates(*(Path(path) if path else None for path in (arguments.cert, arguments.key, arguments.client_ca))),
        frozenset(arguments.proxy), arguments.probe, arguments.workers, arguments.log_format, arguments.log_level)
    scheme = "http" if options.proxies else "https"

    def ready(port: int) -> None:
        print(f"listening on {scheme}://{host}:{port}, segments in {home.objects}", flush=True)

    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        (serve_with_workers if options.workers > 1 else serve)(home, options, ready=ready)
    end_process(0)
    return 0


def _invite(arguments: Namespace) -> int:
    from ..service.enrolment import Enrolment
    from .console import facts, make_console
    home = _home(arguments)
    authority = home.open_authority()
    if arguments.file:
        return _invite_all(arguments, Enrolment(home.open_database(), authority))
    identity = _identity(arguments)
    code = Enrolment(home.open_database(), authority).invite(identity, arguments.hours)
    make_console().print(facts([
        ("for", str(identity)),
        ("valid for", f"{arguments.hours:g} hours, once"),
        ("authority", str(authority.root_file)),
    ]))
    print(code)  # on a line of its own, for scripts
    return 0


def _invite_all(arguments: Namespace, enrolment: "Enrolment") -> int:
    from ..service.errors import ServiceError
    from ..service.identity import Identity, Role
    try:
        names = [line.strip() for line in Path(arguments.file).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(f"cannot read the names in {arguments.file}: {error}") from error
    if arguments.name:
        raise ServiceError(f"give names in the file {arguments.file} or NAME, not both")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ServiceError(f"{arguments.file} has the name {repeated[0]} more than once")
    role: Role = "reader" if arguments.reader else "device"
    identities = [Identity(role, arguments.tenant, name) for name in names]
    for identity, code in zip(identities, enrolment.invite_all(identities, arguments.hours), strict=True):
        print(f"{identity.name}\t{code}")
    return 0


def _revoke(arguments: Namespace) -> int:
    from ..service.enrolment import Enrolment
    home = _home(arguments)
    identity = _identity(arguments)
    count = Enrolment(home.open_database(make=False), home.open_authority(make=False)).revoke(identity)
    print(f"revoked: {identity}, {count} code{'s' * (count != 1)} with all certificates issued for "
          f"{'it' if count == 1 else 'them'}")
    return 0


def _enroll(arguments: Namespace) -> int:
    from ..results.keys import DeviceKeys
    credentials = _credentials(arguments)
    answer = credentials.enrol(arguments.service, arguments.code, arguments.authority,
                               DeviceKeys.load_or_create(credentials.folder))
    return _show(credentials, answer)


def _rotate(arguments: Namespace) -> int:
    credentials = _credentials(arguments)
    return _show(credentials, credentials.rotate(arguments.service))


def _show(credentials: "Credentials", answer: dict[str, Any]) -> int:
    from .console import facts, make_console
    make_console().print(facts([
        (answer["role"], f"{answer['name']} of tenant {answer['tenant']}"),
        ("certificate", f"{credentials.client}, until {answer['expires']}"),
    ]))
    return 0


def _home(arguments: Namespace, store: str | None = None) -> "Home":
    from ..service.options import Home
    return Home(Path(arguments.home) if arguments.home else user_place().spool.parent / "service",
                arguments.database, store)


def _identity(arguments: Namespace) -> "Identity":
    from ..service.errors import ServiceError
    from ..service.identity import Identity
    if not arguments.name:
        raise ServiceError("give the NAME of a device or reader, or names with --file")
    return Identity("reader" if arguments.reader else "device", arguments.tenant, arguments.name)


def _credentials(arguments: Namespace) -> "Credentials":
    from ..results.credentials import Credentials
    return Credentials(Path(arguments.keys) if arguments.keys else user_place().spool.parent / "keys")


def _add_home(parser: ArgumentParser) -> None:
    parser.add_argument("--home", metavar="FOLDER",
                        help="the service's folder (default: service/ in the user's data folder)")
    parser.add_argument("--database", metavar="WHERE", help="file or postgresql:// URL (default: $LEPTON_DATABASE, "
                        "otherwise index.db in --home)")


def _add_identity(parser: ArgumentParser) -> None:
    parser.add_argument("tenant", metavar="TENANT", help="name of the tenant (customer), whose data are separate")
    parser.add_argument("name", metavar="NAME", nargs="?", help="name of the device or reader")
    parser.add_argument("--reader", action="store_true", help="for a person or program that queries, not for a device")


def _add_keys(parser: ArgumentParser) -> None:
    parser.add_argument("--keys", metavar="FOLDER",
                        help="folder of this device's keys (default: keys/ in the user's data folder)")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ArgumentTypeError(f"must be HOST:PORT, not {text!r}")
    return host.strip("[]"), int(port)


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,253}", text):
        raise ArgumentTypeError(f"must be a host name or IP address, not {text!r}")
    return text


def _workers(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise ArgumentTypeError(f"must be 1 to 64 processes, not {text!r}")
    return int(text)


def _days(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3650:
        raise ArgumentTypeError(f"must be more than 0 and at most 3650 days, not {text}")
    return value
