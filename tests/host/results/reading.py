"""Results of two networks as devices send them, for the tests that read them back."""

import numpy as np
from lepton.results import ResultLog, Scale, Spool, Store, Uploader

COMMON = {"model": "net", "model_hash": "1" * 64, "program_hash": "2" * 64, "config_hash": "3" * 16, "device": "rtl"}
SCALES = {"classes": Scale(0.25, -3)}


def outputs(number):
    """Of a quantized classifier, and a small map of real numbers."""
    rng = np.random.default_rng(number)
    return {"classes": rng.integers(-128, 128, (1, 10)).astype(np.int8), "map": rng.normal(size=(2, 3)).astype("f4")}


def send(store, spool, device_keys, run, numbers, device="alpha", **options):
    with Spool(spool, device=device) as opened, \
            Uploader(opened, Store(store), device_keys, segment_records=30) as uploader:
        with ResultLog(opened, **COMMON, run=run, scales=SCALES, **options) as log:
            for number in numbers:
                log.add(outputs(number), cycles=1000 + number, label=number % 10, name=f"image {number}")
        assert uploader.flush(30)
