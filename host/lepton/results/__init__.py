"""From the driver to the store: a durable spool, an uploader, object stores.

- `spool`, on `database`, `schema`, `state`, `records`: acknowledged means on disk; a byte cap, and a policy for when
  it is reached
- `outbox`: records become segments, and segments leave
- `segment`, `keys`: the objects that are uploaded, signed and encrypted
- `uploader`, on `delivery`: the threads between spool and target
- `target`: where segments go: `store` (a folder or an S3 bucket, `s3_multipart`, `s3_config`) or `ingest`, the service
- `durable`: files that are there whole or not at all
- `verify`: a stored run, checked from end to end
- `salvage`: what a damaged spool still holds
- `server`: a SeaweedFS of one's own
- `result_log`: results of inference as records

Needs the extra `lepton-chip[cloud]` (apsw-sqlite3mc, obstore, zstandard, cryptography, httpx).
"""

from .errors import (
    CloudError,
    KeyFileError,
    RecordError,
    SegmentError,
    SpoolDamaged,
    SpoolError,
    SpoolFull,
    StoreError,
    TargetRefused,
    Unavailable,
)
from .keys import DeviceKeys, Keyring
from .outbox import Outbox
from .result_log import ResultLog
from .segment import Segment
from .spool import POLICIES, Spool, SpoolStatus
from .store import Store
from .target import Target, open_target
from .uploader import Uploader, UploaderStatus

__all__ = [
    "POLICIES", "CloudError", "DeviceKeys", "KeyFileError", "Keyring", "Outbox", "RecordError", "ResultLog",
    "Segment", "SegmentError", "Spool", "SpoolDamaged", "SpoolError", "SpoolFull", "SpoolStatus", "Store",
    "StoreError", "Target", "TargetRefused", "Unavailable", "Uploader", "UploaderStatus", "open_target",
]
