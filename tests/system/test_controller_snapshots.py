"""Snapshots that the firmware copies for a client: by value, against the chip's own registers."""

import lepton.device
import numpy as np
from lepton.arch import Dma, DmaOpcode, Engine, Region, TensorOpcode
from lepton.arch.registers import SNAPSHOT_COUNTERS, snapshot_offset
from lepton.driver import BoardController, Driver, Job, Stream

from tests.system.controller_jobs import BOARD_BYTES, CONFIG, WINDOW
from tests.system.programs import LANES, tensor

LAYERS = (0, 3, 200)


def layered_job(driver: Driver) -> Job:
    """Three layers of very different lengths, whose snapshots are in slots far apart."""
    load = Dma.pack(opcode=DmaOpcode.LOAD, region=Region.INPUT, row_bytes=256, count1=1, count2=1, count3=1, post=1)
    commands = [tensor(TensorOpcode.MAX, nx=n, uniform=1, add_mult_a=1 << 30, add_shift_a=1, out_addr=4096, fence=1,
                       blocks=n, in_block=0, wait=int(i == 0), layer=layer, snapshot=1, out_x=LANES)
                for i, (layer, n) in enumerate(zip(LAYERS, (3, 60, 20), strict=True))]
    buffers = {Region.PROGRAM: driver.allocate(1024, "program"), Region.INPUT: driver.allocate(256, "input")}
    buffers[Region.PROGRAM].write(load.ljust(128, b"\0") + b"".join(commands))
    buffers[Region.INPUT].write(np.zeros(256, np.uint8))
    return Job(buffers, {Engine.LOAD: Stream(0, 1), Engine.TENSOR: Stream(128, 3)}, LAYERS)


def test_every_counter_of_every_layer_has_the_chip_s_value():
    with lepton.device.open("rtl", config=CONFIG, memory_bytes=BOARD_BYTES) as board, \
            BoardController(board) as controller, Driver(board, controller.client(WINDOW)) as driver:
        for _ in range(3):  # in another slot of the ring each time
            completion = driver.run(layered_job(driver))
            chip = {layer: {name: board.read_register(snapshot_offset(layer, name)) for name, _ in SNAPSHOT_COUNTERS}
                    for layer in LAYERS}
            assert completion.snapshots == chip
            cycles = [chip[layer]["CYCLES"] for layer in LAYERS]
            assert 0 < cycles[0] < cycles[1] < cycles[2] <= completion.cycles
            assert chip[200]["COMPUTE"] == completion.counters["COMPUTE"] == sum(n * n for n in (3, 60, 20))
