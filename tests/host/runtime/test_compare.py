"""The comparison finds every byte that differs, wherever a program may have written."""

import lepton.device
import numpy as np
import pytest
from lepton.arch import PRESETS, Dma, DmaOpcode, Engine, Region, Stream
from lepton.driver import ChipError
from lepton.program import Binding, Blocked, ChipStep, CompiledModel, TensorInfo
from lepton.runtime import ComparingSession, InputError, difference

SHAPE = (1, 2, 2, 4)
SIZE = 16


def model(opcode=DmaOpcode.STORE):
    one = {"row_bytes": SIZE, "count1": 1, "count2": 1, "count3": 1}
    program = b"".join((Dma.pack(opcode=DmaOpcode.LOAD, region=Region.INPUT, post=3, **one),
                        Dma.pack(opcode=opcode, region=Region.SCRATCH, wait=1, **one),
                        Dma.pack(opcode=opcode, region=Region.OUTPUT, wait=2, **one)))
    layout = Blocked(SHAPE, 2, 2, 4, 4)
    step = ChipStep("step", program, {Engine.LOAD: Stream(0, 1), Engine.STORE: Stream(64, 2)},
                    (Binding("x", 0, layout),), (Binding("y", 0, layout),), SIZE, SIZE, SIZE)
    x, y = (TensorInfo(name, SHAPE, "int8") for name in "xy")
    return CompiledModel("copy", PRESETS["tiny"], "0" * 64, [x], [y], [step])


class Flipping:
    """A golden device with one bit of one job's results wrong: the byte at `offset` of a region."""

    def __init__(self, region, offset):
        self.inner = lepton.device.open("golden", config="tiny")
        self.config = self.inner.config
        self.memory_bytes = self.inner.memory_bytes
        self.region = region
        self.offset = offset

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def wait_interrupt(self, max_cycles):
        address = self.inner.read_register(0x80 + 16 * self.region) + self.offset
        self.inner.write_memory(address, self.inner.read_memory(address, 1) ^ 0x10)
        return self.inner.wait_interrupt(max_cycles)


@pytest.fixture
def golden():
    device = lepton.device.open("golden", config="tiny")
    yield device
    device.close()


def image():
    return np.arange(SIZE, dtype=np.int8).reshape(SHAPE)


def test_equal_devices_have_no_differences(golden):
    with ComparingSession(model(), lepton.device.open("golden", config="tiny"), golden) as session:
        for _ in range(3):
            compared = session.run(image())
            assert compared.differences == ()
            assert compared.bytes_compared == 2 * SIZE
            assert np.array_equal(compared.result.outputs["y"], image())


@pytest.mark.parametrize(("region", "text"), [
    (Region.OUTPUT, "OUTPUT of 'step': 1 of 16 bytes differ, first at offset 5: 0x15, not 0x05"),
    (Region.SCRATCH, "SCRATCH of 'step': 1 of 16 bytes differ, first at offset 5: 0x15, not 0x05"),
])
def test_a_flipped_bit_is_found(golden, region, text):
    with ComparingSession(model(), Flipping(region, 5), golden) as session:
        found = [str(d) for d in session.run(image()).differences]
    assert found[0] == text
    assert len(found) == (2 if region == Region.OUTPUT else 1)  # the output array shows it, too


def test_errors_of_either_side_arrive_and_nothing_hangs(golden):
    with ComparingSession(model(), lepton.device.open("golden", config="tiny"), golden) as session:
        with pytest.raises(InputError, match="must have type int8"):
            session.run(image().astype(float))
        assert not session.run(image()).differences
    with ComparingSession(model(opcode=0x7E), lepton.device.open("golden", config="tiny"), golden) as session, \
            pytest.raises(ChipError, match="ILLEGAL_OPCODE"):
        session.run(image())


def test_arrays_of_different_kinds_are_not_compared():
    with pytest.raises(ValueError, match=r"output: int8\(3,\) cannot be compared with int8\(4,\)"):
        difference("output", np.zeros(3, np.int8), np.zeros(4, np.int8))
