"""The feeder with a weight memory of 65536 words: tiles at its very end, where a 16-bit address would wrap."""

import cocotb
from lepton.arch import ChipConfig
from lepton_hdl.tensor.feeder import JOB, Feeder

from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb

CONFIG = ChipConfig("full", lanes=4, columns=4, scratchpad_kib=4, weight_kib=256, accumulator_rows=64)
WORDS = CONFIG.weight_words
assert WORDS == 1 << 16


async def fetch(ports: Pins, **job: int) -> tuple[list[int], int | None]:
    """The addresses that the feeder reads for one job, and the address that it calls out of bounds, if any."""
    ports.set(rst=1)
    await ports.tick()
    fields = dict(tiles=1, emits=0, kernel_x=1, kernel_y=1, blocks=1) | job
    ports.set(rst=0, job__valid=1, job__payload=encode(JOB, **fields), tile_take=0)
    await ports.tick()
    ports.set(job__valid=0)
    reads: list[int] = []
    for _ in range(100):
        await ports.settle()
        if ports.get("read__valid"):
            reads.append(ports.get("read__payload"))
        bad = ports.get("bad_address") if ports.get("out_of_bounds") else None
        ready = ports.get("tile_ready")
        await ports.tick()
        if bad is not None:
            return reads, bad
        ports.set(tile_take=ready)
    return reads, None


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def tiles_do_not_wrap(dut):
    """The last tile ends with the memory; the next is an error that names the address in 17 bits."""
    ports = Pins(dut)
    await ports.start(job__valid=0, tile_take=0, params_take=0, parameters__taken=0, data=0)
    tile = CONFIG.columns
    last = list(range(WORDS - tile, WORDS))
    assert await fetch(ports, weights=WORDS - tile) == (last, None)
    assert await fetch(ports, weights=WORDS - tile, blocks=2) == (last, WORDS)
    assert await fetch(ports, weights=WORDS - tile, kernel_y=3) == (last, WORDS)
    assert await fetch(ports, weights=WORDS - 2 * tile, kernel_x=3) == (list(range(WORDS - 2 * tile, WORDS)), WORDS)
    for offset in range(1, tile):
        assert await fetch(ports, weights=WORDS - offset) == ([], WORDS - offset)
    assert await fetch(ports, weights=0, blocks=2) == (list(range(2 * tile)), None)


def test_tile_addresses():
    run_cocotb(Feeder(CONFIG), "feeder_full", __name__)
