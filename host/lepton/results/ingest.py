"""The ingest service as a target: one PUT over mutual TLS 1.3 for each segment (docs/cloud-service.md)."""

import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import NoReturn, TypeGuard

import httpx

from . import segment as segments
from .credentials import Credentials
from .errors import CredentialsError, TargetRefused, Unavailable

# Answers that a repetition cannot change (docs/cloud-service.md, Refusals): malformed, conflict or wrong order, no
# length, too large, invalid.
_PERMANENT = {400, 409, 411, 413, 422}
RENEWAL_SECONDS = 30.0  # between attempts to renew an expired certificate, which nothing can be sent with
# Of the socket. The time limit is for each write and for the answer, and what is in the buffer counts as written. Over
# a link of 10 kB/s the kernel's usual buffer of 2.5 MB would take minutes; this one, which Linux doubles, takes 13 s.
SEND_BUFFER = 64 << 10
RESUME_BYTES = 4 << 10  # a smaller body is sent again as a whole: asking takes a round trip, and a handshake as much
PIECE_BYTES = 2 << 10  # a record adds 22 bytes to each
CHECK_SECONDS = 600.0  # between checks of the certificate's age; certificates are valid for days


class IngestTarget:
    """The service at `where` (`https://host:port`), called with a device's certificate.

    The certificate is rotated before it expires, and read again from its file if another process has rotated it.
    Raises `CredentialsError` if there is none.
    """

    lanes = 1  # the service takes the segments of a spool in order
    group = 1

    def __init__(self, where: str, *, credentials: Credentials, timeout: float = 30.0):
        self.where = where.rstrip("/")
        self._credentials = credentials
        self.tenant = credentials.tenant()
        self._timeout = timeout
        self._next_check = 0.0  # before the first segment: the device may have been off for months
        self._trouble = ""  # what is wrong with the certificate
        self._broken = True  # whether the service may have a part of the next segment, as of a former program
        self._reached: tuple[str, int] = ("", 0)  # key of the last upload that broke, and where it began
        self._client = self._connect()

    @property
    def place(self) -> str:
        return self.where

    def identify(self, expected: str | None = None) -> str:
        """See `Target`. Always "": TLS identifies the service, and its answers name the segment that it expects."""
        return ""

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        """See `Target`."""
        return [key for key, _ in objects]

    def put_head(self, key: str, data: bytes) -> None:
        """See `Target`."""
        answer = self._put(key, data)
        if answer.status_code not in (200, 201):
            self._fail(answer)

    def close(self) -> None:
        self._client.close()

    def _connect(self) -> httpx.Client:
        self._version = self._credentials.version()
        return httpx.Client(base_url=self.where, timeout=self._timeout, transport=httpx.HTTPTransport(
            verify=self._credentials.context(), trust_env=False, socket_options=[
                (socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)]))

    def _renew(self) -> None:
        """Rotate the certificate if it is due. On an error the present one is used until it expires."""
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + CHECK_SECONDS
        self._trouble = ""
        try:
            if end := self._credentials.expired():
                self._trouble = f"; the certificate {self._credentials.client} expired on {end:%Y-%m-%d %H:%M} UTC"
                self._next_check = time.monotonic() + RENEWAL_SECONDS
                self._credentials.renew(self.where)
            elif self._credentials.due():
                self._credentials.rotate(self.where)
            if self._credentials.version() != self._version:
                self._client.close()
                self._client = self._connect()
            self._trouble = ""
        except CredentialsError as error:
            if self._trouble:
                self._trouble += f" and was not renewed ({error}); get a new one with: lepton cloud enroll"

    def put_new(self, key: str, data: bytes) -> bool:
        """See `Target`. Segments of a spool must be sent oldest first.

        If the service expects an earlier one, the spool no longer has that one: the request is repeated with a header
        that says so, and the service records the gap.
        """
        self._renew()
        answer = self._upload(key, data)
        expected = _problem(answer).get("expected")
        if answer.status_code == 409 and _is_number(expected) and 0 <= expected < segments.split_key(key).sequence:
            answer = self._put(key, data, {"Lepton-Lost-From": str(expected)})
        if answer.status_code in (200, 201):
            return answer.status_code == 201
        self._fail(answer)

    def _upload(self, key: str, data: bytes) -> httpx.Response:
        """Send a segment, or the rest of it if an earlier attempt broke off.

        After a part of it has arrived the next attempt follows soon, since the service does answer: over a link that
        breaks again and again, waiting longer and longer would take hours.
        """
        if len(data) <= RESUME_BYTES:
            return self._put(key, data)
        careful = self._broken
        offset = self._offset(key, len(data)) if careful else 0
        before = self._reached
        self._reached = (key, offset)
        self._broken = True
        try:
            if not careful:
                answer = self._put(key, data)
            elif not offset:
                answer = self._request("PUT", key, _pieces(data), {
                    "Content-Type": "application/octet-stream", "Content-Length": str(len(data))})
            else:
                answer = self._request("PATCH", key, _pieces(data[offset:]), {
                    "Upload-Offset": str(offset), "Upload-Complete": "?1", "Content-Length": str(len(data) - offset),
                    "Content-Type": "application/partial-upload"})
            if answer.status_code == 409 and _problem(answer).get("reason") == "offset":
                answer = self._put(key, data)
        except Unavailable as error:
            advanced = before[0] == key and offset > before[1]
            raise Unavailable(str(error), 0.0 if advanced else None) from error
        self._broken = answer.status_code in (408, 503)
        return answer

    def _offset(self, key: str, size: int) -> int:
        """How many bytes of a segment the service has; 0 if it does not say."""
        answer = self._request("HEAD", key)
        value = answer.headers.get("upload-offset", "") if answer.status_code == 204 else ""
        return int(value) if value.isascii() and value.isdigit() and int(value) <= size else 0

    def _fail(self, answer: httpx.Response) -> NoReturn:
        text = f"{self.where} answered {answer.status_code}: {_reason(answer)}"
        if answer.status_code in _PERMANENT:
            raise TargetRefused(text)
        raise Unavailable(text, retry_after(answer.headers))

    def _put(self, key: str, data: bytes, more: dict[str, str] | None = None) -> httpx.Response:
        return self._request("PUT", key, data, {"Content-Type": "application/octet-stream", **(more or {})})

    def _request(self, method: str, key: str, data: bytes | Iterator[bytes] | None = None,
                 headers: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._client.request(method, f"/v1/{key}", content=data, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.where} does not answer: {error or type(error).__name__}{self._trouble}"
                              ) from error


def _pieces(data: bytes) -> Iterator[bytes]:
    """`data` in pieces, each of which httpx writes as a TLS record: of one that is cut, nothing can be read, and by
    default it has up to 16 KiB (RFC 8446, section 5.1)."""
    for first in range(0, len(data), PIECE_BYTES):
        yield data[first:first + PIECE_BYTES]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, section 10.2.3): a number, or a date minus the answer's own date."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:  # both dates are the server's, so this machine's clock may be wrong
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def _problem(answer: httpx.Response) -> dict:
    """The members of a problem document (RFC 9457); empty if the answer is none."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _reason(answer: httpx.Response) -> str:
    problem = _problem(answer)
    said = [str(problem[name])[:300] for name in ("reason", "detail") if problem.get(name)]
    return ", ".join(said) or answer.reason_phrase or "no reason given"
