"""The race checker finds planted races, and is silent about programs that are in order."""

import numpy as np
import pytest
from lepton.arch import PRESETS, DmaOpcode, Region, Space, TensorOpcode
from lepton_sim.golden.races import RaceError

from tests.sim.golden.golden_program import BASES, Program, bits, dma, parameters, tensor

TINY = PRESETS["tiny"]
WEIGHTS_HERE = 6
DATA = 0
FREE = 10
RESULT = 11
STORED = 12


def _double_buffered(tiles=6, *, without=(), seed=None):
    """Tiles of 16 words: LOAD to one of two buffers, MAX into one of two others, STORE. `without` drops semaphores."""
    def mask(*semaphores):
        return bits(*(s for s in semaphores if s not in without))

    data = np.random.default_rng(1).integers(-128, 128, tiles * 64).astype(np.int8)
    record = parameters(4)
    program = Program(TINY, constants=record.tobytes(), input=data.tobytes())
    for i in range(tiles):
        late = i >= 2
        program.load.append(dma(region=Region.INPUT, offset=64 * i, row_bytes=64, local=64 * (i % 2), layer=i,
                                wait=mask(FREE) if late else 0, post=mask(DATA)))
        program.tensor.append(tensor(
            TensorOpcode.MAX, layer=i, nx=16, in_w=16, in_x=4, out_x=4, in_addr=64 * (i % 2),
            out_addr=128 + 64 * (i % 2),
            wait=mask(DATA, *[WEIGHTS_HERE] * (i == 0), *[STORED] * late), post=mask(FREE, RESULT)))
        program.store.append(dma(DmaOpcode.STORE, region=Region.OUTPUT, offset=64 * i, row_bytes=64,
                                 local=128 + 64 * (i % 2), wait=mask(RESULT), post=mask(STORED)))
    # Second, so that the first tile's semaphore does not vouch for it as well.
    program.load.insert(1, dma(region=Region.PROGRAM, space=Space.WEIGHTS, offset=Program.CONSTANTS,
                               row_bytes=record.size, post=mask(WEIGHTS_HERE)))
    return program, data


def _races(program, **options):
    with program.open(check_races=True, **options) as device, pytest.raises(RaceError) as error:
        program.start(device)
    assert device.races == error.value.races
    return error.value


@pytest.mark.parametrize("seed", [None, *range(5)])
def test_a_double_buffered_program_is_silent(seed):
    program, data = _double_buffered()
    assert (program.run(len(data), seed=seed) == data).all()


@pytest.mark.parametrize("dropped, memory, what", [
    (WEIGHTS_HERE, "weights", "LOAD command 1"), (DATA, "scratchpad", "LOAD command"),
    (FREE, "scratchpad", "TENSOR command"), (RESULT, "scratchpad", "TENSOR command"),
    (STORED, "scratchpad", "STORE command"),
])
@pytest.mark.parametrize("seed", [None, 3])
def test_every_missing_semaphore_is_found(dropped, memory, what, seed):
    """In whatever order the interpreter happens to run the commands, even one that gives the right result."""
    races = _races(_double_buffered(without=(dropped,))[0], seed=seed).races
    assert {race.memory for race in races} == {memory}
    if seed is None:
        assert any(what in str(race.first) or what in str(race.second) for race in races)


def test_a_buffer_freed_too_early_is_found():
    """The second tile goes where the first one may still be read."""
    program, _ = _double_buffered()
    program.load[2] = dma(region=Region.INPUT, offset=64, row_bytes=64, local=0, layer=1, post=bits(DATA))
    error = _races(program)
    assert str(error).startswith("the program has ")
    assert str(error.races[0]) == (
        "TENSOR command 0 (layer 0) may read before the data is there at scratchpad address 0x0: "
        "no semaphore orders it after LOAD command 2 (layer 1)")


def _chained(**second):
    """Two TENSOR commands, the second reading what the first wrote."""
    record = parameters(4)
    program = Program(TINY, constants=record.tobytes(), input=bytes(range(4)))
    program.load = [dma(region=Region.PROGRAM, space=Space.WEIGHTS, offset=Program.CONSTANTS, row_bytes=record.size),
                    dma(region=Region.INPUT, row_bytes=4, post=bits(0))]
    program.tensor = [tensor(TensorOpcode.SUM, wait=bits(0), post=bits(2), out_addr=4, layer=1),
                      tensor(TensorOpcode.SUM, out_addr=8, layer=2, post=bits(10), **second)]
    program.store = [dma(DmaOpcode.STORE, region=Region.OUTPUT, row_bytes=4, local=8, wait=bits(10))]
    return program


