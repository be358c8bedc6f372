"""A device for the chain test: a producer that writes down what was acknowledged, or an uploader, until killed."""

import os
import random
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
            time.sleep(float(os.environ.get("PAUSE", "0.002")))


def upload(path: str, service: str, folder: str, keys: str) -> None:
    target = open_target(service, credentials=Credentials(Path(folder)))
    with Spool(path, max_bytes=CAP) as spool, \
            Uploader(spool, target, DeviceKeys.load(keys), segment_records=200, linger=0.02, backoff_cap=0.2):
        print("ready", flush=True)
        time.sleep(600)


def let_the_clock_jump() -> None:
    """`time.time_ns` jumps by up to 20 years at every 100th call."""
    rng = random.Random()
    real = time.time_ns
    state = [0, 0]  # calls, offset

    def now() -> int:
        state[0] += 1
        if state[0] % 100 == 1:
            state[1] = rng.randint(-20, 20) * 365 * 86_400 * 10**9
        return real() + state[1]

    time.time_ns = now


if __name__ == "__main__":
    if "JUMPING_CLOCK" in os.environ:
        let_the_clock_jump()
    mode, path, *rest = sys.argv[1:]
    if mode == "produce":
        produce(path, int(rest[0]), rest[1])
    else:
        upload(path, *rest)
