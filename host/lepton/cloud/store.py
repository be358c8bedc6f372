"""Stores: a folder or an S3 bucket, through one API (`obstore`)."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import HTTPStore, LocalStore, S3Store, from_url

from . import durable, s3_config
from . import segment as segments
from .errors import StoreError, Unavailable

MULTIPART_BYTES = 8 << 20  # larger objects go up in parts
STAGING = "staging"  # in a folder: objects that are being written; outside of results/, so that no reader sees them
# A writer's file lives for the moments that it takes to write and sync at most 64 MiB. One that has not been touched
# for a day is what a killed writer left; should its writer live (a machine that slept), it begins again.
REMAINS_SECONDS = 86_400.0
ATTEMPTS = 3


class Store:
    """An object store that takes each object once.

    `where` is a folder, or a URL that obstore knows (`s3://bucket/prefix`, ...);
    `options` go to obstore (credentials, endpoint, retries). `put_new` is
    that of `Target`; reading raises `Unavailable` while the store does not answer.
    """

    lanes = 4

    def __init__(self, where: str | Path, **options):
        self.where = str(where)
        self._folder: Path | None = None
        self._next_clearing = 0.0
        try:
            if "://" in self.where:
                self._store = from_url(self.where, **{**s3_config.options(self.where, options), **options})
                if isinstance(self._store, HTTPStore):
                    raise ValueError("no web server stores an object only once")
            else:
                self._folder = Path(where).expanduser().resolve()
                durable.make_folder(self._folder)
                self._store = LocalStore(self._folder)
        except (BaseError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise StoreError(f"cannot open the store {self.where!r}: {reason}; "
                             "it must be a folder that can be written, a URL like s3://bucket/prefix, or the "
                             "ingest service's, https://host:port") from error

    def put_new(self, key: str, data: bytes) -> bool:
        """Store `data`, whose SHA-256 ends `key`; when this returns, it is stored for good.

        False if the object was there already. One that is there with other bytes was
        damaged, since the key names the digest: it is replaced.
        """
        digest = segments.split_key(key)[2]
        with self._unavailable():
            try:
                self._create(key, data)
                return True
            except (AlreadyExistsError, FileExistsError):
                if segments.sha256(self.get(key)) != digest:
                    self._replace(key, data)
                    return True
                if self._folder is not None:  # whoever wrote it may not have got so far
                    durable.sync(self._folder / key)
                    durable.sync((self._folder / key).parent)
                return False

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises `StoreError` if there is none."""
        with self._unavailable():
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError as error:
                raise StoreError(f"the store {self.where!r} has no object {key!r}") from error

    def keys(self, device: str | None = None) -> list[str]:
        """Keys of the stored objects under `results/`, of all devices or of one, in order."""
        prefix = segments.ROOT if device is None else f"{segments.ROOT}/{segments.check_name(device)}"
        with self._unavailable():
            return sorted(meta["path"] for batch in obstore.list(self._store, prefix) for meta in batch)

    def _create(self, key: str, data: bytes) -> None:
        if self._folder is not None:
            self._write(durable.create, key, data)
        elif len(data) > MULTIPART_BYTES and isinstance(self._store, S3Store):
            from .s3_multipart import S3Multipart  # brings an HTTP client that nothing else here needs
            S3Multipart.of(self._store).create(key, data)
        else:
            obstore.put(self._store, key, data, mode="create", use_multipart=False)

    def _replace(self, key: str, data: bytes) -> None:
        if self._folder is not None:
            self._write(durable.replace, key, data)
        else:
            obstore.put(self._store, key, data, mode="overwrite")

    def _write(self, write: Callable[..., None], key: str, data: bytes) -> None:
        """Into the folder: obstore neither syncs what it writes nor gives writers of one key files of their own."""
        path, staging = self._folder / key, self._folder / STAGING
        self._clear_remains(staging)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return write(path, data, mode=0o666, aside=staging)
            except FileNotFoundError:  # folders that are not there yet, or what was written was cleared away
                if attempt == ATTEMPTS:
                    raise
                for folder in (staging, path.parent):
                    durable.make_folder(folder)

    def _clear_remains(self, staging: Path) -> None:
        """At first, and then daily: what is cleared away is only room, so a failure is no failure of the store."""
        if time.monotonic() < self._next_clearing:
            return
        self._next_clearing = time.monotonic() + REMAINS_SECONDS
        with contextlib.suppress(OSError):
            for path in staging.iterdir():
                if path.stat().st_mtime < time.time() - REMAINS_SECONDS:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Unavailable(f"the store {self.where!r} does not do as asked: {reason}") from error
