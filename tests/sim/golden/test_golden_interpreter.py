"""Streams, semaphores and every way in which a job stops."""

import numpy as np
import pytest
from lepton.arch import PRESETS, Dma, DmaOpcode, Engine, ErrorCode, Region, Space, Tensor, TensorOpcode
from lepton.arch.registers import State

from tests.sim.golden.golden_program import (
    BASES,
    REGION_BYTES,
    Program,
    bits,
    dma,
    error_of,
    parameters,
    register,
    tensor,
)

TINY = PRESETS["tiny"]
STORE = DmaOpcode.STORE
LAST_BYTES = TINY.scratchpad_bytes - TINY.lanes


def _program(load=(), tensor_=(), store=()):
    return Program(TINY, list(load), list(tensor_), list(store))


def _copies(count, seed_input=b""):
    """Memory to memory through the same scratchpad word, `count` times: LOAD and STORE in lockstep."""
    load = [dma(region=Region.INPUT, offset=4 * i, row_bytes=4, wait=bits(10) if i else 0, post=bits(0))
            for i in range(count)]
    store = [dma(STORE, region=Region.OUTPUT, offset=4 * i, row_bytes=4, wait=bits(0), post=bits(10))
             for i in range(count)]
    program = _program(load, (), store)
    program.input = seed_input
    return program


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_semaphores_order_the_engines(seed):
    data = np.arange(-40, 40, dtype=np.int8)
    assert (_copies(20, data.tobytes()).run(80, seed=seed) == data).all()


def test_a_command_takes_all_its_semaphores_or_none():
    """STORE waits for two engines; each post alone is not enough, and none is lost."""
    identity = parameters(4)
    program = Program(TINY, constants=identity.tobytes(), input=bytes([5, 6, 7, 8]))
    program.load = [
        dma(region=Region.PROGRAM, space=Space.WEIGHTS, offset=Program.CONSTANTS, row_bytes=identity.size,
            post=bits(6)),
        dma(region=Region.INPUT, row_bytes=4, post=bits(0, 11))]
    program.tensor = [tensor(TensorOpcode.SUM, out_addr=4, wait=bits(0, 6), post=bits(10))]
    program.store = [dma(STORE, region=Region.OUTPUT, row_bytes=8, wait=bits(10, 11))]
    assert program.run(8).tolist() == [5, 6, 7, 8] * 2


def test_nothing_to_do_is_done():
    program = _program()
    with program.open() as device:
        assert program.start(device) == State.DONE


def test_state_stays_between_jobs_and_semaphores_do_not():
    program = _program([dma(region=Region.INPUT, row_bytes=4, post=bits(3))])
    program.input = b"abcd"
    with program.open() as device:
        assert program.start(device) == State.DONE
        again = _program(store=[dma(STORE, region=Region.OUTPUT, row_bytes=4)])
        assert again.start(device) == State.DONE
        assert device.read_memory(BASES[Region.OUTPUT], 4).tobytes() == b"abcd"
        waiting = _program(store=[dma(STORE, region=Region.OUTPUT, row_bytes=4, wait=bits(3))])
        assert waiting.start(device) == State.ERROR
        assert error_of(device)["code"] == ErrorCode.DEADLOCK
        # The next job starts with clear error registers.
        assert again.start(device) == State.DONE
        assert error_of(device)["code"] == ErrorCode.NONE


def test_deadlock_names_the_first_stuck_engine_and_what_it_lacks():
    program = _program([dma(), dma(layer=7, wait=bits(2, 5)), dma()], [tensor(TensorOpcode.SUM, wait=bits(3))])
    program.load[0] = dma(post=bits(2))
    assert program.fail() == {"code": ErrorCode.DEADLOCK, "engine": Engine.LOAD, "command": 1, "layer": 7,
                              "address": bits(5)}


def test_semaphore_overflow():
    fill = dma(DmaOpcode.FILL, layer=3, post=bits(4, 9))
    assert _program([fill] * 255).run(0).size == 0
    assert _program([fill] * 256).fail() == {"code": ErrorCode.SEMAPHORE_OVERFLOW, "engine": Engine.LOAD,
                                             "command": 255, "layer": 3, "address": bits(4, 9)}


