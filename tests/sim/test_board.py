"""The board with a small copy engine in place of the chip: data, exact timing, faults, broken rules."""

import signal
import time

import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.device import DeviceError
from lepton_hdl.boards.sdram import HALF_BYTES
from lepton_hdl.boards.sdram_timing import ULX3S_SDRAM
from lepton_hdl.boards.ulx3s import PIN_CYCLES
from lepton_sim.board import open_board, open_component
from lepton_sim.build import build_component
from lepton_sim.memory_profile import (
    DDR3,
    DEFAULT,
    IDEAL,
    LPDDR4,
    RANDOM,
    SLOW,
    ULX3S,
    Fault,
    FaultKind,
    MemoryProfile,
)
from lepton_sim.rtl_device import ProtocolError, RtlDevice

from tests.sim import copier
from tests.sim.copier import Copier, Mode

CONFIG = PRESETS["tiny"]
MEMORY = 1 << 20
SOURCE = 0x10000
TARGET = 0x80000


@pytest.fixture(scope="module")
def library():
    return build_component(Copier(16))


@pytest.fixture
def board(library):
    """Opens boards with a 16-byte copier; closes them all."""
    opened = []

    def open_(memory=DEFAULT, **options):
        opened.append(RtlDevice(library, CONFIG, memory, MEMORY, **options))
        return opened[-1]

    yield open_
    for device in opened:
        device.close()


def fill(device, size=65536, seed=1):
    data = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    device.write_memory(SOURCE, data)
    return data


def start(device, *, mode=Mode.COPY, beats=64, bursts=16, source=SOURCE, target=TARGET, strobe=0):
    for offset, value in ((copier.SOURCE, source), (copier.TARGET, target), (copier.BEATS, beats),
                          (copier.BURSTS, bursts), (copier.MODE, mode), (copier.STROBE, strobe), (copier.START, 1)):
        device.write_register(offset, value)


def copy(device, **options):
    start(device, **options)
    assert device.wait_interrupt(1_000_000)
    return device.read_register(copier.STATUS) >> 1


