"""The march between its registers and a memory with defects."""

import random

from lepton.arch import ChipConfig

from tests.bench.pins import Pins

DEPTH, BITS = 24, 32  # not a power of two
CONFIG = ChipConfig("march", lanes=4, columns=4, scratchpad_kib=1, weight_kib=1, accumulator_rows=16)
LIMIT = 2_000


class Memory:
    """Words with a defect: bits of a cell that are stuck, or a decoder that takes one address for another."""

    def __init__(self, stuck=None, alias=None, coupled=None):
        self.words = [random.getrandbits(BITS) for _ in range(DEPTH)]
        self.stuck = stuck  # address, bit, value
        self.alias = alias or {}
        self.coupled = coupled  # writing the first address also flips bit 0 of the second

    def read(self, address):
        word = self.words[self.alias.get(address, address)]
        if self.stuck and self.stuck[0] == address:
            _, bit, value = self.stuck
            word = word & ~(1 << bit) | value << bit
        return word

    def write(self, address, word):
        self.words[self.alias.get(address, address)] = word
        if self.coupled and self.coupled[0] == address:
            self.words[self.coupled[1]] ^= 1


async def march(pins, memory, stall=0.0):
    """Run the test to its end; whether it says that the memory failed."""
    pins.set(start=1)
    await pins.tick()
    pins.set(start=0)
    assert pins.get("busy")
    data = 0
    for _ in range(LIMIT):
        can_read, can_write = random.random() >= stall, random.random() >= stall
        pins.set(read__request__ready=can_read, write__ready=can_write, read__data=data)
        await pins.settle()
        data = random.getrandbits(BITS)  # only the cycle after a request counts
        if pins.get("read__request__valid") and can_read:
            data = memory.read(pins.get("read__request__payload"))
        if pins.get("write__valid") and can_write:
            payload = pins.get("write__payload")
            memory.write(payload & 31, payload >> 5)
        await pins.tick()
        if not pins.get("busy"):
            return bool(pins.get("failed"))
    raise AssertionError("the march does not end")


async def start(dut):
    pins = Pins(dut)
    await pins.start(start=0, read__request__ready=0, write__ready=0, read__data=0)
    return pins
