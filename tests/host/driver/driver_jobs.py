"""A job that copies region INPUT to OUTPUT, for the tests of the driver."""

import numpy as np
from lepton.arch import Dma, DmaOpcode, Engine, Region
from lepton.driver import Job, Stream


def transfer(opcode, region, size, *, offset=0, wait=0, post=0, layer=0):
    return Dma.pack(opcode=opcode, region=region, offset=offset, row_bytes=size, count1=1, count2=1, count3=1,
                    wait=wait, post=post, layer=layer)


def copy_job(driver, size, *, load=None, store=None, name="copy", **options):
    """A job that copies region INPUT to OUTPUT; `load` and `store` replace its commands."""
    load = load or transfer(DmaOpcode.LOAD, Region.INPUT, size, post=1)
    store = store or transfer(DmaOpcode.STORE, Region.OUTPUT, size, wait=1, layer=7)
    buffers = {region: driver.allocate(n, region.name) for region, n in
               ((Region.PROGRAM, 128), (Region.INPUT, size), (Region.OUTPUT, size))}
    buffers[Region.PROGRAM].write(load + store)
    return Job(buffers, {Engine.LOAD: Stream(0, 1), Engine.STORE: Stream(64, 1)}, name=name, **options)


def run_copy(driver, seed=1, size=100):
    """Run a copy job with random bytes and check it: the proof that the chip is usable."""
    data = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    job = copy_job(driver, size)
    job.regions[Region.INPUT].write(data)
    driver.run(job)
    assert np.array_equal(job.regions[Region.OUTPUT].read(), data)
