"""`lepton cloud serve`, `invite`, `revoke`: the ingest service. `enroll`, `rotate`: a device's side of it.

`main` imports this file for its arguments: what an extra installs is imported where it is used.
"""

import contextlib
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from .upload import user_place

ACTIONS = ("serve", "invite", "revoke", "enroll", "rotate")


def add_actions(actions) -> None:
    """The actions of `lepton cloud` that this file runs."""
    serve = actions.add_parser("serve", help="take segments from devices over mutual TLS, and answer who sent what")
    _add_home(serve)
    serve.add_argument("--listen", type=_address, default=("127.0.0.1", 8443), metavar="HOST:PORT",
                       help="default: 127.0.0.1:8443; 0.0.0.0:8443 for devices elsewhere; port 0 for any free one")
    serve.add_argument("--name", type=_host, action="append", default=[], metavar="NAME",
                       help="host name or IP address by which devices reach it (also: again for further ones)")
    serve.add_argument("--store", metavar="PATH", help="folder or URL (s3://...) for segments (default: in --home)")
    serve.add_argument("--days", type=_days, default=90.0, metavar="N",
                       help="life of the certificates that it issues (default: %(default)g)")

    invite = actions.add_parser("invite", help="make a one-time code with which a device or reader enrols")
    _add_home(invite)
    _add_identity(invite)
    invite.add_argument("--hours", type=float, default=24.0, metavar="N", help="valid for (default: %(default)g)")

    revoke = actions.add_parser("revoke", help="end the certificates, keys and codes of a device or reader")
    _add_home(revoke)
    _add_identity(revoke)

    enroll = actions.add_parser("enroll", help="get a certificate for this device with a code of `cloud invite`")
    enroll.add_argument("service", metavar="URL", help="of the service, like https://ingest.example:8443")
    enroll.add_argument("--code", required=True)
    enroll.add_argument("--authority", required=True, metavar="FILE", help="authority.pem of the service")
    _add_keys(enroll)

    rotate = actions.add_parser("rotate", help="exchange this device's certificate for one with a new key")
    rotate.add_argument("service", metavar="URL")
    _add_keys(rotate)


def run(arguments: Namespace) -> int:
    return globals()[f"_{arguments.action}"](arguments)


def accept_store(arguments: Namespace, place: str) -> int:
    """`lepton cloud accept --home`: the service takes what it finds in its store."""
    from ..service.errors import ServiceError
    from ..service.ingest import Ingest
    home = _home(arguments)
    count = Ingest(home.open_database(), home.objects).accept_store(place)
    if not count:
        raise ServiceError(f"the service of {arguments.home} has not used the store {place}")
    print(f"the service takes what it finds at {place}, {count} tenant{'s' * (count != 1)}, when it is started next")
    return 0


def _serve(arguments: Namespace) -> int:
    from ..service.gate import Limits
    from ..service.server import Address, serve
    host, port = arguments.listen
    home = _home(arguments, arguments.store)

    def ready(port: int) -> None:
        print(f"listening on https://{host}:{port}, segments in {home.objects}", flush=True)

    with contextlib.suppress(KeyboardInterrupt):
        serve(home, Address(host, port, arguments.name), Limits(), days=arguments.days, ready=ready)
    return 0


def _invite(arguments: Namespace) -> int:
    from ..service.enrolment import Enrolment
    from .console import facts, make_console
    home = _home(arguments)
    identity = _identity(arguments)
    authority = home.open_authority()
    code = Enrolment(home.open_database(), authority).invite(identity, arguments.hours)
    make_console().print(facts([
        ("for", str(identity)),
        ("valid for", f"{arguments.hours:g} hours, once"),
        ("authority", str(authority.root_file)),
    ]))
    print(code)  # alone on its line, for scripts
    return 0


def _revoke(arguments: Namespace) -> int:
    from ..service.enrolment import Enrolment
    home, identity = _home(arguments), _identity(arguments)
    count = Enrolment(home.open_database(), home.open_authority()).revoke(identity)
    print(f"revoked: {identity}, {count} enrolment{'s' * (count != 1)}")
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


def _show(credentials, answer: dict) -> int:
    from .console import facts, make_console
    make_console().print(facts([
        (answer["role"], f"{answer['name']} of tenant {answer['tenant']}"),
        ("certificate", f"{credentials.client}, until {answer['expires']}"),
    ]))
    return 0


def _home(arguments: Namespace, store: str | None = None):
    from ..service.server import Home
    return Home(Path(arguments.home) if arguments.home else user_place().spool.parent / "service",
                arguments.database, store)


def _identity(arguments: Namespace):
    from ..service.identity import Identity
    return Identity("reader" if arguments.reader else "device", arguments.tenant, arguments.name)


def _credentials(arguments: Namespace):
    from ..results.credentials import Credentials
    return Credentials(Path(arguments.keys) if arguments.keys else user_place().spool.parent / "keys")


def _add_home(parser: ArgumentParser) -> None:
    parser.add_argument("--home", metavar="FOLDER", help="of the service (default: service/ in the user's data folder)")
    parser.add_argument("--database", metavar="WHERE", help="file or postgresql:// URL (default: $LEPTON_DATABASE, "
                        "or index.db in --home)")


def _add_identity(parser: ArgumentParser) -> None:
    parser.add_argument("tenant", metavar="TENANT")
    parser.add_argument("name", metavar="NAME", help="of the device, as its segments name it")
    parser.add_argument("--reader", action="store_true", help="for one who queries, not for a device")


def _add_keys(parser: ArgumentParser) -> None:
    parser.add_argument("--keys", metavar="FOLDER", help="of this device (default: keys/ in the user's data folder)")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ArgumentTypeError(f"must be HOST:PORT, not {text!r}")
    return host.strip("[]"), int(port)


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,253}", text):
        raise ArgumentTypeError(f"must be a host name or IP address, not {text!r}")
    return text


def _days(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3650:
        raise ArgumentTypeError(f"must be more than 0 and at most 3650 days, not {text}")
    return value
