"""What can go wrong between a result and the store."""


class CloudError(RuntimeError):
    """Base of the errors of this package."""


class SpoolError(CloudError):
    """The spool cannot be opened or used as asked."""


class SpoolFull(SpoolError):
    """The spool's byte cap leaves no room. The records were not taken, and are counted as rejected."""


class SegmentError(CloudError):
    """Bytes are not a segment, or not the one that their key names."""


class StoreError(CloudError):
    """The store cannot be opened, or holds something else under the name."""
