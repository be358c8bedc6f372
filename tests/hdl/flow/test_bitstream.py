"""Bitstreams with the tools that pip installs, of designs that take seconds."""

import json
import re

import lepton.models
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import io
from lepton.arch import PRESETS
from lepton.arch.config_file import load_config
from lepton.cli import main
from lepton.cli.status import EXIT_USER_ERROR
from lepton_hdl.boards.ecp5_pll import settings
from lepton_hdl.boards.ulx3s import OSCILLATOR_HZ, Ulx3s, best_baud, platform
from lepton_hdl.flow import bitstream, board
from lepton_hdl.flow.bitstream import ClockTooFast, build, prepare
from lepton_hdl.flow.board import board_top
from lepton_hdl.flow.yosys import FlowError, yosys

from tests.sim.copier import Copier

CLOCK_MHZ = 60
MODEL = lepton.models.load("mnist")


class Square(Ulx3s):
    """The board's clocks, a light, and a path that is too long for 200 MHz."""

    def elaborate(self, platform):
        m = Module()
        self._make_clocks(m, platform)
        value = Signal(16)
        m.d.sync += value.eq(value * value + 1)
        m.submodules.led = led = io.Buffer("o", platform.request("led", 0, dir="-"))
        m.d.comb += led.o.eq(value[-1])
        return m


def square(mhz):
    return Square(None, settings(OSCILLATOR_HZ, mhz * 1e6))


def test_a_bitstream_and_its_timing(tmp_path):
    said = []
    made = build(square(CLOCK_MHZ), platform(), CLOCK_MHZ, tmp_path, progress=said.append)
    content = made.bitstream.read_bytes()
    assert b"LFE5U-85F" in content[:200] and len(content) > 10_000
    assert made.reached_mhz > CLOCK_MHZ
    assert made.used["dsps"] == 1 and 16 <= made.used["flip_flops"] < 40
    assert made.available == {"luts": 83640, "flip_flops": 83640, "dsps": 156, "block_rams": 208}
    assert made.logic_ns > 3 and made.wires_ns > 0  # the multiplier alone takes 3.9 ns
    assert 1000 / (made.logic_ns + made.wires_ns) == pytest.approx(made.reached_mhz, rel=0.05)
    for step in ("elaborating the board", "Yosys", "placing and routing", "Routing", "packing the bitstream"):
        assert any(text.startswith(step) for text in said), step


def test_the_file_of_a_build_states_times_at_its_clock(tmp_path, monkeypatch, capsys):
    """A chip's cycles become times at the clock of the bitstream, and every time says where its clock comes from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(board, "board_top", lambda name, config, hertz: (square(CLOCK_MHZ), platform(), 3_000_000))
    assert main(["chip", "build", "--config", "tiny", "--clock", str(CLOCK_MHZ), "-o", "made"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "times --config made/tiny-ulx3s.toml states them at 60 MHz, placed and routed on ULX3S" in out
    chip = load_config(tmp_path / "made" / "tiny-ulx3s.toml")
    assert chip.hash == PRESETS["tiny"].hash and chip.clock == "60 MHz, placed and routed on ULX3S"
    assert main(["compile", str(MODEL.path), "-o", "net.lepton", "--config", "made/tiny-ulx3s.toml"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    cycles, ms = re.search(r"about ([\d ]+) cycles \(([\d.]+) ms at 60 MHz, placed and routed on ULX3S\)", out).groups()
    assert float(ms) == pytest.approx(int(cycles.replace(" ", "")) / 60_000, rel=0.01)


def test_a_clock_that_is_not_reached(tmp_path):
    with pytest.raises(ClockTooFast) as caught:
        build(square(200), platform(), 200, tmp_path)
    assert re.match(r"the clock is too fast: 200 MHz asked for, 1\d\d\.\d MHz reached; the longest path goes from \S+ "
                    r"to \S+ \(\d\.\d ns of logic, \d\.\d ns of wires\); ask for --clock 1\d\d$", str(caught.value))
    assert not list(tmp_path.glob("*.bit"))


def test_the_board_with_a_copier_for_a_chip(tmp_path):
    """All of the board's pins, and what synthesis makes of its own blocks; placing it takes minutes."""
    top, made_for, baud = board_top("ulx3s", PRESETS["tiny"], 40e6, Copier(16))
    assert baud == pytest.approx(2_000_000)
    commands = prepare(top, made_for, tmp_path, 40)
    constraints = (tmp_path / "lepton.lpf").read_text()
    for text in ('LOCATE COMP "sdram_0__clk__io" SITE "F19"', 'LOCATE COMP "sdram_0__dq__io[15]" SITE "J17"',
                 'LOCATE COMP "uart_0__rx__io" SITE "M1"', 'LOCATE COMP "uart_0__tx__io" SITE "L4"',
                 'LOCATE COMP "clk25_0__io" SITE "G2"', 'FREQUENCY NET "clock" 40000000.0 HZ;',
                 'LOCATE COMP "button_pwr_0__io" SITE "D6"'):
        assert text in constraints, text
    yosys([*commands, "tee -q -o stat.json stat -json"], tmp_path)
    cells = json.loads((tmp_path / "stat.json").read_text())["modules"]["\\lepton"]["num_cells_by_type"]
    assert cells["EHXPLLL"] == 1 and cells["ODDRX1F"] == 1 and cells["DP16KD"] >= 2
    registers = json.loads((tmp_path / "lepton.json").read_text())["modules"]["lepton"]["cells"].values()
    kinds = [cell["type"] for cell in registers]
    # Every pin of the SDRAM but its clock has a register: 3 of command, cs, cke, 2 bank, 13 address, 2 mask, 16 data,
    # and a second one for the direction of each bit of data.
    assert sum(cell["attributes"].get("ioff_dir") is not None or kind in ("IFS1P3DX", "OFS1P3DX")
               for cell, kind in zip(registers, kinds, strict=True)) >= 3 + 1 + 1 + 2 + 13 + 2 + 16 + 16


def test_rates_of_the_serial_port():
    assert best_baud(60e6) == 3_000_000
    assert best_baud(25e6) == 1_500_000  # 17 cycles a bit are 2.0 % off
    with pytest.raises(ValueError, match=r"a clock of 0\.5 MHz is too slow for the serial port"):
        best_baud(0.5e6)


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["chip", "build", "--config", "tiny", "--clock", "390"]) == EXIT_USER_ERROR
    assert capsys.readouterr().err.endswith(
        "lepton: the PLL makes no clock of 390 MHz from 25 MHz; the nearest is 387.5 MHz\n")
    (tmp_path / "own.toml").write_text('base = "tiny"\ncontroller = true\n')
    assert main(["chip", "build", "--config", "own.toml"]) == EXIT_USER_ERROR
    assert "a chip with a controller stops clocks with logic" in capsys.readouterr().err
    monkeypatch.setattr(bitstream, "need", _missing)
    assert main(["chip", "build", "--config", "tiny"]) == EXIT_USER_ERROR
    assert "install it with: pip install 'lepton-chip[chip]'" in capsys.readouterr().err


def _missing(package):
    raise FlowError(f"the package {package!r} is missing; install it with: pip install 'lepton-chip[chip]'")


def test_yosys_says_what_is_wrong(tmp_path):
    with pytest.raises(FlowError, match=r"Yosys failed \(status \d+\): ERROR: No such command: nonsense"):
        yosys(["nonsense"], tmp_path)
