"""Runs Yosys (the PyPI package pyosys) in a process of its own, and tells how far it is."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Commands come on stdin, one a line: a design survives from one to the next, as in a script of Yosys.
_CHILD = """\
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin.read().splitlines():
    libyosys.run_pass(line, design)
"""
_PASS = re.compile(r"^(\d+(?:\.\d+)*)\. Executing (\S+)")
_UNUSABLE = re.compile(r"ABC: Library .* cannot be used")  # why abc wrote nothing, which is the error of Yosys
_SHOWN_DEPTH = 2  # of a pass within passes: SYNTH is one, its steps two
INSTALL = "pip install 'lepton-chip[chip]'"


class FlowError(RuntimeError):
    """A tool of the flow is missing or has failed; the text says what to do."""


def need(package: str) -> None:
    """Raises `FlowError` where a package of the extra `chip` is missing."""
    if importlib.util.find_spec(package) is None:
        raise FlowError(f"the package {package!r} is missing; install it with: {INSTALL}")


def yosys(commands: list[str], folder: Path, progress: Callable[[str], None] = lambda text: None) -> str:
    """Run commands in `folder`; gives the log. Raises `FlowError` where Yosys is missing or fails."""
    need("pyosys")
    process = subprocess.Popen([sys.executable, "-c", _CHILD], cwd=folder, text=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdin is not None and process.stdout is not None  # both are pipes
    try:
        process.stdin.write("\n".join(commands))
        process.stdin.close()
        lines = []
        for line in process.stdout:
            lines.append(line)
            match = _PASS.match(line)
            if match and match[1].count(".") < _SHOWN_DEPTH:
                progress(f"Yosys {match[1]} {match[2].rstrip('.')}")
    except BaseException:
        process.kill()
        raise
    finally:
        status = process.wait()
    log = "".join(lines)
    if status:
        errors = [line.strip() for line in lines if "ERROR" in line or _UNUSABLE.match(line)]
        raise FlowError(f"Yosys failed (status {status}): {errors[0] if errors else ''.join(lines[-5:]).strip()}")
    return log