def test_an_engine_fails_only_when_its_turn_comes():
    """An engine's earlier commands finish first. Its opcode and header are checked before its semaphores, as in
    hardware; the other fields when it has them, so that a command that nobody lets start is a deadlock."""
    program = _program([dma(opcode=STORE, wait=bits(1))])
    assert program.fail()["code"] == ErrorCode.ILLEGAL_OPCODE
    program = _program([dma(row_bytes=0, wait=bits(1))])
    assert program.fail()["code"] == ErrorCode.DEADLOCK


def _dma_error(code, address, **fields):
    return pytest.param("load", dma(**({"layer": 5} | fields)), code, address)


def _tensor_error(code, address, opcode=TensorOpcode.DOT, **fields):
    return pytest.param("tensor", tensor(opcode, layer=5, **fields), code, address)


def _patched(command: bytes, record, name: str, value: int) -> bytes:
    word = int.from_bytes(command, "little") | value << record.offset(name)
    return word.to_bytes(len(command), "little")


def _reserved():
    for record, stream, good in ((Dma, "load", dma(layer=5)), (Tensor, "tensor", tensor(TensorOpcode.SUM, layer=5))):
        for field in record.fields:
            if field.name.startswith("reserved"):
                yield pytest.param(stream, _patched(good, record, field.name, 1), ErrorCode.ILLEGAL_FIELD, 1,
                                   id=f"{record.name}.{field.name}")


ILLEGAL = ErrorCode.ILLEGAL_FIELD
LOCAL = ErrorCode.LOCAL_BOUNDS
UNALIGNED = ErrorCode.LOCAL_ALIGNMENT


@pytest.mark.parametrize("stream, command, code, address", [
    *_reserved(),
    _dma_error(ErrorCode.ILLEGAL_OPCODE, 0x30, opcode=STORE),
    _dma_error(ErrorCode.ILLEGAL_OPCODE, 0, opcode=0),
    pytest.param("store", dma(DmaOpcode.LOAD, layer=5), ErrorCode.ILLEGAL_OPCODE, 0x10),
    pytest.param("tensor", tensor(0x24, layer=5), ErrorCode.ILLEGAL_OPCODE, 0x24),
    *[_dma_error(ILLEGAL, 0, **{name: 0}) for name in ("row_bytes", "count1", "count2", "count3")],
    _dma_error(ILLEGAL, 4, region=4),
    _dma_error(ILLEGAL, 2, space=2),
    pytest.param("store", dma(STORE, layer=5, space=1), ILLEGAL, 1),
    *[_tensor_error(ILLEGAL, 0, **{name: 0}) for name in ("kernel_x", "kernel_y", "blocks", "nx", "ny", "nz")],
    *[_tensor_error(ILLEGAL, 32, **{f"add_shift_{name}": 32}) for name in "abo"],
    _dma_error(UNALIGNED, 6, local=6),
    _dma_error(UNALIGNED, 2, count1=3, local_step1=2),
    _dma_error(LOCAL, TINY.scratchpad_bytes, local=TINY.scratchpad_bytes),
    _dma_error(LOCAL, LAST_BYTES, local=LAST_BYTES, row_bytes=5),
    _dma_error(LOCAL, LAST_BYTES + 4, local=LAST_BYTES - 4, row_bytes=4, count1=9, local_step1=4),
    _dma_error(LOCAL, 2**32 - 4, row_bytes=4, count2=2, local_step2=-4),
    _dma_error(LOCAL, TINY.weight_bytes, space=Space.WEIGHTS, local=TINY.weight_bytes),
    _dma_error(LOCAL, 2**31, opcode=DmaOpcode.FILL, local=2**31),
    _dma_error(ErrorCode.MEMORY_BOUNDS, REGION_BYTES - 15, offset=REGION_BYTES - 15),
    _dma_error(ErrorCode.MEMORY_BOUNDS, 2**32 - 1, count3=2, mem_step3=-1),
    _dma_error(ErrorCode.MEMORY_BOUNDS, REGION_BYTES, count1=65535, count2=65535, mem_step1=1 << 10, row_bytes=4),
    _tensor_error(UNALIGNED, 2, out_addr=2), _tensor_error(UNALIGNED, 2**32 - 3, out_y=-3),
    _tensor_error(UNALIGNED, 1, add=1, res_addr=1), _tensor_error(UNALIGNED, 9, add=1, res_z=9),
    _tensor_error(LOCAL, TINY.weight_words - 3, weights=TINY.weight_words - 3, first=1, last=0),
    _tensor_error(LOCAL, TINY.weight_words - 2, weights=TINY.weight_words - 10, blocks=3, last=0),
    _tensor_error(LOCAL, TINY.weight_words - 9, params=TINY.weight_words - 9),
    _tensor_error(ErrorCode.ACCUMULATOR_BOUNDS, 256, nx=2, in_w=2, acc=255),
    _tensor_error(ErrorCode.ACCUMULATOR_BOUNDS, 300, acc=300),
    _tensor_error(ErrorCode.ACCUMULATOR_BOUNDS, 256, nx=65535, ny=65535, nz=65535),
    _tensor_error(LOCAL, LAST_BYTES + 1, in_addr=LAST_BYTES + 1),
    _tensor_error(LOCAL, 2**32 - 1, nx=2, in_w=2, in_x=-1),
    _tensor_error(LOCAL, LAST_BYTES + 8, out_addr=LAST_BYTES, nx=2, out_x=8, last=1),
    _tensor_error(LOCAL, 2**32 - 4, add=1, res_addr=0, nx=2, res_x=-4),
    # What is met first is reported: pixel by pixel, the input before the output, the output only on the last pass.
    _tensor_error(LOCAL, 2**20, nx=3, in_w=3, in_x=2**20, out_x=2**30),
    _tensor_error(LOCAL, 2**30, nx=3, in_w=1, in_x=2**20, out_x=2**30),
    _tensor_error(LOCAL, 2**20, kernel_x=2, in_w=2, in_kx=2**20, out_addr=2**30),
])
def test_illegal_commands_stop_the_job(stream, command, code, address):
    """The illegal command is the third of its stream."""
    program = _program()
    fine = {"load": dma(), "tensor": tensor(TensorOpcode.SUM), "store": dma(STORE, region=Region.OUTPUT)}[stream]
    getattr(program, stream).extend([fine, fine, command])
    assert program.fail() == {"code": code, "engine": ["load", "tensor", "store"].index(stream), "command": 2,
                              "layer": 5, "address": address}


