"""Processes that `test_kill` and `test_ledger` start and kill.

    worker.py producer SPOOL RUN FIRST LEDGER PAUSE  append records for ever, writing each acknowledged number to LEDGER
    worker.py uploader SPOOL STORE KEYS              upload for ever, without a pause
    worker.py patient SPOOL STORE KEYS               upload for ever, whatever the store does
    worker.py reader STORE KEYS LEDGER               read for ever, writing the numbers of each new segment to LEDGER
"""

import os
import random
import sys
import time

from lepton.results import CloudError, DeviceKeys, Spool, Store, Uploader
from lepton.results import segment as segments

CAP = 8 << 20


def producer(path, run, first, ledger, pause):
    rng = random.Random(int(first))
    number = int(first)
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Spool(path, max_bytes=CAP, policy="block") as spool:
        while True:
            count = rng.choice([1, 1, 7, 50])
            spool.append_many(run, [{"text": "x" * rng.randint(0, 400)} for _ in range(count)], first=number)
            number += count
            os.write(log, f"{number - 1}\n".encode())
            if number == int(first) + count:
                print("ready", flush=True)
            time.sleep(float(pause))


def uploader(path, store, keys):
    with Spool(path, max_bytes=CAP) as spool:
        work = Uploader(spool, Store(store), DeviceKeys.load_or_create(keys), segment_records=40, linger=0.001)
        print("ready", flush=True)
        while True:
            work.step()


def patient(path, store, keys):
    with Spool(path, max_bytes=CAP) as spool, \
            Uploader(spool, Store(store), DeviceKeys.load_or_create(keys), segment_records=400, linger=0.1,
                     backoff_base=0.1, backoff_cap=1.0):
        print("ready", flush=True)
        time.sleep(600)


def reader(where, keys, ledger):
    """A line of the ledger is `key numbers...`; one that a kill cut off is not there, and its segment read again."""
    keyring = DeviceKeys.load(keys).keyring()
    store = Store(where)
    log = os.open(ledger, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    written = os.pread(log, 1 << 30, 0)
    os.ftruncate(log, written.rfind(b"\n") + 1)
    known = {line.split()[0].decode() for line in written[:written.rfind(b"\n") + 1].splitlines()}
    print("ready", flush=True)
    while True:
        try:
            there = store.keys()
            for key in filter(lambda key: key not in known, there):
                numbers = (str(r["number"]) for r in segments.parse(store.get(key), key).open(keyring))
                os.write(log, f"{key} {' '.join(numbers)}\n".encode())
                known.add(key)
        except CloudError:  # the store is away
            pass
        time.sleep(0.2)


if __name__ == "__main__":
    {"producer": producer, "uploader": uploader, "patient": patient, "reader": reader}[sys.argv[1]](*sys.argv[2:])
