"""Random ROWS commands while TENSOR takes banks of the scratchpad: every byte and every error report of the RTL is the
golden model's, in either mode of the memory."""

import random

import lepton.device
import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.arch.rows import Rows, RowsOpcode
from lepton.driver import Driver
from lepton_sim.golden.races import RaceError

from tests.hdl.rows.commands import blank_chip, random_command
from tests.seeds import seeds
from tests.system.programs import LANES, Bench, Program, bits, fill, load, run_good_program, store, tensor

CYCLE_LIMIT = 1_000_000  # of a job; more than any takes that ends
JOBS = 16  # of each seed
CONFIG = PRESETS["tiny"]
# The scratchpad is inputs, outputs and constants, a third each; of the last, TENSOR writes the end.
CONSTANTS = CONFIG.scratchpad_words // 3 * 2 * LANES
TENSOR_RESULTS = CONFIG.scratchpad_bytes - 4096
LONGEST = 400  # channels of a row, whose parameters end before TENSOR's results
WORK = 20_000  # words of a command that the golden model is to execute
FIXED_SEEDS = range(2)


@pytest.fixture
def golden():
    with lepton.device.open("golden", config="tiny", memory_bytes=1 << 24, check_races=True) as device, \
            Driver(device) as driver:
        yield Bench(driver)


def random_job(rng: np.random.Generator) -> tuple[Program, np.ndarray]:
    """LOAD fills the scratchpad, ROWS and TENSOR work on it, STORE takes all of it."""
    chip = blank_chip(CONFIG)
    opcode = RowsOpcode(int(rng.choice(list(RowsOpcode))))
    first = random_command(chip, opcode, length=int(rng.integers(1, LONGEST)))
    repeat = int(rng.integers(0, 2))
    first |= dict(repeat=repeat, layer=3, snapshot=1, post=0, wait=0, first_wait=1, last_post=10)
    second = first | dict(load_table=0, out_zero=int(rng.integers(-128, 128)), layer=4, wait=0, first_wait=0,
                          last_post=11)
    commands = [first, second]
    records = [bytearray(Rows.pack(**fields)) for fields in commands]
    if rng.random() < 0.5:
        at = int(rng.integers(8, Rows.size))
        records[int(rng.integers(0, 2))][at] ^= 1 << int(rng.integers(0, 8))
    walk = tensor(nx=int(rng.integers(1, CONFIG.accumulator_rows)), in_addr=CONSTANTS, in_x=LANES,
                  out_addr=TENSOR_RESULTS, wait=bits(2), post=bits(12), kernel_x=int(rng.integers(1, 9)), in_kx=0,
                  snapshot=1, layer=5)
    program = Program(
        [fill(CONFIG.weight_bytes, space=1, fill=1), load(CONFIG.scratchpad_bytes, post=bits(1, 2))], [walk],
        [store(CONFIG.scratchpad_bytes, wait=bits(10, 11, 12))], [bytes(record) for record in records], name="rows",
        layers=(3, 4, 5))
    return program, chip.scratchpad


def is_small(program: Program) -> bool:
    """Whether the golden model is quick with it."""
    fields = [Rows.unpack(command) for command in program.rows]
    return all(f["nx"] * f["ny"] * f["nz"] * (f["length"] // LANES + 1) < WORK for f in fields)


@pytest.mark.parametrize("memory", ["ideal", "random"])
@pytest.mark.parametrize("seed", seeds(*FIXED_SEEDS))
def test_random_rows(boards, golden, seed, memory):
    random.seed(seed * 2 + (memory == "ideal"))
    rng = np.random.default_rng([seed, memory == "ideal"])
    ends = {"done": 0, "error": 0, "race": 0}
    with Driver(boards("tiny", memory)) as driver:
        bench = Bench(driver)
        for _ in range(JOBS):
            program, inputs = random_job(rng)
            if not is_small(program):
                continue
            try:
                expected = golden.outcome(program, inputs, CYCLE_LIMIT)
            except RaceError:
                ends["race"] += 1
                continue
            commands = [Rows.unpack(command) for command in program.rows]
            assert bench.outcome(program, inputs, CYCLE_LIMIT) == expected, commands
            ends["done" if expected[0] == "done" else "error"] += 1
        run_good_program(bench)
        bench.check_surroundings()
    assert seed not in FIXED_SEEDS or (ends["done"] >= 4 and ends["error"] >= 2), ends
