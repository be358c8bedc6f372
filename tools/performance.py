"""Writes docs/performance.md: cycles and utilization over chip sizes and memory rates, measured on the RTL.

The section on steps on the host stays as it is.

    .venv/bin/python tools/performance.py [ROW ...]

Every figure is exact against the golden model while it is measured; a row that is not ends the program.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from lepton.arch import PRESETS
from lepton.bench.catalog import ROWS, Entry
from lepton.bench.measure import measure
from lepton.graph import GraphError
from lepton_sim.memory_profile import DEFAULT

PAGE = Path(__file__).resolve().parents[1] / "docs/performance.md"
HOST = "## Steps on the host"  # the last section, which tools/host_kernels.py measures and this program keeps
SIZES = ("small", "base", "large")
RATES = (8, 16, 32)

HEAD = """# Cycles by size and memory

Written by `tools/performance.py` with the RTL of commit `{commit}`, except the last section. Every run is equal to the
golden model byte for byte. Cycles from doorbell to completion, batch 1. Utilization is MACs / (MACs a cycle x cycles).
Memory: the default profile (64 cycles to the first data, 16 bursts in flight, 32 of 1024 cycles of refresh), at the
rate of the bus in both directions.

How to read it: the MACs a cycle grow with the square of the array's side, the memory traffic does not shrink. `large`
is well used by layers of at least 32 channels and a few hundred pixels, `small` by nearly all layers. Matrix-vector
rows and tiny_ad are bound by the weights' traffic: with 8 bytes a cycle they take twice as long, with 32 they gain
nothing, because one word of K bytes a cycle enters the array.

"""


def table(title: str, columns: list[str], rows: list[list[str]]) -> str:
    lines = [f"## {title}", "", f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n\n"


def cell(entry: Entry, config, memory) -> str:
    print(f"{entry.name} on {config.name}, {memory.bytes_per_cycle} bytes a cycle", file=sys.stderr, flush=True)
    try:
        m = measure(entry, config, memory)
    except GraphError as error:
        return f"does not fit: {error}"
    if not m.exact or m.error:
        raise SystemExit(f"{entry.name} on {config.name}: {m.error}")
    return f"{m.cycles:,} ({m.utilization:.1%})".replace(",", " ")


def rtl_commit() -> str:
    """The last commit that changed the chip."""
    done = subprocess.run(["git", "log", "-1", "--format=%h", "--", "hdl"], cwd=PAGE.parent, capture_output=True,
                          text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    wanted = sys.argv[1:]
    entries = [row for row in ROWS if (row.name in wanted if wanted else row.quick)]
    sizes = []
    rates = []
    known = {}
    for entry in entries:
        for name in SIZES:
            config = PRESETS[name]
            known[entry.name, name] = cell(entry, config, DEFAULT.with_(bytes_per_cycle=config.bus_bytes))
        sizes.append([entry.name, *(known[entry.name, name] for name in SIZES)])
        base = PRESETS["base"]
        rates.append([entry.name, *(
            known[entry.name, "base"] if rate == base.bus_bytes else
            cell(entry, replace(base, name=f"base-{rate}", bus_bytes=rate), DEFAULT.with_(bytes_per_cycle=rate))
            for rate in RATES)])
    sizes_title = ", ".join(f"`{name}` {PRESETS[name].lanes} x {PRESETS[name].columns}" for name in SIZES)
    _, _, host = PAGE.read_text().partition(HOST)
    PAGE.write_text(HEAD.format(commit=rtl_commit())
                    + table(f"Sizes: {sizes_title}", [f"`{name}`" for name in SIZES], sizes)
                    + table("`base` with 8, 16 and 32 bytes a cycle", [f"{rate} bytes" for rate in RATES], rates)
                    + HOST + host)
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
