"""Stores: a folder or an S3 bucket, through one API (`obstore`)."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store, from_url

from . import s3_config
from . import segment as segments
from .errors import StoreError, Unavailable

MULTIPART_BYTES = 8 << 20  # larger objects go up in parts


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
        try:
            if "://" in self.where:
                self._store = from_url(self.where, **{**s3_config.options(self.where), **options})
            else:
                self._folder = Path(where).expanduser().resolve()
                self._store = LocalStore(self._folder, mkdir=True)
        except (BaseError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise StoreError(f"cannot open the store {self.where!r}: {reason}; "
                             "it must be a folder that can be written or a URL like s3://bucket/prefix") from error

    def put_new(self, key: str, data: bytes) -> bool:
        """Store `data`, whose SHA-256 ends `key`; when this returns, it is stored for good.

        False if the object was there already. One that is there with other bytes is the
        torn remainder of a crash, since the key names the digest: it is replaced.
        """
        with self._unavailable():
            try:
                self._create(key, data)
                new = True
            except AlreadyExistsError:
                new = segments.sha256(self.get(key)) != key.rpartition("-")[2]
                if new:
                    obstore.put(self._store, key, data, mode="overwrite")
            if self._folder is not None:
                self._make_durable(self._folder / key)
            return new

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
        if self._folder is None and len(data) > MULTIPART_BYTES and isinstance(self._store, S3Store):
            from .s3_multipart import S3Multipart  # brings an HTTP client that nothing else here needs
            S3Multipart.of(self._store).create(key, data)
        else:
            obstore.put(self._store, key, data, mode="create", use_multipart=False)

    @contextlib.contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Unavailable(f"the store {self.where!r} does not do as asked: {reason}") from error

    def _make_durable(self, path: Path) -> None:
        """obstore writes local files without fsync: do it, for the file and the folders that name it."""
        for target in (path, *path.relative_to(self._folder).parents):
            handle = os.open(self._folder / target, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        # staging files of writers that were killed; obstore would leave them for ever
        for i in range(1, 10):
            staging = path.with_name(f"{path.name}#{i}")
            if staging.exists():
                staging.unlink(missing_ok=True)
