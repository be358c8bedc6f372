"""From the driver to the store: a durable spool, an uploader, object stores.

- `result_log`: writes results of inference as records; `outputs` says what is kept of the outputs
- `spool`: the durable queue of records, with a size limit and a policy for when it is reached; `appends`, `database`,
  `schema`, `state`, `spool_file` and `records` are its parts; `spool_view` and `spool_status` read it without writing
- `outbox`: makes segments of records (`batch`), and keeps them until the target has confirmed them
- `segment`: the objects that leave the device; `body` is their Parquet file (with `columns`), `envelope` their
  encryption and signature (COSE), `head` the signed list of what a store was given
- `keys`: the keys of a device; `keyring`: what a reader trusts and can decrypt, loaded by `keyring_files`; `pem`: files
  of keys; `grants`: old segments for new recipients
- `uploader`, `delivery`: the threads that send segments to the target
- `target`: the interface of targets; `store` (a folder or an S3 bucket, with `folder`, `s3_config`,
  `store_identity`) and `ingest` (the ingest service, with `credentials`) implement it
- `durable`: writes files completely or not at all
- `reading`: results from a store or the service (`service_source`), as `tables` and answers to SQL
- `verify`: checks stored segments, each spool by `spool_check`; `verify_report` is the outcome
- `salvage`: recovers records from a damaged spool
- `server`: runs a local SeaweedFS, on ports from `server_ports`

Needs the extra `lepton-chip[cloud]` (apsw-sqlite3mc, obstore, pyarrow, cwt, cryptography, httpx). SQL and data frames
need `lepton-chip[results]` (duckdb, pandas).
"""

from .errors import (
    CloudError,
    KeyFileError,
    RecordError,
    ResultsError,
    SegmentError,
    SpoolDamaged,
    SpoolError,
    SpoolFull,
    StoreError,
    TargetRefused,
    Unavailable,
)
from .keyring import Keyring
from .keys import DeviceKeys
from .outbox import Outbox
from .outputs import Scale
from .reading import Results
from .reading import open_results as open
from .result_log import ResultLog
from .segment import Segment
from .spool import POLICIES, Spool
from .spool_status import SpoolStatus
from .spool_view import SpoolView
from .store import Store
from .tables import tensor
from .target import Target, open_target
from .uploader import Uploader, UploaderStatus

__all__ = [
    "POLICIES", "CloudError", "DeviceKeys", "KeyFileError", "Keyring", "Outbox", "RecordError", "ResultLog", "Results",
    "ResultsError", "Scale", "Segment", "SegmentError", "Spool", "SpoolDamaged", "SpoolError", "SpoolFull",
    "SpoolStatus", "SpoolView", "Store", "StoreError", "Target", "TargetRefused", "Unavailable", "Uploader",
    "UploaderStatus", "open", "open_target", "tensor",
]
