"""`lepton doctor`: what this machine has of what Lepton can use, and how to get the rest."""

import json
import os
import platform
import shutil
import sys
from argparse import Namespace
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from .console import columns, make_console
from .status import EXIT_DIFFERENT

DISTRIBUTION = "lepton-chip"
OLDEST = (3, 11)  # of Python, as pyproject.toml says
NEEDED_DISK = 2 << 30  # bytes: environment, and simulated boards of some configurations
# The extras that a person chooses among, and what they are for.
EXTRAS = {
    "cli": "the commands",
    "tflite": "TFLite networks",
    "onnx": "ONNX networks",
    "torch": "PyTorch networks",
    "toolkit": "training",
    "sim": "the simulated board",
    "cloud": "results in folders and object stores",
    "report": "lepton report",
    "serial": "boards on a serial line",
    "chip": "bitstreams and area",
    "data": "the data that trained the shipped networks",
}
BASIC = ("cli",)  # without these nothing of use runs
TOOLS = {
    "g++": ("builds the simulated board", "apt-get install g++ make", True),
    "make": ("builds the simulated board", "apt-get install g++ make", True),
    "ccache": ("builds changed chips quicker", "apt-get install ccache", False),
    "espeak-ng": ("speech for training the network words", "apt-get install espeak-ng", False),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for. needed: without it the basic commands do not run."""

    name: str
    purpose: str
    found: str  # version or place; "" where it is missing
    remedy: str
    needed: bool

    @property
    def fine(self) -> bool:
        return bool(self.found)


def run(arguments: Namespace) -> int:
    findings = examine()
    missing = [finding for finding in findings if finding.needed and not finding.fine]
    console = make_console()
    if arguments.json:
        console.print_json(
            json.dumps({"fine": not missing, "findings": [vars(f) | {"fine": f.fine} for f in findings]})
        )
        return EXIT_DIFFERENT if missing else 0
    table = columns("what", "for", "found", "how to get it", left=4)
    for finding in findings:
        state = finding.found or ("MISSING" if finding.needed else "missing")
        table.add_row(finding.name, finding.purpose, state, "" if finding.fine else finding.remedy)
    console.print(table)
    console.print(
        f"{len(missing)} needed thing{'s are' if len(missing) != 1 else ' is'} missing"
        if missing
        else "what the basic commands need is there; next: lepton models run digits"
    )
    return EXIT_DIFFERENT if missing else 0


def examine() -> list[Finding]:
    """All findings, without opening a device or importing a large package."""
    here = platform.python_version() if sys.version_info >= OLDEST else ""
    findings = [Finding("python", "everything", here, "install Python 3.11 or newer", True)]
    findings += [_extra(name, purpose) for name, purpose in EXTRAS.items()]
    for name, (purpose, remedy, _) in TOOLS.items():
        findings.append(Finding(name, purpose, shutil.which(name) or "", remedy, False))
    free = shutil.disk_usage(os.getcwd()).free
    findings.append(
        Finding(
            "disk",
            "environment and simulated boards",
            f"{free / 2**30:.1f} GiB free" if free >= NEEDED_DISK else "",
            f"free {NEEDED_DISK >> 30} GiB; there are {free / 2**30:.1f}",
            False,
        )
    )
    return findings


def _extra(name: str, purpose: str) -> Finding:
    """Whether the packages of an extra are installed: the first that is not decides."""
    remedy = f"pip install '{DISTRIBUTION}[{name}]'"
    for package in packages(name):
        try:
            version(package)
        except PackageNotFoundError:
            return Finding(name, purpose, "", f"{remedy} (no {package})", name in BASIC)
    return Finding(name, purpose, "installed", remedy, name in BASIC)


def packages(extra: str) -> list[str]:
    """The packages that an extra of the installed distribution names, those of extras in it included."""
    found: list[str] = []
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return found
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra}):
            continue
        if requirement.name == DISTRIBUTION:
            for other in sorted(requirement.extras):
                found += packages(other)
        else:
            found.append(requirement.name)
    return found
