"""Pins every package that Lepton installs: requirements/sim.txt, bench.txt and test.txt.

`make lock` resolves the extras of pyproject.toml with pip, in a throw-away
environment of its own, and writes exact versions. The files hold names and
versions only, so that they work with any package index.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETS = {  # the largest first: the others take its versions, so that one environment can hold all of them
    "test": ["results", "service", "store", "cli", "tflite-float", "onnx", "fast", "serial", "sim", "firmware", "chip",
             "torch", "toolkit", "keras", "report", "data", "docs", "test"],
    "bench": ["results", "store", "cli", "tflite", "fast", "sim", "firmware"],
    "sim": ["results", "cli", "tflite", "sim"],
}
BUILD = ["setuptools>=77"]  # pyproject.toml's build system, installed so that no build needs the network


def resolve(extras: list[str], chosen: dict[str, str]) -> dict[str, str]:
    """Versions by package name that pip would install for the extras on an empty machine; `chosen` ones are kept."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{package}=={version}\n" for package, version in chosen.items()))
        report = Path(folder) / "report.json"
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
                        "--constraint", constraints, "--report", report, f"{ROOT}[{','.join(extras)}]",
                        *BUILD], check=True)
        items = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    # A local build label ("+cpu") names one machine's file, not a version.
    return {item["name"].lower().replace("_", "-"): item["version"].partition("+")[0]
            for item in items if item["name"] != "lepton-chip"}


def main() -> None:
    chosen: dict[str, str] = {}
    for name, extras in SETS.items():
        pins = resolve(extras, chosen)
        chosen = pins | chosen
        lines = [f"# Written by `make lock` from pyproject.toml, extras {', '.join(extras)}.",
                 *(f"{package}=={version}" for package, version in sorted(pins.items()))]
        (ROOT / "requirements" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        print(f"requirements/{name}.txt: {len(pins)} packages")


if __name__ == "__main__":
    main()
