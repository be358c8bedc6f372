"""Memory that answers with errors or not at all, and rules of AXI that the chip breaks."""

import numpy as np
import pytest
from lepton_sim.memory_profile import RANDOM, Fault, FaultKind
from lepton_sim.rtl_device import ProtocolError

from tests.sim import copier
from tests.sim.copier import Mode
from tests.sim.copier_board import MEMORY, SOURCE, TARGET, copy, fill, start


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
