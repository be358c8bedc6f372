"""Random chains of commands with `repeat`, uniform scales, no fences and semaphores of first and last rounds: every
byte and every error report of the RTL is the golden model's, in either mode of the memory.

The golden model executes one legal order and reports races, so a chain without one has one outcome, however the
engines overlap.
"""

import lepton.device
import numpy as np
import pytest
from lepton.arch import TensorOpcode
from lepton.driver import Driver
from lepton_sim.golden.races import RaceError

from tests.seeds import seeds
from tests.system.programs import LANES, Bench, Program, bits, fill, load, run_good_program, store, tensor

CYCLE_LIMIT = 100_000  # of a job; more than any takes that ends
CHAINS = 25  # of each seed
# On-chip addresses in bytes; WEIGHTS in words.
IMAGE = 1024
RESULTS = 8192
RESIDUAL = 16384
WEIGHTS = 1024
FIXED_SEEDS = range(2)


@pytest.fixture
def golden():
    with lepton.device.open("golden", config="tiny", memory_bytes=1 << 24, check_races=True) as device, \
            Driver(device) as driver:
        yield Bench(driver)


def random_tensor(rng: np.random.Generator, rounds: int, **fields) -> bytes:
    """A command of `rounds` rounds (with `repeat`) or planes, each reading planes of the image, writing its own."""
    nx = int(rng.integers(1, 20))
    uniform = int(rng.integers(0, 2))
    add = 0
    if not uniform:
        add = int(rng.integers(0, 2))
    scale = (dict(uniform=1, add_mult_a=int(rng.integers(1 << 30, 1 << 31)), add_shift_a=int(rng.integers(0, 3)),
                  add_shift_b=int(rng.integers(0, 12))) if uniform else
             dict(add=add, add_mult_a=1 << 30, add_mult_b=3 << 28, add_mult_o=1 << 30, add_shift_a=1, add_shift_o=17))
    return tensor(TensorOpcode(int(rng.choice([0x20, 0x21, 0x22]))), nx=nx, nz=rounds, repeat=int(rng.integers(0, 2)),
                  in_addr=IMAGE, in_z=LANES * int(rng.integers(0, 9)), blocks=int(rng.integers(1, 3)), in_block=256,
                  out_z=LANES * nx, res_addr=RESIDUAL, res_x=LANES, res_z=LANES * int(rng.integers(0, 20)),
                  rounding=int(rng.integers(0, 3)), out_zero=int(rng.integers(-128, 128)),
                  weights=WEIGHTS, params=WEIGHTS + 4 * LANES, acc_z=int(rng.integers(0, 3)), **scale, **fields)


def chain(rng: np.random.Generator) -> tuple[Program, np.ndarray]:
    """LOAD brings image, residual and weights in rounds, TENSOR works on them in a few commands of several rounds,
    STORE takes the results in rounds; they wait for one another by semaphores of their first and last rounds."""
    rounds = [int(rng.integers(1, 6)) for _ in range(int(rng.integers(1, 5)))]
    repeated = int(rng.integers(0, 2))
    pieces = int(rng.integers(1, 9))
    size = 64 * int(rng.integers(1, 5))
    loads = [
        fill(32 << 10, fill=int(rng.integers(-128, 128))), fill(16 << 10, space=1, fill=int(rng.integers(0, 4))),
        load(size, local=IMAGE, repeat=repeated, count3=pieces, mem_step3=size, local_step3=size,
             **dict(last_post=1) if repeated else dict(post=bits(1))),
        load(size, local=RESIDUAL, offset=4096, post=bits(2)),
        load(64, space=1, local=WEIGHTS * LANES, offset=8192, repeat=1, count3=12, mem_step3=64, local_step3=64,
             last_post=7)]
    # Every round of a repeated command waits for what its record waits for: these come but once.
    tensors = [tensor(in_addr=IMAGE, out_addr=RESULTS - LANES, uniform=1, params=WEIGHTS, wait=bits(2, 7))]
    at = RESULTS
    for i, count in enumerate(rounds):
        first = i == 0
        last = i == len(rounds) - 1
        tensors.append(random_tensor(
            rng, count, out_addr=at, first_wait=1 if first else 0,
            last_post=12 if last else 0, fence=int(rng.random() < 0.3), snapshot=int(rng.integers(0, 2)), layer=i))
        at += 1024
    stores = [store(256, repeat=1, count3=4 * len(rounds), local=RESULTS, local_step3=256, mem_step3=256,
                    first_wait=12)]
    return Program(loads, tensors, stores, name="repeats"), rng.integers(0, 256, 1 << 14, np.uint8)


@pytest.mark.parametrize("memory", ["ideal", "random"])
@pytest.mark.parametrize("seed", seeds(*FIXED_SEEDS))
def test_random_chains(boards, golden, seed, memory):
    rng = np.random.default_rng([seed, memory == "ideal"])
    ends = {"done": 0, "error": 0, "race": 0}
    with Driver(boards("tiny", memory)) as driver:
        bench = Bench(driver)
        for _ in range(CHAINS):
            program, inputs = chain(rng)
            try:
                expected = golden.outcome(program, inputs, CYCLE_LIMIT)
            except RaceError:
                ends["race"] += 1
                continue
            assert bench.outcome(program, inputs, CYCLE_LIMIT) == expected, program.streams
            ends["done" if expected[0] == "done" else "error"] += 1
        run_good_program(bench)
        bench.check_surroundings()
    assert seed not in FIXED_SEEDS or ends["done"] >= CHAINS // 2, ends
