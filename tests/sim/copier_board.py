"""A board with a small copy engine in place of the chip, and how a test uses it."""

import numpy as np
from lepton.arch import PRESETS

from tests.sim import copier
from tests.sim.copier import Mode

CONFIG = PRESETS["tiny"]
MEMORY = 1 << 20
SOURCE = 0x10000
TARGET = 0x80000


def fill(device, size=65536, seed=1):
    data = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    device.write_memory(SOURCE, data)
    return data


def start(device, *, mode=Mode.COPY, beats=64, bursts=16, source=SOURCE, target=TARGET, strobe=0):
    for offset, value in ((copier.SOURCE, source), (copier.TARGET, target), (copier.BEATS, beats),
                          (copier.BURSTS, bursts), (copier.MODE, mode), (copier.STROBE, strobe), (copier.START, 1)):
        device.write_register(offset, value)


def copy(device, **options):
    start(device, **options)
    assert device.wait_interrupt(1_000_000)
    return device.read_register(copier.STATUS) >> 1
