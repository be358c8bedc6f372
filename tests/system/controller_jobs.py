"""The chip with its controller, and jobs for its tests."""

import numpy as np
from lepton.arch import PRESETS, Dma, DmaOpcode, Engine, Region
from lepton.driver import Job, Stream

CONFIG = PRESETS["tiny"].with_(controller=True)
BOARD_BYTES = 1 << 22  # memory of the board
WINDOW = 1 << 18  # bytes of a client's window


def dma(opcode, region, size, **fields):
    return Dma.pack(opcode=opcode, region=region, row_bytes=size, count1=1, count2=1, count3=1, **fields)


def copy_job(driver, size=256, *, load=None, store=None, **options):
    """INPUT to OUTPUT; with the bytes that OUTPUT must hold afterwards."""
    load = load or dma(DmaOpcode.LOAD, Region.INPUT, size, post=1)
    store = store or dma(DmaOpcode.STORE, Region.OUTPUT, size, wait=1, layer=7)
    buffers = {region: driver.allocate(n, region.name) for region, n in
               ((Region.PROGRAM, 128), (Region.INPUT, size), (Region.OUTPUT, size))}
    buffers[Region.PROGRAM].write(load + store)
    buffers[Region.INPUT].write(np.random.default_rng(buffers[Region.INPUT].address).integers(0, 256, size, np.uint8))
    return Job(buffers, {Engine.LOAD: Stream(0, 1), Engine.STORE: Stream(64, 1)}, **options)


def endless_job(driver, **options):
    """TENSOR-less work of about 4 million cycles: one LOAD that walks the same rows over and over."""
    rows = Dma.pack(opcode=DmaOpcode.LOAD, region=Region.INPUT, row_bytes=64, count1=1000, count2=1000, count3=4,
                    post=1)
    return copy_job(driver, load=rows, **options)


def check(job):
    assert np.array_equal(job.regions[Region.INPUT].read(), job.regions[Region.OUTPUT].read())
