"""The ingest service as a target: each segment is one PUT over mutual TLS 1.3 (docs/cloud-service.md)."""

import time
from email.utils import parsedate_to_datetime

import httpx

from . import segment as segments
from .credentials import Credentials
from .errors import CredentialsError, TargetRefused, Unavailable

# What no repetition mends: malformed, conflict or order, no length, too large, not what it says it is.
_PERMANENT = {400, 409, 411, 413, 422}
CHECK_SECONDS = 600.0  # between looks at the certificate's age


class IngestTarget:
    """The service at `where` (`https://host:port`), reached with a device's certificate.

    The certificate is rotated in time, and taken anew from its file where another process has done so. Raises
    `CredentialsError` if there is none.
    """

    def __init__(self, where: str, *, credentials: Credentials, timeout: float = 30.0):
        self.where = where.rstrip("/")
        self._credentials, self._timeout = credentials, timeout
        self._client = self._connect()

    @property
    def place(self) -> str:
        return self.where

    def identify(self, expected: str | None = None) -> str:
        """See `Target`. TLS shows that it is the service, and its answers show how far it has come."""
        return ""

    def close(self) -> None:
        self._client.close()

    def _connect(self) -> httpx.Client:
        self._version, self._next_check = self._credentials.version(), time.monotonic() + CHECK_SECONDS
        return httpx.Client(base_url=self.where, verify=self._credentials.context(), timeout=self._timeout,
                            trust_env=False)

    def _renew(self) -> None:
        """Whatever goes wrong with it, the present certificate serves until it expires."""
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + CHECK_SECONDS
        try:
            if self._credentials.due():
                self._credentials.rotate(self.where)
            if self._credentials.version() != self._version:
                self._client.close()
                self._client = self._connect()
        except CredentialsError:
            return

    def put_new(self, key: str, data: bytes) -> bool:
        """See `Target`. Segments of a spool must be offered oldest first.

        Where the service waits for an earlier one, there is none any more: it is told so, and counts the gap.
        """
        self._renew()
        answer = self._put(key, data)
        expected = _problem(answer).get("expected")
        if answer.status_code == 409 and type(expected) is int and 0 <= expected < segments.split_key(key)[1]:
            answer = self._put(key, data, {"Lepton-Lost-From": str(expected)})
        if answer.status_code in (200, 201):
            return answer.status_code == 201
        text = f"{self.where} answered {answer.status_code}: {_reason(answer)}"
        if answer.status_code in _PERMANENT:
            raise TargetRefused(text)
        raise Unavailable(text, retry_after(answer.headers))

    def _put(self, key: str, data: bytes, more: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._client.put(f"/v1/{key}", content=data,
                                    headers={"Content-Type": "application/octet-stream", **(more or {})})
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.where} does not answer: {error or type(error).__name__}") from error


def retry_after(headers) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3): a number, or a date less the answer's own date."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:  # the server's two dates are compared, so that our own clock may be wrong
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def _problem(answer: httpx.Response) -> dict:
    """The members of a refusal (RFC 9457), if it is one."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(answer: httpx.Response) -> str:
    problem = _problem(answer)
    said = [str(problem[name])[:300] for name in ("reason", "detail") if problem.get(name)]
    return ", ".join(said) or answer.reason_phrase or "no reason given"
