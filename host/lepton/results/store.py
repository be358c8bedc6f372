"""Stores: a folder or an S3 bucket, with one API."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import HTTPStore, LocalStore, ObjectStore, S3Store, from_url

from . import head as heads
from . import s3_config, store_identity
from . import segment as segments
from .errors import StoreError, Unavailable
from .folder import Folder

# Threads that send, and segments that one sends together (docs/cloud.md, Figures): to S3, 8 requests keep the server
# busy while answers are on their way; in a folder, more than 3 threads only wait for its lock in the kernel, and groups
# share the wait for the disk.
S3_LANES = 8
FOLDER_LANES = 3
FOLDER_GROUP = 8


class Store:
    """An object store that takes each object once.

    `where` is a folder, or a URL that obstore knows (`s3://bucket/prefix`, ...); `options` are those of obstore
    (credentials, endpoint, retries). `identify`, `put_new` and `put_all` implement `Target`. Reading raises
    `Unavailable` while the store does not answer, or is missing.
    """

    tenant = segments.TENANT
    lanes = S3_LANES
    group = 1

    def __init__(self, where: str | Path, **options):
        self.where = str(where)
        self._folder: Folder | None = None
        self._objects: ObjectStore | None = None
        self._options: dict[str, Any] = {}
        self._senders: dict[int, ObjectStore] = {}  # by class of size
        self._identity: str | None = None
        try:
            if "://" in self.where:
                self._options = {**s3_config.options(self.where, options), **options}
                self._objects = from_url(self.where, **self._options)
                if isinstance(self._objects, HTTPStore):
                    raise ValueError("a web server cannot guarantee to store an object only once")
            else:
                self._folder = Folder(where)
                self.lanes = FOLDER_LANES
                self.group = FOLDER_GROUP
        except (BaseError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise StoreError(f"cannot open the store {self.where!r}: {reason}; "
                             "it must be a folder that can be written, a URL like s3://bucket/prefix, or the "
                             "ingest service's, https://host:port") from error

    @property
    def place(self) -> str:
        """The name by which a spool remembers the store: the folder's absolute path, or the URL."""
        return str(self._folder.path) if self._folder is not None else self.where.rstrip("/")

    def identify(self, expected: str | None = None) -> str:
        """See `Target`. A store that is used for the first time gets an identity; a folder is created."""
        with self._unavailable():
            if self._folder is not None:
                return self._folder.identify(expected)
            expected = expected or self._identity
            content = self._read_identity()
            if content is None and expected is None:
                with contextlib.suppress(AlreadyExistsError):  # another process was faster
                    obstore.put(self._store, store_identity.KEY, store_identity.make()[1], mode="create",
                                use_multipart=False)
                content = self._read_identity()
            self._identity = store_identity.check(self.place, content, expected)
            return self._identity

    def put_new(self, key: str, data: bytes) -> bool:
        """Store `data` under `key`, which ends with its SHA-256; it is durable when this returns.

        False if the object exists already. An existing object with other bytes is damaged, since the key names the
        digest: it is replaced.
        """
        digest = segments.split_key(key).digest
        self._identify_once()
        with self._unavailable():
            try:
                self._create(key, data)
                return True
            except (AlreadyExistsError, FileExistsError):
                if segments.sha256(self.get(key)) != digest:
                    self._replace(key, data)
                    return True
                if self._folder is not None:
                    self._folder.sync(key)
                return False

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        """See `Target`. In a folder a group of eight takes less than half the time of eight single calls."""
        if self._folder is None:
            return [key for key, data in objects if not self.put_new(key, data)]
        checked = ((key, data) for key, data in objects if segments.split_key(key))
        with self._unavailable():
            return self._folder.create_all(checked)

    def put_head(self, key: str, data: bytes) -> None:
        """See `Target`."""
        heads.split_key(key)
        self._identify_once()
        with self._unavailable():
            self._replace(key, data)

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises `StoreError` if there is none."""
        with self._unavailable():
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError as error:
                raise StoreError(f"the store {self.where!r} has no object {key!r}") from error

    def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        with self._unavailable(), contextlib.suppress(FileNotFoundError, NotFoundError):
            obstore.delete(self._store, key)

    def keys(self, device: str | None = None, since: str = "", until: str = "") -> list[str]:
        """Keys of the stored objects under `results/` in order; optionally of one device, or of dates like 2026-11-30.

        `since` is the first date, `until` the last one. Only folders that may have such objects are listed.
        """
        def wanted(folder: str) -> bool:
            name, _, value = folder.rpartition("/")[2].partition("=")
            return (name != "date" or (since <= value and (not until or value <= until))) and \
                (name != "device" or device in (None, value))

        if device is not None:
            segments.check_name(device)
        prefixes = [segments.ROOT]
        with self._unavailable():
            for _ in range(3 if since or until else 2 if device is not None else 0):  # tenant, device, date
                prefixes = [folder for prefix in prefixes for folder in obstore.list_with_delimiter(
                    self._store, prefix)["common_prefixes"] if wanted(folder)]
            return sorted(meta["path"] for prefix in prefixes for batch in obstore.list(self._store, prefix)
                          for meta in batch)

    def heads(self) -> list[str]:
        """Keys of the signed heads, in order."""
        with self._unavailable():
            return sorted(meta["path"] for batch in obstore.list(self._store, heads.ROOT) for meta in batch)

    @property
    def _store(self) -> ObjectStore:
        if self._objects is None:
            if self._folder is None:
                raise StoreError(f"the store {self.where!r} is not open")
            self._objects = LocalStore(self._folder.path)  # fails if the folder does not exist, so it is made late
        return self._objects

    def _identify_once(self) -> None:
        """Before the first write to a bucket: without an `expected` identity any store is accepted. A `Folder` checks
        its identity itself."""
        if self._folder is None and self._identity is None:
            self.identify()

    def _read_identity(self) -> bytes | None:
        try:
            return bytes(obstore.get(self._store, store_identity.KEY).bytes())
        except FileNotFoundError:
            return None

    def _create(self, key: str, data: bytes) -> None:
        if self._folder is not None:
            self._folder.create(key, data)
        else:
            obstore.put(self._sender(len(data)), key, data, mode="create", use_multipart=False)

    def _replace(self, key: str, data: bytes) -> None:
        if self._folder is not None:
            self._folder.replace(key, data)
        else:
            obstore.put(self._sender(len(data)), key, data, mode="overwrite", use_multipart=False)

    def _sender(self, size: int) -> ObjectStore:
        """The store with a time limit for objects of this size."""
        if not isinstance(self._objects, S3Store):
            return self._store
        doublings, options = s3_config.client_options_for(size, self._options)
        if doublings not in self._senders:
            self._senders[doublings] = from_url(self.where, **options)
        return self._senders[doublings]

    @contextlib.contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Unavailable(f"the store {self.where!r} cannot be used at the moment: {reason}") from error
