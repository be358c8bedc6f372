"""What can go wrong between a result and the store."""


class CloudError(RuntimeError):
    """Base of the errors of this package."""


class SpoolError(CloudError):
    """The spool cannot be opened or used as asked."""


class SpoolFull(SpoolError):
    """The spool's byte cap leaves no room. The records were not taken, and are counted as rejected."""


class RecordError(SpoolError):
    """Records can never be stored: no JSON, or too large. Each is counted as rejected; no other is lost with it."""


class SpoolDamaged(SpoolError):
    """The spool's file is not intact. `lepton cloud salvage` saves what can be read."""


class SegmentError(CloudError):
    """Bytes are not a segment, or not the one that their key names."""


class UnknownSignerError(SegmentError):
    """A segment is signed by a key (`signer`, hex) that is not among those that are trusted."""

    def __init__(self, text: str, signer: str):
        super().__init__(text)
        self.signer = signer


class StoreError(CloudError):
    """The store cannot be opened, or holds something else under the name."""


class KeyFileError(CloudError):
    """Keys are missing, damaged, or open to others."""


class TargetRefused(CloudError):
    """The target will never take this segment as it is: sending it again is of no use."""


class Unavailable(CloudError):
    """The target does not take segments now. `retry_after`: seconds it asked to wait, or None."""

    def __init__(self, text: str, retry_after: float | None = None):
        super().__init__(text)
        self.retry_after = retry_after


class CredentialsError(CloudError):
    """The ingest service gives no certificate, or the one that is there cannot be used."""
