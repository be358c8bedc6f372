"""A device for the chain test: a producer that writes down what was acknowledged, or an uploader, until killed."""

import sys
import time
from pathlib import Path

from lepton.results import DeviceKeys, Spool, Uploader, open_target
from lepton.results.credentials import Credentials

BATCH = 20
CAP = 16 << 20


def produce(path: str, first: int, ledger: str) -> None:
    with Spool(path, max_bytes=CAP) as spool, open(ledger, "a") as acknowledged:
        number = first
        print("ready", flush=True)
        while True:
            spool.append_many("run", [{"value": i} for i in range(number, number + BATCH)], first=number)
            number += BATCH
            acknowledged.write(f"{number - 1}\n")
            acknowledged.flush()
            time.sleep(0.002)


def upload(path: str, service: str, folder: str, keys: str) -> None:
    target = open_target(service, credentials=Credentials(Path(folder)))
    with Spool(path, max_bytes=CAP) as spool, \
            Uploader(spool, target, DeviceKeys.load(keys), segment_records=200, linger=0.02, backoff_cap=0.2):
        print("ready", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    mode, path, *rest = sys.argv[1:]
    if mode == "produce":
        produce(path, int(rest[0]), rest[1])
    else:
        upload(path, *rest)
