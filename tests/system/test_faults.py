"""Programs that are wrong, memory that fails, jobs that take too long: each ends with a report, and the next job runs.

The reports must be those of the golden model for the same program.
"""

import pytest
from lepton.arch import Engine, ErrorCode, Region, TensorOpcode
from lepton.driver import Driver, JobTimeout
from lepton_sim.memory_profile import Fault, FaultKind

from tests.system.programs import (
    ENGINE_BYTES,
    Bench,
    Program,
    bits,
    fill,
    load,
    run_good_program,
    softmax,
    store,
    tensor,
)

LOAD, TENSOR, STORE = Engine.LOAD, Engine.TENSOR, Engine.STORE
# Of the configuration tiny: bytes, bytes, words, rows.
SCRATCHPAD = 32 << 10
WEIGHTS = 16 << 10
WEIGHT_WORDS = 4 << 10
ROWS = 256


@pytest.fixture
def device(boards):
    return boards("tiny")


@pytest.fixture
def bench(device):
    with Driver(device) as driver:
        bench = Bench(driver)
        yield bench
        device.clear_faults()
        bench.check_surroundings()


@pytest.fixture
def golden(boards):
    with Driver(boards.golden("tiny")) as driver:
        yield Bench(driver)


def loads(*commands):
    return Program(load=list(commands))


def walks(*commands):
    return Program(tensor=list(commands))


def stores(*commands):
    return Program(store=list(commands))


