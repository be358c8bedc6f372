"""Repeated commands on the chip: the golden model's bytes, and its error reports."""

import lepton.device
import pytest
from lepton.arch import TensorOpcode
from lepton.compiler import compile_graph
from lepton.driver import Driver
from lepton.runtime import ComparingSession

from tests.host.compiler.compiler_graphs import Builder, random_inputs
from tests.system.programs import Bench, Program, bits, fill, load, run_good_program, store, tensor

SHAPES = [(1, 1), (3, 5), (17, 70), (64, 33), (300, 9), (40, 130)]  # inputs, outputs: ragged, one block, many


@pytest.fixture
def bench(boards):
    with Driver(boards("tiny")) as driver:
        yield Bench(driver)


@pytest.fixture
def golden():
    with lepton.device.open("golden", config="tiny", memory_bytes=1 << 24, check_races=True) as device, \
            Driver(device) as driver:
        yield Bench(driver)


@pytest.mark.parametrize("inputs, outputs", SHAPES)
@pytest.mark.parametrize("config", ["tiny", "base"])
def test_fully_connected_layers(boards, config, inputs, outputs):
    """A chain of two with a fused addition: interleaved reductions, a ragged last block, residual, fence."""
    b = Builder((1, inputs), seed=inputs)
    x = b.dense("image", outputs)
    y = b.dense(x, outputs)
    b.add(y, x)
    model = compile_graph(b.done(), config)
    board = boards(config, "random" if outputs % 2 else "default")
    with ComparingSession(model, board, boards.golden(config)) as session:
        compared = session.run(random_inputs(b.graph, 1))
    assert not compared.differences


# name: a program that stops in some round of a repeated command
STOPS = {
    "load beyond the region": Program([fill(64), load(64, repeat=1, count3=9, mem_step3=16384, local_step3=64)]),
    "store beyond the scratchpad": Program(store=[store(64, repeat=1, count3=900, local_step3=64, mem_step3=64)]),
    "results beyond the scratchpad": Program(tensor=[
        tensor(nx=5, repeat=1, nz=60, out_addr=16384, out_z=1024, params=0, weights=0)]),
    "tiles beyond the weight memory": Program(tensor=[
        tensor(TensorOpcode.DOT, nx=5, repeat=1, nz=5, weights=0, params=1500, last=0)]),
    "no round": Program(tensor=[tensor(repeat=1, nz=0)]),
    "a semaphore that only the first round finds": Program(
        load=[fill(64, local=8192, post=bits(3))],
        tensor=[tensor(out_addr=4096), tensor(out_addr=4096, repeat=1, nz=4, wait=bits(3))]),
    "a uniform scale with a residual": Program(tensor=[tensor(uniform=1, add=1)]),
}


@pytest.mark.parametrize("name", STOPS)
def test_errors_name_the_record(bench, golden, name):
    expected = golden.error(STOPS[name])
    found = bench.error(STOPS[name])
    assert expected is not None
    assert [getattr(found, what) for what in ("code", "engine", "command", "layer", "address")] == \
           [getattr(expected, what) for what in ("code", "engine", "command", "layer", "address")]
    run_good_program(bench)


def test_semaphores_of_the_first_and_the_last_round(bench, golden):
    """Every round copies a pixel; the last lets the rounds of the STORE go, whose last lets LOAD go on."""
    program = Program(
        load=[fill(256, space=1), load(64, post=bits(1)), fill(4, local=8192, fill=5, wait=bits(13))],
        tensor=[tensor(repeat=1, nz=16, in_z=4, uniform=1, add_mult_a=1 << 30, add_shift_a=1,
                       out_addr=4096, out_z=4, first_wait=1, last_post=12)],
        store=[store(4, repeat=1, count3=16, local=4096, local_step3=4, mem_step3=8, first_wait=12, last_post=13)])
    results = []
    for side in (golden, bench):
        side.run(program)
        results.append(side.results())
    for region, wanted in results[0].items():
        assert (results[1][region] == wanted).all() and (region.name != "OUTPUT" or (wanted != 0xA5).sum() > 40)
