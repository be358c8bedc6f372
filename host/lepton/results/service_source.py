"""Reads segments and heads from the ingest service, with the certificate of a reader."""

import time as clock
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx

from .credentials import Credentials
from .errors import StoreError, Unavailable
from .ingest import retry_after
from .keyring_files import user_folder
from .segment import check_name

PAGE = 1000  # rows of an answer, the service's limit
WAIT_SECONDS = 60.0  # for one request that the service asks to repeat later
_LATER = (429, 503)  # too many requests; the store does not answer (RFC 6585, RFC 9110)


class ServiceSource:
    """The service at `where` (`https://host:port`). It has the same reading methods as a `Store`.

    `credentials`: those of a reader (`lepton cloud invite --reader`), by default in the user's data folder. Raises
    `CredentialsError` if there are none.
    """

    def __init__(self, where: str, *, credentials: Credentials | str | Path | None = None, timeout: float = 30.0):
        self.where = where.rstrip("/")
        if not isinstance(credentials, Credentials):
            credentials = Credentials(Path(credentials) if credentials else user_folder() / "keys")
        self._client = httpx.Client(base_url=self.where, verify=credentials.context(), timeout=timeout, trust_env=False)

    def keys(self, device: str | None = None, since: str = "", until: str = "") -> list[str]:
        """Keys of the segments in order; optionally of one device, or of dates like 2026-11-30."""
        query: dict[str, str] = {"limit": str(PAGE)}
        if device is not None:
            query["device"] = check_name(device)
        if since:
            query["since"] = _day(since).isoformat()
        if until:
            query["until"] = (_day(until) + timedelta(days=1)).isoformat()
        # the service selects by the times of records; `since` and `until` are dates of first records, as in the keys
        found = (row["key"] for page in self._pages("/v1/results", query) for row in page["segments"])
        return sorted(key for key in found if not since or since <= _date(key))

    def heads(self) -> list[str]:
        """Keys of the signed heads, in order."""
        return [key for page in self._pages("/v1/heads", {"limit": str(PAGE)}) for key in page["heads"]]

    def get(self, key: str) -> bytes:
        """The bytes of a segment or head. Raises `StoreError` if there is none."""
        return self._get(f"/v1/{key}", {}).content

    def _pages(self, path: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = self._get(path, query if after is None else {**query, "after": after}).json()
            yield page
            after = page["next"]
            if after is None:
                return

    def _get(self, path: str, query: dict[str, str]) -> httpx.Response:
        answer = self._once(path, query)
        waited = 0.0
        while answer.status_code in _LATER and waited < WAIT_SECONDS:
            seconds = min(max(retry_after(answer.headers) or 1.0, 0.1), WAIT_SECONDS - waited)
            clock.sleep(seconds)
            waited += seconds
            answer = self._once(path, query)
        if answer.status_code == 404:
            raise StoreError(f"{self.where} has no object {path.removeprefix('/v1/')!r}")
        if answer.status_code != 200:
            raise Unavailable(f"{self.where} answered {answer.status_code}: {answer.text[:300]}")
        return answer

    def _once(self, path: str, query: dict[str, str]) -> httpx.Response:
        try:
            return self._client.get(path, params=query)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.where} does not answer: {error or type(error).__name__}") from error


def _day(date: str) -> datetime:
    return datetime.combine(datetime.strptime(date, "%Y-%m-%d"), time(), UTC)


def _date(key: str) -> str:
    return key.partition("/date=")[2][:10]
