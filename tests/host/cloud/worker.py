"""Processes that `test_kill` starts and kills.

    worker.py producer SPOOL RUN FIRST LEDGER   append records for ever, writing each acknowledged number to LEDGER
    worker.py uploader SPOOL STORE KEYS              upload for ever
"""

import os
import random
import sys

from lepton.cloud import DeviceKeys, Spool, Store, Uploader


def producer(path, run, first, ledger):
    rng, number = random.Random(int(first)), int(first)
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Spool(path, max_bytes=8 << 20, policy="block") as spool:
        while True:
            count = rng.choice([1, 1, 7, 50])
            spool.append_many(run, [{"text": "x" * rng.randint(0, 400)} for _ in range(count)], first=number)
            number += count
            os.write(log, f"{number - 1}\n".encode())
            if number == int(first) + count:
                print("ready", flush=True)


def uploader(path, store, keys):
    with Spool(path, max_bytes=8 << 20) as spool:
        work = Uploader(spool, Store(store), DeviceKeys.load_or_create(keys), segment_records=40, linger=0.001)
        print("ready", flush=True)
        while True:
            work.step()


{"producer": producer, "uploader": uploader}[sys.argv[1]](*sys.argv[2:])