@pytest.mark.parametrize("ordered", [{"fence": 1}, {"wait": bits(2)}])
@pytest.mark.parametrize("reads", [{"in_addr": 4}, {"add": 1, "res_addr": 4, "add_mult_a": 0, "add_mult_b": 1 << 30,
                                                    "add_mult_o": 1 << 30, "add_shift_o": 18}])
def test_results_land_only_behind_a_fence_or_a_semaphore(ordered, reads):
    assert _chained(**ordered, **reads).run(4).tolist() == [0, 1, 2, 3]
    error = _races(_chained(**reads))
    assert str(error.races[0]) == (
        "TENSOR command 1 (layer 2) may read before the data is there at scratchpad address 0x4: "
        "the results of TENSOR command 0 (layer 1) may not have landed; set `fence`")


def test_unaligned_input_touches_both_words():
    assert _races(_chained(in_addr=1)).races[0].address == 4
    assert _chained(in_addr=0).run(4).tolist() == [0, 1, 2, 3]


def test_memory_is_watched_byte_by_byte():
    def program(offset):
        result = Program(TINY, input=bytes(range(32)))
        result.store = [dma(DmaOpcode.STORE, region=Region.SCRATCH, offset=16, row_bytes=5)]
        result.load = [dma(region=Region.SCRATCH, offset=offset, row_bytes=4, local=64)]
        return result
    assert program(12).run(0).size == 0
    assert program(21).run(0).size == 0
    race = _races(program(13)).races[0]
    assert (race.memory, race.address) == ("memory", BASES[Region.SCRATCH] + 16)
    assert _races(program(20)).races[0].address == BASES[Region.SCRATCH] + 20


def test_regions_that_overlap_are_one_memory():
    """The checker compares addresses, not regions."""
    program = Program(TINY)
    program.store = [dma(DmaOpcode.STORE, region=Region.INPUT, offset=0, row_bytes=4)]
    program.load = [dma(region=Region.INPUT, row_bytes=4, local=64)]
    assert _races(program).races[0].memory == "memory"


def test_two_posters_of_one_semaphore_prove_nothing():
    """STORE's take may have been supplied by LOAD's first command, so its second one is not known to be over."""
    program = Program(TINY)
    program.load = [dma(DmaOpcode.FILL, local=64, post=bits(0))]
    program.tensor = [tensor(TensorOpcode.SUM, in_w=0, out_addr=0, post=bits(0))]
    program.store = [dma(DmaOpcode.STORE, region=Region.OUTPUT, row_bytes=4, wait=bits(0))]
    assert _races(program).races[0].memory == "scratchpad"
    # Two takes need both posts.
    program.store.insert(0, dma(DmaOpcode.STORE, region=Region.OUTPUT, offset=64, local=128, row_bytes=4, wait=bits(0)))
    assert program.run(0).size == 0


def test_a_walk_that_reads_its_own_results_is_found():
    in_place = Program(TINY, tensor=[tensor(TensorOpcode.SUM, nx=8, in_w=8, in_x=4, out_x=4)])
    assert in_place.run(0).size == 0
    in_place.tensor = [tensor(TensorOpcode.SUM, nx=8, in_w=8, in_x=4, out_x=4, out_addr=8)]
    race = _races(in_place).races[0]
    assert str(race) == (
        "TENSOR command 0 (layer 0) reads what one of its own earlier pixels writes at scratchpad address 0x8: "
        "a walk may only overwrite input that it no longer needs")


def test_undefined_accumulators_are_found():
    def program(*flags):
        return Program(TINY, tensor=[tensor(TensorOpcode.SUM, in_w=0, acc=5, first=first, last=last, out_addr=4)
                                     for first, last in flags])
    assert program((1, 0), (0, 0), (0, 1)).run(0).size == 0
    for flags in [(0, 1)], [(1, 1), (0, 1)]:
        race = _races(program(*flags)).races[0]
        assert (race.memory, race.address, race.second.index) == ("accumulators", 5, len(flags) - 1)
        assert "must set `first`" in str(race)
