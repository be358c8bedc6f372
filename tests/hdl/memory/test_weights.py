"""The weight memory: a read and a write every cycle, against a flat memory."""

import random

import cocotb
from lepton_hdl.memory.weights import WeightMemory

from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.memory.configs import WEIGHTS as CONFIG

WORDS, BITS = CONFIG.weight_words, 8 * CONFIG.lanes


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def random_traffic(dut):
    """Reads see the word of before a write in the same cycle; the output holds while nothing is read."""
    ports, rng = Pins(dut), random.Random(random.getrandbits(32))
    await ports.start(read__valid=0, write__valid=0)
    layout = WeightMemory(CONFIG).write.payload.shape()
    memory, shown, same = {}, None, 0
    for cycle in range(WORDS + 4000):
        filling = cycle < WORDS
        near = rng.randrange(WORDS)
        reads, writes = not filling and rng.random() < 0.7, filling or rng.random() < 0.7
        address = cycle if filling else near if rng.random() < 0.5 else rng.randrange(WORDS)
        word = rng.getrandbits(BITS)
        ports.set(read__valid=reads, read__payload=near, write__valid=writes,
                  write__payload=encode(layout, address=address, data=word))
        if reads:
            shown = memory[near]
            same += writes and address == near
        if writes:
            memory[address] = word
        await ports.tick()
        if shown is not None:
            assert ports.get("data") == shown, f"cycle {cycle}"
    assert same > 500


def test_weights():
    run_cocotb(WeightMemory(CONFIG), "weights", __name__)