def test_padding_may_lie_anywhere():
    program = _program(tensor_=[tensor(TensorOpcode.SUM, in_addr=-1 << 31, in_w=0)])
    assert program.run(0).size == 0


def _registers_changed(program, **values):
    """Error registers of a job whose registers were changed after they were set."""
    with program.open() as device:
        program.start(device)
        for name, value in values.items():
            device.write_register(register(name), value)
        device.write_register(register("DOORBELL"), 1)
        assert device.read_register(register("STATUS")) == State.ERROR
        return error_of(device)


def test_memory_that_does_not_exist():
    program = _program([dma(region=Region.INPUT, offset=12)])
    error = _registers_changed(program, INPUT_BASE=0, INPUT_BASE_HI=3, INPUT_SIZE=4096)
    assert (error["code"], error["address"]) == (ErrorCode.AXI_DECERR, (3 << 32) + 12)
    end = 4 * REGION_BYTES
    error = _registers_changed(program, INPUT_BASE=end - 16, INPUT_SIZE=4096)
    assert (error["code"], error["address"]) == (ErrorCode.AXI_DECERR, end)
    error = _registers_changed(program, PROGRAM_BASE=0, PROGRAM_BASE_HI=1)
    assert (error["code"], error["engine"], error["address"]) == (ErrorCode.AXI_DECERR, Engine.LOAD, 1 << 32)


def test_streams_are_checked_before_anything_runs():
    program = _program([dma(DmaOpcode.FILL)] * 3, (), [dma(STORE, region=Region.OUTPUT)])
    error = _registers_changed(program, PROGRAM_SIZE=2 * 64 + 63, STORE_PROGRAM=0)
    assert error == {"code": ErrorCode.MEMORY_BOUNDS, "engine": Engine.LOAD, "command": 2, "layer": 0, "address": 128}
    error = _registers_changed(program, STORE_PROGRAM=32)
    assert error == {"code": ErrorCode.ILLEGAL_FIELD, "engine": Engine.STORE, "command": 0, "layer": 0, "address": 32}
