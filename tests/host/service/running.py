"""The service as a real process, and clients with real certificates."""

import os
import selectors
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
from lepton.results.credentials import Credentials
from lepton.results.keys import DeviceKeys
from lepton.service.database import IndexDatabase
from lepton.service.enrolment import Enrolment
from lepton.service.identity import Identity
from lepton.service.options import Home

from tests.host.service.senders import Spool

START_SECONDS = 60
SERVE = """
from dataclasses import fields
from lepton.cli import main
from lepton.service.limits import Limits, Rate
given = {{**dict(mistakes=Rate(100, 1000), reader_rate=Rate(1000, 9999), tenant_reader_rate=Rate(1000, 9999)),
         **dict({limits})}}
Limits.__init__.__defaults__ = tuple(
    given.get(field.name, default) for field, default in zip(fields(Limits), Limits.__init__.__defaults__))
raise SystemExit(main())
"""


class Service:
    """`lepton cloud serve` with its home in `folder`, on any free port. Survives `kill` and `start`.

    `limits` are arguments of `Limits` in place of its defaults. By default clients may make many mistakes, since all
    tests have one address, and may ask as often as they like. `options` are further arguments of the command, `errors`
    is a file for what it logs, and `authority` has signed its certificate, if it is not its own.
    """

    def __init__(self, folder: Path, database: str | None = None, limits: str = "", store: str | None = None,
                 environment: dict[str, str] | None = None, options: tuple[str, ...] = (), errors=None,
                 authority: Path | None = None):
        self.folder = folder
        self._errors = errors
        self._authority = authority
        self._limits = limits
        self._environment = {**os.environ, **(environment or {})}
        self._options = [part for option, value in (("--database", database), ("--store", store)) if value
                         for part in (option, value)] + list(options)
        self.home = Home(folder / "home", database)
        self.process: subprocess.Popen | None = None
        self.url = ""

    def __enter__(self) -> "Service":
        self.start()
        return self

    def __exit__(self, *exc) -> None:
        self.stop()

    @property
    def authority(self) -> Path:
        return self._authority or self.home.folder / "authority" / "authority.pem"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def start(self) -> None:
        listen = f"127.0.0.1:{self.port if self.url else 0}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE.format(limits=self._limits), "cloud", "serve",
             "--home", str(self.home.folder), "--listen", listen, *self._options],
            stdout=subprocess.PIPE, stderr=self._errors, text=True, env=self._environment)
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(START_SECONDS), "the service does not start"
        line = self.process.stdout.readline()
        assert line.startswith(("listening on https://", "listening on http://")), f"the service said {line!r}"
        self.url = line.split()[2].rstrip(",")

    def kill(self) -> None:
        assert self.process.poll() is None, "the service ended by itself"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(START_SECONDS)
        self.process.stdout.close()
        return self.process.returncode

    def invite(self, identity: Identity, **options) -> str:
        database = self.home.open_database()
        try:
            return Enrolment(database, self.home.open_authority()).invite(identity, **options)
        finally:
            database.close()

    def revoke(self, identity: Identity) -> None:
        database = self.home.open_database()
        Enrolment(database, self.home.open_authority()).revoke(identity)
        database.close()

    def open_database(self) -> IndexDatabase:
        return self.home.open_database()

    def enrol(self, role: str, tenant: str, name: str) -> "Client":
        identity = Identity(role, tenant, name)
        keys = DeviceKeys.generate()
        credentials = Credentials(self.folder / "clients" / role / tenant / name)
        credentials.enrol(self.url, self.invite(identity), self.authority, keys)
        return Client(self, identity, keys, credentials)

    def context(self, client: Path | None = None) -> ssl.SSLContext:
        """TLS of a client that trusts the service and shows the certificate in the file `client`."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if client:
            context.load_cert_chain(client)
        return context

    def http(self, client: Path | None = None) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.context(client), timeout=30, trust_env=False)


class Client(httpx.Client):
    """A device or reader with its certificate."""

    def __init__(self, service: Service, identity: Identity, keys: DeviceKeys, credentials: Credentials):
        super().__init__(base_url=service.url, verify=service.context(credentials.client), timeout=30, trust_env=False)
        self.service = service
        self.identity = identity
        self.keys = keys
        self.credentials = credentials

    def spool(self, first: int = 0) -> Spool:
        return Spool(self.identity.name, self.keys, first, self.identity.tenant)

    def upload(self, segment, **headers) -> httpx.Response:
        return self.put(f"/v1/{segment.key}", content=segment.data, headers=headers)


def members(answer: httpx.Response) -> tuple[int, str]:
    """Status and reason of a refusal, once its form is checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    return answer.status_code, problem["reason"]
