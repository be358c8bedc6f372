"""From the driver to the store: a durable spool, an uploader, object stores.

- `result_log`: writes results of inference as records
- `spool`: the durable queue of records, with a size limit and a policy for when it is reached; `appends`, `database`,
  `schema`, `state` and `records` are its parts
- `outbox`: makes segments of records, and keeps them until the target has confirmed them
- `segment`, `keys`: the format of segments, signatures and encryption
- `uploader`, `delivery`: the threads that send segments to the target
- `target`: the interface of targets; `store` (a folder or an S3 bucket, with `folder`, `s3_multipart`, `s3_config`,
  `store_identity`) and `ingest` (the ingest service, with `credentials`) implement it
- `durable`: writes files completely or not at all
- `verify`: checks stored segments
- `salvage`: recovers records from a damaged spool
- `server`: runs a local SeaweedFS

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
