"""Data through the board's memory, with the timing that its profile says, to the cycle."""

import numpy as np
import pytest
from lepton_hdl.boards.sdram import HALF_BYTES
from lepton_hdl.boards.sdram_timing import ULX3S_SDRAM
from lepton_hdl.boards.ulx3s import PIN_CYCLES
from lepton_sim.board import open_component
from lepton_sim.memory_profile import DDR3, DEFAULT, IDEAL, LPDDR4, RANDOM, SLOW, ULX3S

from tests.sim import copier
from tests.sim.copier import Copier, Mode
from tests.sim.copier_board import CONFIG, MEMORY, TARGET, copy, fill, start


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
