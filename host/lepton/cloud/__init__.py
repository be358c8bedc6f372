"""From the driver to the store: a durable spool, an uploader, object stores.

- `spool`: acknowledged means on disk; a byte cap, and a policy when it is reached
- `segment`: the objects that are uploaded, and how their keys make uploads idempotent
- `uploader`: the thread between spool and store
- `store`: a folder or an S3 bucket
- `results`: results of inference as records

Needs the extra `lepton[cloud]` (apsw, obstore).
"""

from .errors import CloudError, SegmentError, SpoolError, SpoolFull, StoreError
from .results import ResultLog
from .segment_v1 import Segment
from .spool import POLICIES, Spool, SpoolStatus
from .store import Store
from .uploader import Uploader, UploaderStatus

__all__ = [
    "POLICIES", "CloudError", "ResultLog", "Segment", "SegmentError", "Spool", "SpoolError", "SpoolFull", "SpoolStatus",
    "Store", "StoreError", "Uploader", "UploaderStatus",
]