@pytest.mark.parametrize("bus_bytes", [4, 8, 16, 32, 64])
def test_every_bus_width_moves_data(bus_bytes):
    with open_component(Copier(bus_bytes), CONFIG.with_(bus_bytes=bus_bytes), memory_bytes=MEMORY) as device:
        data = fill(device)
        assert copy(device, beats=4096 // bus_bytes // 16, bursts=64) == 0
        assert np.array_equal(device.read_memory(TARGET, 16384), data[:16384])
        assert not device.read_memory(TARGET + 16384, 64).any()
        assert device.traffic["read_beats"] == 16384 // bus_bytes


@pytest.mark.parametrize("profile", [DEFAULT, IDEAL, SLOW, ULX3S, DDR3, LPDDR4,
                                     DEFAULT.with_(read_latency=17, write_latency=3)])
def test_latencies_are_those_of_the_profile(board, profile):
    device = board(profile)
    copy(device, beats=1, bursts=1)
    assert device.read_register(copier.FIRST_DATA) == profile.read_latency
    assert device.read_register(copier.FIRST_RESPONSE) == profile.write_latency


def test_the_profile_of_the_ulx3s_is_that_of_its_memory():
    """The SDRAM chip's data sheet at 40 MHz, as the board's controller counts it."""
    cycles = ULX3S_SDRAM.cycles(40e6)
    assert ULX3S.bytes_per_cycle == HALF_BYTES
    assert ULX3S.refresh_interval == cycles.refresh
    assert ULX3S.refresh_cycles == cycles.rp + cycles.rfc + cycles.rcd
    on_the_way = ULX3S.read_latency - (cycles.rp + cycles.rcd + ULX3S_SDRAM.cas_latency + PIN_CYCLES + 8)
    assert on_the_way == 4


@pytest.mark.parametrize(("bytes_per_cycle", "cycles_per_beat"), [(64, 1), (16, 1), (12, 4 / 3), (8, 2), (3, 16 / 3)])
def test_bandwidth_is_that_of_the_profile(board, bytes_per_cycle, cycles_per_beat):
    device = board(IDEAL.with_(bytes_per_cycle=bytes_per_cycle))
    copy(device, mode=Mode.READ_ONLY, beats=64, bursts=16)
    # The first beat finds a full purse, so it may come before its time.
    assert device.read_register(copier.READ_CYCLES) == pytest.approx(1024 * cycles_per_beat, abs=cycles_per_beat)


def test_outstanding_bursts_hide_latency_and_no_more_than_allowed(board):
    def read_cycles(outstanding):
        device = board(IDEAL.with_(read_latency=64, outstanding=outstanding))
        copy(device, mode=Mode.READ_ONLY, beats=1, bursts=64)
        return device.read_register(copier.READ_CYCLES)

    assert read_cycles(1) == 64 * 65 - 1  # each address follows the last data before it
    assert read_cycles(16) == 64 + 3 * 65 + 15  # 16 at a time
    assert read_cycles(128) == 64 + 63


def test_refresh_stops_data_for_its_share(board):
    device = board(IDEAL.with_(refresh_interval=1024, refresh_cycles=32))
    copy(device, mode=Mode.READ_ONLY, beats=256, bursts=64)
    cycles = device.read_register(copier.READ_CYCLES)
    stalls = cycles - 16384
    assert stalls % 32 <= 1  # one for the latency
    assert stalls // 32 == pytest.approx(16384 / 992, abs=1)


def test_written_bytes_arrive_with_their_response(board):
    device = board(IDEAL.with_(write_latency=500))
    data = fill(device)
    start(device, beats=16, bursts=1)
    device.run(100)
    assert device.traffic["write_beats"] == 16 and not device.read_memory(TARGET, 256).any()
    assert device.wait_interrupt(1000)
    assert np.array_equal(device.read_memory(TARGET, 256), data[:256])


@pytest.mark.parametrize("mode", [Mode.COPY, Mode.DATA_FIRST])
def test_random_stalls_keep_data_and_repeat_with_their_seed(board, mode):
    def run(seed):
        device = board(RANDOM(seed))
        data = fill(device)
        assert copy(device, mode=mode, beats=8, bursts=40) == 0
        assert np.array_equal(device.read_memory(TARGET, 40 * 128), data[:40 * 128])
        return device.cycles

    assert run(1) == run(1) != run(2)


def test_strobes_choose_bytes(board):
    device = board()
    data = fill(device)
    device.write_memory(TARGET, np.full(256, 0x55, np.uint8))
    copy(device, beats=16, bursts=1, strobe=0x8421)
    chosen = np.isin(np.arange(256) % 16, [0, 5, 10, 15])
    assert np.array_equal(device.read_memory(TARGET, 256), np.where(chosen, data[:256], 0x55))


@pytest.mark.parametrize("kind", [FaultKind.SLVERR, FaultKind.DECERR])
@pytest.mark.parametrize("side", ["read", "write"])
def test_a_faulty_range_answers_its_error(board, kind, side):
    device = board()
    data = fill(device)
    base = SOURCE if side == "read" else TARGET
    device.add_fault(Fault(base + 100, base + 100, kind, on_read=side == "read", on_write=side == "write"))
    assert copy(device, beats=16, bursts=1) == kind
    target = device.read_memory(TARGET, 256)
    good = np.arange(256) // 16 != 6  # all beats but the one with the faulty byte
    assert np.array_equal(target[good], data[:256][good])
    assert set(target[~good]) == ({0xEE} if side == "read" else {0})
    device.clear_faults()
    assert copy(device, beats=16, bursts=1) == 0


def test_no_memory_answers_decerr(board):
    device = board()
    assert copy(device, beats=1, bursts=1, source=MEMORY) == FaultKind.DECERR
    assert copy(device, beats=1, bursts=1, target=MEMORY) == FaultKind.DECERR
    assert copy(device, beats=1, bursts=1, source=MEMORY - 16) == 0


@pytest.mark.parametrize("side", ["read", "write"])
def test_a_range_that_hangs_never_answers_until_reset(board, side):
    device = board()
    base = SOURCE if side == "read" else TARGET
    device.add_fault(Fault(base, base, FaultKind.HANG, on_read=side == "read", on_write=side == "write"))
    start(device, beats=4, bursts=1)
    assert not device.wait_interrupt(20_000)
    device.clear_faults()
    assert not device.wait_interrupt(20_000)
    device.reset()
    data = fill(device)
    assert copy(device, beats=4, bursts=1) == 0
    assert np.array_equal(device.read_memory(TARGET, 64), data[:64])


def test_writing_control_reset_clears_the_memory_controller(board):
    device = board()
    device.add_fault(Fault(SOURCE, SOURCE, FaultKind.HANG))
    start(device, beats=4, bursts=1)
    device.run(500)
    device.write_register(copier.CONTROL, 1)
    device.clear_faults()
    assert not device.wait_interrupt(5_000)  # the read is forgotten: its data never come


@pytest.mark.parametrize(("mode", "text"), [
    (Mode.DROP_VALID, "AWVALID fell before AWREADY"),
    (Mode.CHANGE_ADDRESS, "AW changed while AWVALID waited for AWREADY"),
    (Mode.CHANGE_DATA, "WDATA, WSTRB or WLAST changed while WVALID waited for WREADY"),
    (Mode.EARLY_LAST, "WLAST is 1 on beat 15 of 16"),
    (Mode.BAD_SIZE, r"AWSIZE must be that of the 16-byte bus, not 3 \(8 bytes\)"),
    (Mode.BAD_BURST, r"AWBURST must be 1 \(INCR\), not 2"),
    (Mode.SPURIOUS_BVALID, "host BVALID without a complete write"),
])
def test_broken_rules_are_reported(board, mode, text):
    device = board(RANDOM(3))
    with pytest.raises(ProtocolError, match=rf"the chip broke the rules of AXI: cycle \d+: {text}"):
        copy(device, mode=mode, beats=16, bursts=64)
        device.run(100)
    assert device.violations


@pytest.mark.parametrize(("source", "text"), [
    (SOURCE + 0xFF0, "AR burst of 2 beats at 0x10ff0 crosses a 4 KiB boundary"),
    (SOURCE + 0xFE8, None),
])
def test_crossing_4_kib_is_reported(board, source, text):
    device = board()
    if text is None:
        assert copy(device, beats=2, bursts=1, source=source) == 0
    else:
        with pytest.raises(ProtocolError, match=text):
            copy(device, beats=2, bursts=1, source=source)


def test_strobes_below_an_unaligned_address_are_reported(board):
    device = board()
    with pytest.raises(ProtocolError, match="WSTRB 0xffff marks bytes below the unaligned address 0x80004"):
        copy(device, beats=1, bursts=1, target=TARGET + 4)


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
