"""The ingest service as a target: each segment is one PUT over mutual TLS 1.3 (docs/cloud-service.md)."""

import ssl
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from . import segment as segments
from .errors import Refused, StoreError, Unavailable

# What no repetition mends: malformed, conflict or order, no length, too large, not what it says it is.
_PERMANENT = {400, 409, 411, 413, 422}


class IngestTarget:
    """The service at `where` (`https://host:port`), reached with a device's certificate.

    `certificate`, `key`, `ca`: PEM files of the device's certificate, its private key and
    the authority that signed the service's. Raises `StoreError` if they cannot be used.
    """

    def __init__(self, where: str, *, certificate: str | Path, key: str | Path, ca: str | Path, timeout: float = 30.0):
        self.where = where.rstrip("/")
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(str(certificate), str(key))
        except (OSError, ssl.SSLError) as error:
            raise StoreError(f"cannot use the certificate {certificate}, its key {key} or the authority {ca}: {error}; "
                             "enrol the device again, or give the right files") from error
        self._client = httpx.Client(base_url=self.where, verify=context, timeout=timeout, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def put_new(self, key: str, data: bytes) -> bool:
        """See `Target`. Segments of a spool must be offered oldest first.

        Where the service waits for an earlier one, there is none any more: it is told so, and counts the gap.
        """
        answer = self._put(key, data)
        expected = _problem(answer).get("expected")
        if answer.status_code == 409 and type(expected) is int and 0 <= expected < segments.split_key(key)[1]:
            answer = self._put(key, data, {"Lepton-Lost-From": str(expected)})
        if answer.status_code in (200, 201):
            return answer.status_code == 201
        text = f"{self.where} answered {answer.status_code}: {_reason(answer)}"
        if answer.status_code in _PERMANENT:
            raise Refused(text)
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
