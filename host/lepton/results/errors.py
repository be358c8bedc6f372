"""Errors on the way from a result to the store."""

from pathlib import Path


class CloudError(RuntimeError):
    """Base class of the errors of this package."""


class SpoolError(CloudError):
    """The spool cannot be opened or used."""


class SpoolFull(SpoolError):
    """The spool has no room below its size limit. The records were not taken, and are counted as rejected."""


class NoRoom(SpoolError):
    """The size limit is reached, or the disk is full; `where` says which."""

    def __init__(self, path: Path, where: str):
        super().__init__(f"the spool {str(path)!r} has no room {where}; free disk space, or upload the waiting records")
        self.where = where


class RecordError(SpoolError):
    """Records that can never be stored: not JSON, or too large. Each is counted as rejected; the others are stored."""


class SpoolDamaged(SpoolError):
    """The spool's file is damaged. `lepton cloud salvage` saves what can be read."""


class SegmentError(CloudError):
    """The bytes are not a segment, or not the segment that their key names."""


class UnknownSignerError(SegmentError):
    """A segment is signed by a key (`signer`, hex) that is not trusted."""

    def __init__(self, text: str, signer: str):
        super().__init__(text)
        self.signer = signer


class StoreError(CloudError):
    """The store cannot be opened, or does not have the object."""


class KeyFileError(CloudError):
    """Keys are missing, damaged, or readable by other users."""


class TargetRefused(CloudError):
    """The target refuses this segment permanently: sending it again cannot succeed."""


class Unavailable(CloudError):
    """The target does not take segments at the moment. `retry_after`: seconds that it asked to wait, or None."""

    def __init__(self, text: str, retry_after: float | None = None):
        super().__init__(text)
        self.retry_after = retry_after


class CredentialsError(CloudError):
    """The ingest service issued no certificate, or the device's certificate cannot be used."""


class ResultsError(CloudError):
    """Results cannot be read, or a query is wrong."""


class MixedOutputs(Exception):
    """An output has another type from record number `count` of the given ones on: they need two segments."""

    def __init__(self, count: int):
        super().__init__(count)
        self.count = count
