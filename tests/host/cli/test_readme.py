"""What README shows of `lepton sim` is the chip's: the cycles that `tests/system` measures."""

import json
import re
from pathlib import Path

from lepton.arch import PRESETS
from lepton.cli.console import grouped, shortened
from lepton.models import topologies

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
CYCLES = json.loads((ROOT / "tests/system/cycles.json").read_text(encoding="utf-8"))["network"]
NAME_WIDTH = 18  # of the table's first column
REMEDY = "README.md shows other cycles than tests/system/cycles.json; paste what `lepton sim` prints"


def row(name: str) -> str:
    """The last line of README's example that begins with this name."""
    start = f"    {shortened(name, NAME_WIDTH)} "
    return [line for line in README if line.startswith(start)][-1]


def test_the_cycles_of_every_layer():
    for name, cycles in CYCLES["layers"].items():
        assert f" {grouped(cycles)} " in row(name), f"{name} takes {cycles} cycles; {REMEDY}"


def test_the_cycles_in_total_and_the_time():
    total = CYCLES["counters"]["CYCLES"]
    milliseconds = total / PRESETS["base"].clock_mhz / 1000
    assert f" {grouped(total)} " in row("total"), REMEDY
    assert f" {milliseconds:.3f} ms: {grouped(total)} cycles at an assumed " in row("chip "), REMEDY


def test_utilizations_are_macs_by_cycles():
    """Whoever measures the networks again changes both, and the utilizations of others follow from their cycles."""
    macs = topologies.count_macs(topologies.build("resnet50"))
    shown = re.findall(r"^\| [^|]+ \| ([\d. ]+)( M)? \((\d+(?:\.\d)?) %\)", "\n".join(README), re.MULTILINE)
    assert len(shown) == 4
    for cycles, millions, percent in shown:
        number = float(cycles.replace(" ", "")) * (1e6 if millions else 1)
        assert abs(100 * macs / (256 * number) - float(percent)) < 0.7, cycles
