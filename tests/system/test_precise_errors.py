"""Errors that name a command: what its engine has written before is the same on the chip, on the golden model and by
the definition in `lepton.arch.commands`, however far ahead the command was seen and whatever memory's timing."""

import random

import lepton.device
import numpy as np
import pytest
from lepton.arch import Dma, Engine, ErrorCode, Region
from lepton.driver import Driver
from lepton_sim.memory_profile import RANDOM

from tests.system.programs import Bench, Program, bits, fill, load, store, tensor

ROW = 512
OUT = 0x4000  # on chip, of TENSOR's results


@pytest.fixture(scope="module", params=["default", "slow", 3, 8])
def benches(request):
    """(chip, golden model); a number is the seed of random memory timing."""
    memory = RANDOM(request.param) if isinstance(request.param, int) else request.param
    with lepton.device.open("rtl", config="tiny", memory_bytes=1 << 22, memory=memory) as chip, \
            lepton.device.open("golden", config="tiny", memory_bytes=1 << 22) as golden, \
            Driver(chip) as first, Driver(golden) as second:
        yield Bench(first), Bench(second)


def header(command, **values):
    """A command with bytes of its header replaced."""
    changed = bytearray(command)
    for name, value in values.items():
        changed[{"opcode": 0, "reserved_header": 1}[name]] = value
    return bytes(changed)


def stores(count, rng):
    """Rows that each take many bursts, at places of their own."""
    places = rng.sample(range(64), count)
    return [store(ROW, offset=place * ROW, local=n % 8 * ROW, layer=n) for n, place in enumerate(places)]


def wrong_headers(rng):
    yield ErrorCode.ILLEGAL_OPCODE, {"opcode": rng.choice([0, 0x7F, 0xFF])}
    yield ErrorCode.ILLEGAL_FIELD, {"reserved_header": rng.randrange(1, 256)}


@pytest.mark.parametrize("wait", [0, bits(5)], ids=["ready", "waiting"])
def test_an_illegal_store_leaves_exactly_what_the_earlier_ones_wrote(benches, wait):
    rng = random.Random(5 + bool(wait))
    for code, wrong in (*wrong_headers(rng), *wrong_headers(rng)):
        before = rng.randrange(1, 7)
        after = stores(3, rng)
        program = Program(store=[*stores(before, rng), header(store(ROW, wait=wait, layer=77), **wrong), *after])
        seen = []
        for bench in benches:
            bench.run(Program(load=[load(8 * ROW)]))  # the same scratchpad on both
            error = bench.error(program)
            assert (error.code, error.engine, error.command, error.layer) == (code, Engine.STORE, before, 77)
            seen.append(bench.results()[Region.OUTPUT])
            bench.check_surroundings()
        written = np.zeros(len(seen[0]), bool)
        for command in program.store[:before]:
            offset = Dma.unpack(command)["offset"]
            written[offset:offset + ROW] = True
        assert (seen[0][~written] == 0xA5).all(), "something was written that no command before the illegal one writes"
        assert np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize("engine", [Engine.LOAD, Engine.TENSOR])
def test_what_an_engine_did_before_its_illegal_command_is_finished(benches, engine):
    """The next job stores what LOAD or TENSOR left on chip: all of their earlier commands, whole."""
    rng = random.Random(9)
    for code, wrong in wrong_headers(rng):
        if engine is Engine.LOAD:
            commands = [load(ROW, offset=n * ROW, local=n * ROW) for n in range(6)]
            bad = header(load(ROW, layer=3), **wrong)
            program = Program(load=[*commands, bad])
        else:
            commands = [tensor(nx=100, in_addr=n * 400, out_addr=OUT + n * 400) for n in range(4)]
            program = Program(load=[load(1600, post=bits(0))],
                              tensor=[tensor(nx=1, out_addr=0x7000, wait=bits(0)), *commands,
                                      header(tensor(layer=3), **wrong)])
        dump = Program(store=[store(6 * ROW), store(1600, offset=6 * ROW, local=OUT)])
        seen = []
        for bench in benches:
            bench.run(Program(load=[fill(6 * ROW), fill(1600, local=OUT, fill=17)]))
            error = bench.error(program)
            assert (error.code, error.engine, error.layer) == (code, engine, 3)
            bench.run(dump)
            seen.append(bench.results()[Region.OUTPUT][:6 * ROW + 1600])
        if engine is Engine.LOAD:
            assert np.array_equal(seen[0][:6 * ROW], benches[0].buffers[Region.INPUT].read(0, 6 * ROW))
        assert np.array_equal(seen[0], seen[1])
