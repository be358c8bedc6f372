"""A board in use: registers, memory, options, errors, interruptions, figures."""

import signal
import time

import numpy as np
import pytest
from lepton.device import DeviceError
from lepton_sim.board import open_board
from lepton_sim.memory_profile import DEFAULT, IDEAL, MemoryProfile
from lepton_sim.rtl_device import RtlDevice

from tests.sim import copier
from tests.sim.copier import Mode
from tests.sim.copier_board import CONFIG, MEMORY, SOURCE, TARGET, copy, fill, start


def test_register_errors_name_the_register(board):
    device = board()
    with pytest.raises(DeviceError, match=r"read of register 0x0ffc \(unknown register\): the chip answered SLVERR"):
        device.read_register(0xFFC)
    with pytest.raises(DeviceError, match=r"write to register 0x0ffc \(unknown register\): the chip answered SLVERR"):
        device.write_register(0xFFC, 1)
    with pytest.raises(DeviceError, match="a register offset must be a multiple of 4 below 0x4000, not 0x6"):
        device.read_register(6)
    with pytest.raises(DeviceError, match="a register value must fit in 32 bits, not 0x100000000"):
        device.write_register(0, 1 << 32)
    device.write_register(copier.MODE, Mode.NO_ANSWER)
    with pytest.raises(DeviceError, match=r"register 0x0000 \(ID\): the chip did not answer within 100000 cycles"):
        device.read_register(copier.ID)
    assert device.violations == []


def test_memory_bounds(board):
    device = board()
    with pytest.raises(DeviceError, match=r"read of 2 bytes at 0xfffff leaves the board's memory of 0x100000 bytes; "
                                          "open the board with a larger memory_bytes"):
        device.read_memory(MEMORY - 1, 2)
    with pytest.raises(DeviceError, match="write of 4 bytes at -0x1 leaves"):
        device.write_memory(-1, b"1234")
    with pytest.raises(DeviceError, match="data must be contiguous"):
        device.write_memory(0, np.zeros((4, 4), np.int8)[:, ::2])
    device.write_memory(0, np.arange(-2, 2, dtype=np.int32).reshape(2, 2))
    assert device.read_memory(0, 16).view(np.int32).tolist() == [-2, -1, 0, 1]
    device.read_memory(0, 4)[:] = 9
    assert device.read_memory(0, 1) == [0xFE], "read_memory gives a copy"


def test_bad_options_are_refused(library, tmp_path):
    with pytest.raises(DeviceError, match="memory_bytes must be a positive multiple of 4096, not 1000"):
        RtlDevice(library, CONFIG, DEFAULT, 1000)
    with pytest.raises(DeviceError, match="memory bus is 16 bytes wide, but its configuration 'tiny' says 8"):
        RtlDevice(library, CONFIG.with_(bus_bytes=8), DEFAULT)
    with pytest.raises(DeviceError, match=r"config must be one of tiny, small, base, large or a ChipConfig, not 'h"):
        open_board("huge")
    with pytest.raises(DeviceError, match=r"memory must be one of default, ideal, slow, ulx3s, ddr3, lpddr4, random "
                                           r"or a Mem.*, not 'x'"):
        open_board("tiny", memory="x")
    with pytest.raises(DeviceError, match=r"waves cannot be written to '/nonexistent/x\.fst': No such file"):
        RtlDevice(library, CONFIG, DEFAULT, MEMORY, waves="/nonexistent/x.fst")
    with pytest.raises(DeviceError, match="this build of the board cannot record waves; build it with waves=True"):
        RtlDevice(library, CONFIG, DEFAULT, MEMORY, waves=tmp_path / "x.fst")


@pytest.mark.parametrize(("changes", "text"), [
    ({"read_latency": 0}, "read_latency must be an integer in 1..1048576, not 0"),
    ({"stall_r": 1}, "stall_r must be a chance in 0 <= p < 1, not 1"),
    ({"refresh_cycles": 1024}, r"refresh_cycles must be below refresh_interval \(1024\), not 1024"),
])
def test_impossible_profiles_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        MemoryProfile("x", **changes)


def test_a_closed_board_says_so(board):
    device = board()
    device.close()
    device.close()
    for use in (lambda: device.run(1), lambda: device.read_register(0), lambda: device.read_memory(0, 1)):
        with pytest.raises(DeviceError, match="the board is closed; open it again"):
            use()


def test_two_boards_live_side_by_side(board):
    first = board()
    second = board(IDEAL)
    a = fill(first, seed=1)
    b = fill(second, seed=2)
    start(first, beats=64, bursts=4)
    copy(second, beats=64, bursts=4)
    assert first.wait_interrupt(100_000)
    assert np.array_equal(first.read_memory(TARGET, 4096), a[:4096])
    assert np.array_equal(second.read_memory(TARGET, 4096), b[:4096])


def test_ctrl_c_is_heard_and_the_board_goes_on(board):
    device = board()
    old = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            device.run(10**12)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert time.monotonic() - begin < 5
    assert device.read_register(copier.ID) == copier.IDENTITY


def test_cycles_speed_and_progress_are_reported(board):
    lines = []
    device = board(progress=lines.append)
    before = device.cycles
    device.run(12_345)
    assert device.cycles == before + 12_345
    assert device.simulated_hz > 0
    assert lines and lines[-1].startswith(f"{device.cycles} cycles, ")
    assert device.run_until_interrupt(1000) == 1000
    copy(device, beats=1, bursts=1)
    assert device.run_until_interrupt(1000) == 0, "the interrupt is high already"


def test_memory_is_shared_without_copies(board):
    device = board()
    assert device.memory.shape == (MEMORY,) and device.memory.dtype == np.uint8
    device.memory[SOURCE:SOURCE + 16] = 7
    copy(device, beats=1, bursts=1)
    assert (device.memory[TARGET:TARGET + 16] == 7).all()