# name: (program, code, engine, command, layer, address)
ILLEGAL = {
    "opcode of no engine": (loads(load(), b"\x7f" + load(layer=3)[1:]),
                            ErrorCode.ILLEGAL_OPCODE, LOAD, 1, 3, 0x7F),
    "LOAD does not store": (loads(store(layer=9)), ErrorCode.ILLEGAL_OPCODE, LOAD, 0, 9, 0x30),
    "TENSOR does not load": (walks(tensor(0x10, layer=1)), ErrorCode.ILLEGAL_OPCODE, TENSOR, 0, 1, 0x10),
    "STORE does not load": (stores(store(), load(layer=2)), ErrorCode.ILLEGAL_OPCODE, STORE, 1, 2, 0x10),
    "header not zero": (loads(load(reserved_header=5)), ErrorCode.ILLEGAL_FIELD, LOAD, 0, 0, 5),
    "no rows": (loads(load(), load(), load(count2=0, layer=300)), ErrorCode.ILLEGAL_FIELD, LOAD, 2, 300, 0),
    "no bytes": (stores(store(0)), ErrorCode.ILLEGAL_FIELD, STORE, 0, 0, 0),
    "region 4": (loads(load(region=4)), ErrorCode.ILLEGAL_FIELD, LOAD, 0, 0, 4),
    "space 2": (loads(fill(space=2)), ErrorCode.ILLEGAL_FIELD, LOAD, 0, 0, 2),
    "store from weights": (stores(store(space=1)), ErrorCode.ILLEGAL_FIELD, STORE, 0, 0, 1),
    "no pixels": (walks(tensor(ny=0)), ErrorCode.ILLEGAL_FIELD, TENSOR, 0, 0, 0),
    "no passes": (walks(tensor(blocks=0)), ErrorCode.ILLEGAL_FIELD, TENSOR, 0, 0, 0),
    "shift of 32": (walks(tensor(add_shift_b=32)), ErrorCode.ILLEGAL_FIELD, TENSOR, 0, 0, 32),
    "reserved end": (walks(tensor(reserved_end=0x2001)), ErrorCode.ILLEGAL_FIELD, TENSOR, 0, 0, 0x2001),
    "snapshot without slot": (walks(tensor(snapshot=1, layer=256)), ErrorCode.ILLEGAL_FIELD, TENSOR, 0, 256, 256),
}
ADDRESSES = {
    "load past the scratchpad": (loads(load(8, local=SCRATCHPAD - 4)), ErrorCode.LOCAL_BOUNDS, LOAD, 0, 0,
                                 SCRATCHPAD - 4),
    "a later row past the scratchpad": (loads(load(16, count1=9, local_step1=SCRATCHPAD // 8)),
                                        ErrorCode.LOCAL_BOUNDS, LOAD, 0, 0, SCRATCHPAD),
    "fill past the weights": (loads(fill(4, space=1, local=WEIGHTS)), ErrorCode.LOCAL_BOUNDS, LOAD, 0, 0, WEIGHTS),
    "below zero": (loads(fill(4, count1=2, local_step1=-4)), ErrorCode.LOCAL_BOUNDS, LOAD, 0, 0, (1 << 32) - 4),
    "store past the scratchpad": (stores(store(5, local=SCRATCHPAD - 4)), ErrorCode.LOCAL_BOUNDS, STORE, 0, 0,
                                  SCRATCHPAD - 4),
    "input past the scratchpad": (walks(tensor(nx=4, in_addr=SCRATCHPAD - 11)), ErrorCode.LOCAL_BOUNDS, TENSOR, 0, 0,
                                  SCRATCHPAD - 3),
    "output past the scratchpad": (walks(tensor(nx=4, out_addr=SCRATCHPAD - 8)), ErrorCode.LOCAL_BOUNDS, TENSOR, 0, 0,
                                   SCRATCHPAD),
    "residual past the scratchpad": (walks(tensor(add=1, res_addr=SCRATCHPAD)), ErrorCode.LOCAL_BOUNDS, TENSOR, 0, 0,
                                     SCRATCHPAD),
    "tile past the weights": (walks(tensor(TensorOpcode.DOT, weights=WEIGHT_WORDS - 3)), ErrorCode.LOCAL_BOUNDS,
                              TENSOR, 0, 0, WEIGHT_WORDS - 3),
    "second tile past the weights": (walks(tensor(TensorOpcode.DOT, kernel_x=3, weights=WEIGHT_WORDS - 8)),
                                     ErrorCode.LOCAL_BOUNDS, TENSOR, 0, 0, WEIGHT_WORDS),
    "tile far past the weights": (walks(tensor(TensorOpcode.DOT, weights=2 * WEIGHT_WORDS + 10)),
                                  ErrorCode.LOCAL_BOUNDS, TENSOR, 0, 0, 2 * WEIGHT_WORDS + 10),
    "parameters past the weights": (walks(tensor(params=WEIGHT_WORDS - 9)), ErrorCode.LOCAL_BOUNDS, TENSOR, 0, 0,
                                    WEIGHT_WORDS - 9),
    "load to the middle of a word": (loads(load(local=2)), ErrorCode.LOCAL_ALIGNMENT, LOAD, 0, 0, 2),
    "step to the middle of a word": (loads(load(4, count1=2, local_step1=6)), ErrorCode.LOCAL_ALIGNMENT, LOAD, 0, 0, 6),
    "store from the middle of a word": (stores(store(local=9)), ErrorCode.LOCAL_ALIGNMENT, STORE, 0, 0, 9),
    "output in the middle of a word": (walks(tensor(out_addr=6)), ErrorCode.LOCAL_ALIGNMENT, TENSOR, 0, 0, 6),
    "output steps not by words": (walks(tensor(out_y=-2)), ErrorCode.LOCAL_ALIGNMENT, TENSOR, 0, 0, (1 << 32) - 2),
    "residual in the middle of a word": (walks(tensor(add=1, res_addr=1)), ErrorCode.LOCAL_ALIGNMENT, TENSOR, 0, 0, 1),
    "too many pixels": (walks(tensor(nx=ROWS + 1)), ErrorCode.ACCUMULATOR_BOUNDS, TENSOR, 0, 0, ROWS),
    "accumulators begin too late": (walks(tensor(), tensor(nx=3, ny=3, acc=ROWS - 8, layer=4)),
                                    ErrorCode.ACCUMULATOR_BOUNDS, TENSOR, 1, 4, ROWS),
    "load past its region": (loads(load(64, offset=(1 << 16) - 63)), ErrorCode.MEMORY_BOUNDS, LOAD, 0, 0,
                             (1 << 16) - 63),
    "load before its region": (loads(load(4, count1=2, mem_step1=-1)), ErrorCode.MEMORY_BOUNDS, LOAD, 0, 0,
                               (1 << 32) - 1),
    "a later row past its region": (loads(load(), load(100, region=Region.SCRATCH, count2=50, mem_step2=90, layer=7)),
                                    ErrorCode.MEMORY_BOUNDS, LOAD, 1, 7, 45 * 90),
    "store past its region": (stores(store(), store(4097, region=Region.SCRATCH)), ErrorCode.MEMORY_BOUNDS, STORE, 1,
                              0, 0),
}
SEMAPHORES = {
    "nobody posts": (Program(load=[load()], store=[store(wait=bits(3, 12), layer=5)]), ErrorCode.DEADLOCK, STORE, 0, 5,
                     bits(3, 12)),
    "each waits for the other": (Program(load=[load(), load(wait=bits(15), post=bits(0), layer=8)],
                                         tensor=[tensor(wait=bits(0), post=bits(15))]), ErrorCode.DEADLOCK, LOAD, 1, 8,
                                 bits(15)),
    "posted once, taken twice": (Program(load=[load(post=bits(9))], tensor=[tensor(wait=bits(9))] * 2),
                                 ErrorCode.DEADLOCK, TENSOR, 1, 0, bits(9)),
    "never taken": (loads(*[fill(4, post=bits(2), layer=6)] * 256), ErrorCode.SEMAPHORE_OVERFLOW, LOAD, 255, 6,
                    bits(2)),
}
WRONG = ILLEGAL | ADDRESSES | SEMAPHORES


def report(error):
    return None if error is None else (error.code, error.engine, error.command, error.layer, error.address)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_programs(bench, golden, name):
    program, *expected = WRONG[name]
    bench_error = bench.error(program)
    assert report(bench_error) == tuple(expected)
    assert report(golden.error(program)) == tuple(expected)
    code, engine, command, layer, address = expected
    assert (f"the chip stopped job 'by hand' with {code.name}: {code.text} "
            f"({engine.name} command {command}, layer {layer}, address {address:#x}; registers: STATUS=0x3"
            ) in str(bench_error)
    run_good_program(bench)


def test_rows_before_the_wrong_one_have_happened(bench):
    """And nothing after it has."""
    program = stores(store(8), store(8, offset=100), store(8, offset=200, local=3), store(8, offset=300))
    error = bench.error(program)
    assert (error.code, error.command) == (ErrorCode.LOCAL_ALIGNMENT, 2)
    output = bench.results()[Region.OUTPUT]
    touched = {int(i) // 100 for i in (output != 0xA5).nonzero()[0]}
    assert touched <= {0, 1} and (output[8:100] == 0xA5).all() and (output[108:] == 0xA5).all()
    run_good_program(bench)


# Memory that fails

KINDS = {FaultKind.SLVERR: ErrorCode.AXI_SLVERR, FaultKind.DECERR: ErrorCode.AXI_DECERR}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", Engine)
def test_fetching_the_program_fails(bench, device, engine, kind):
    program = Program(load=[load()] * 20, tensor=[tensor()] * 20, store=[store()] * 20, rows=[softmax()] * 20)
    _, streams = program.image()
    first = bench.address(Region.PROGRAM) + streams[engine].offset + 13 * ENGINE_BYTES[engine]
    device.add_fault(Fault(first, first + 15, kind))
    error = bench.error(program)
    assert report(error) == (KINDS[kind], engine, 13, 0, first)
    device.clear_faults()
    run_good_program(bench)


@pytest.mark.parametrize("kind", KINDS)
def test_loading_fails(bench, device, kind):
    """The third row of the second command; rows are 200 bytes, so bursts begin where rows do, aligned to the bus."""
    first = bench.address(Region.INPUT) + 4000
    device.add_fault(Fault(first, first, kind, on_write=False))
    error = bench.error(loads(load(), load(200, offset=3600, count1=9, mem_step1=200, local_step1=200, layer=77)))
    assert report(error)[:4] == (KINDS[kind], LOAD, 1, 77)
    assert first - 200 < error.address <= first
    device.clear_faults()
    run_good_program(bench)


@pytest.mark.parametrize("kind", KINDS)
def test_storing_fails(bench, device, kind):
    first = bench.address(Region.OUTPUT) + 4096
    device.add_fault(Fault(first + 700, first + 701, kind, on_read=False))
    error = bench.error(stores(store(), store(8192, offset=2048, layer=21), store()))
    assert report(error)[:4] == (KINDS[kind], STORE, 1, 21)
    assert first <= error.address <= first + 701
    device.clear_faults()
    run_good_program(bench)


@pytest.mark.parametrize(("region", "engine"), [(Region.PROGRAM, LOAD), (Region.INPUT, LOAD), (Region.OUTPUT, STORE)])
def test_memory_that_never_answers(bench, device, region, engine):
    """The driver lets memory forget what is outstanding, as the text of AXI_TIMEOUT demands."""
    first = bench.address(region)
    device.add_fault(Fault(first, first + 63, FaultKind.HANG))
    error = bench.error(Program(load=[load(post=1)], store=[store(wait=1)], timeout=2000))
    assert (error.code, error.engine) == (ErrorCode.AXI_TIMEOUT, engine)
    assert error.address == first
    assert ("memory did not answer within TIMEOUT cycles; its outstanding transactions must end, or be forgotten with "
            "CONTROL.MEMORY_RESET, before the next job") in str(error)
    device.clear_faults()
    run_good_program(bench)


@pytest.mark.parametrize(("region", "program"), [
    (Region.INPUT, loads(load())), (Region.OUTPUT, stores(store()))])
def test_memory_that_never_answers_and_nobody_watches(bench, device, region, program):
    """Without a time-out the driver's limit ends the job; aborting cannot, so it resets the chip."""
    first = bench.address(region)
    device.add_fault(Fault(first, first + 63, FaultKind.HANG))
    program.timeout = 0
    with pytest.raises(JobTimeout, match="did not finish within cycle_limit=3000 cycles and was aborted"):
        bench.run(program, cycle_limit=3000)
    device.clear_faults()
    run_good_program(bench)


# Jobs that take too long

LONG = {
    "fill": loads(fill(4, count1=65535, count2=65535)),
    "load": loads(load(4096, count1=65535, count2=65535)),
    "store": stores(store(4096, count1=65535, count2=65535)),
    "tensor": walks(tensor(nx=200, kernel_x=255, kernel_y=255, blocks=65535)),
    "all": Program([load(1024, count1=65535)], [tensor(nx=200, kernel_x=255, kernel_y=255)],
                   [store(1024, count1=65535)]),
}


@pytest.mark.parametrize("limit", [1, 900, 12345])
@pytest.mark.parametrize("name", LONG)
def test_long_jobs_are_aborted(bench, device, name, limit):
    with pytest.raises(JobTimeout, match=f"did not finish within cycle_limit={limit} cycles and was aborted"):
        bench.run(LONG[name], cycle_limit=limit)
    before = device.cycles
    run_good_program(bench)
    assert device.cycles - before < 10_000, "the aborted job still kept the chip or its memory busy"
