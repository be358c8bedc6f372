"""Waves: an FST file with the chip's signals, for the cycles asked for, readable without our own writer."""

import struct

import pytest
from lepton.arch import PRESETS
from lepton_sim.board import open_component

from tests.sim import copier
from tests.sim.copier import Copier

# block types of FST ("fst_file.h" of the format's author)
HEADER = 0
WAVES = 8
HIERARCHY = 6


def lz4_decode(data: bytes) -> bytes:
    """An LZ4 block, by the letter of its format description."""
    out = bytearray()
    at = 0

    def length(value):
        nonlocal at
        if value == 15:
            while True:
                more = data[at]
                at += 1
                value += more
                if more != 255:
                    break
        return value

    while at < len(data):
        token = data[at]
        at += 1
        count = length(token >> 4)
        out += data[at:at + count]
        at += count
        if at == len(data):
            break
        distance = data[at] | data[at + 1] << 8
        at += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-distance])
    return bytes(out)


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 0
    while at < len(data):
        size = struct.unpack_from(">Q", data, at + 1)[0]
        found.append((data[at], data[at + 9:at + 1 + size]))
        at += 1 + size
    return found


@pytest.mark.parametrize(("window", "first", "last"), [((0, None), 0, None), ((100, 149), 1000, 1495)])
def test_waves_hold_the_window_and_the_signals(tmp_path, window, first, last):
    path = tmp_path / "copier.fst"
    with open_component(Copier(16), PRESETS["tiny"], memory_bytes=1 << 20, waves=path, wave_window=window) as device:
        for offset, value in ((copier.TARGET, 0x8000), (copier.BEATS, 16), (copier.BURSTS, 4), (copier.START, 1)):
            device.write_register(offset, value)
        assert device.wait_interrupt(10_000)
        end = 10 * (device.cycles - 1) + 5
    found = blocks(path.read_bytes())
    header = next(body for kind, body in found if kind == HEADER)
    times = struct.unpack_from(">QQ", header)
    assert times == (first, end if last is None else last)
    assert struct.unpack_from(">b", header, 64)[0] == -9, "nanoseconds"
    size, = struct.unpack_from(">Q", next(body for kind, body in found if kind == HIERARCHY))
    names = lz4_decode(next(body for kind, body in found if kind == HIERARCHY)[8:])
    assert len(names) == size
    for name in (b"memory__araddr", b"write_now", b"lepton_chip"):
        assert name in names
    assert any(kind == WAVES for kind, _ in found)
