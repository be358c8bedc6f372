"""The program that a board runs while it is built: sound on every chip, and of use to the compiler."""

import numpy as np
import pytest
from lepton.arch import PRESETS, Engine, Tensor, TensorOpcode
from lepton.arch.registers import REGISTERS, State
from lepton.device import open as open_device
from lepton_sim import board, training
from lepton_sim.build import build_verilog
from lepton_sim.memory_profile import DEFAULT
from lepton_sim.rtl_device import RtlDevice
from lepton_sim.verilog import generate

from tests.sim.copier import Copier


def register(device, name):
    return device.read_register(REGISTERS[name].offset)


@pytest.mark.parametrize("name", PRESETS)
def test_the_program_is_sound(name):
    """Golden refuses whatever the chip would, and tells where."""
    with open_device("golden", config=name, memory_bytes=training.MEMORY) as device:
        before = device.read_memory(1 << 18, 1 << 16)
        training.start(device)
        assert device.wait_interrupt(training.CYCLE_LIMIT)
        error = {n: register(device, n) for n in ("ERROR_CODE", "ERROR_ENGINE", "ERROR_COMMAND", "ERROR_ADDRESS")}
        assert register(device, "STATUS") == State.DONE, error
        assert np.any(before != device.read_memory(1 << 18, 1 << 16))


def test_it_uses_every_kind_of_walk():
    commands = training.streams(PRESETS["base"])[Engine.TENSOR]
    opcodes = {Tensor.unpack(command)["opcode"] for command in commands}
    assert opcodes == set(TensorOpcode) - {TensorOpcode.SUM}  # which is MAX with an adder


def test_the_chip_is_busy():
    """On RTL it ends well before the limit, and most of its cycles compute."""
    with open_device("rtl", config="tiny", memory_bytes=training.MEMORY) as device:
        training.start(device)
        assert device.wait_interrupt(training.CYCLE_LIMIT)
        assert register(device, "STATUS") == State.DONE
        assert register(device, "COMPUTE") > register(device, "CYCLES") // 2


def test_a_board_is_trained_and_works(monkeypatch, tmp_path):
    """The command gets a library that runs and leaves a profile; the result is another one, without instruments."""
    monkeypatch.setenv("LEPTON_BUILD", str(tmp_path))
    seen = []

    def trainer(library):
        seen.append((library, b"gcda" in library.read_bytes()))
        return training.command(PRESETS["tiny"], library)  # a copier has no doorbell: training ends early

    library = build_verilog(generate(Copier(16), "lepton_chip"), trainer=trainer)
    assert seen and seen[0][1] and seen[0][0] != library
    assert b"gcda" not in library.read_bytes()
    assert not seen[0][0].exists()
    with RtlDevice(library, PRESETS["tiny"], DEFAULT, 1 << 16) as device:
        device.run(100)
        assert device.cycles > 100


@pytest.mark.parametrize(("name", "waves", "trained"), [
    ("base", None, True), ("large", None, True), ("base", "x.fst", False), ("small", None, False)])
def test_only_boards_that_run_long_are_compiled_twice(monkeypatch, name, waves, trained):
    class Asked(Exception):
        pass

    def build(*arguments, trainer, **options):
        raise Asked(trainer is not None)

    monkeypatch.setattr(board, "build_cached", build)
    with pytest.raises(Asked) as asked:
        board.open_board(name, waves=waves)
    assert asked.value.args == (trained,)
