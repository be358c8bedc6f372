"""Opens one Amaranth block at a Python prompt: poke, step, look, dump a wave. Built on pyverilator.

    $ python -m lepton_sim.scope lepton_hdl.tensor.requantize:Requantizer
    >>> poke(valid=1, value=-300)
    >>> step()
    >>> look("y")
    >>> wave("requantize.vcd")
    >>> signals("*value*")

or, from a program, `scope.open(Requantizer())`; for a block with parameters,
`lepton_hdl.tensor.array:DotArray config=tiny`, `scope.open(DotArray(PRESETS["tiny"]))`. Ports have their Verilog
names: member `payload` of stream `i` is `i__payload`; a struct is one number.
Internal signals are `submodule.signal`; memories are read as `look("memory", 3)`.
"""

import argparse
import builtins
import code
import ctypes
import fnmatch
import importlib
import os
import shutil
import sys
import tempfile
from typing import overload

from amaranth.lib import wiring
from lepton.arch import PRESETS

from .scope_build import KEYWORD, NAME, build
from .toolchain import ToolchainError
from .verilog import VerilogError


class ScopeError(ValueError):
    """There is no such block, parameter or signal, or a value does not fit."""


def find(name: str, **parameters) -> wiring.Component:
    """An instance of the block named "package.module:Class".

    A parameter `config` may be the name of a preset. Raises `ScopeError` where the
    block cannot be found or does not take the parameters.
    """
    module_name, _, class_name = name.partition(":")
    if not class_name:
        raise ScopeError(f"a block must be named package.module:Class, as in lepton_hdl.chip:Chip, not {name!r}")
    try:
        block = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # a module may fail in any way while it is imported
        raise ScopeError(f"there is no block {name!r}: {error}") from error
    if isinstance(config := parameters.get("config"), str):
        if config not in PRESETS:
            raise ScopeError(f"config must be one of {', '.join(PRESETS)}, not {config!r}")
        parameters["config"] = PRESETS[config]
    try:
        component = block(**parameters)
    except TypeError as error:
        raise ScopeError(f"{name} does not take these parameters: {error}") from error
    except Exception as error:  # what the block itself says of its parameters
        raise ScopeError(f"{name} cannot be made: {error}") from error
    if not isinstance(component, wiring.Component):
        raise ScopeError(f"a block must be an amaranth.lib.wiring.Component, not {type(component).__name__}")
    return component


def open(block: str | wiring.Component, **parameters) -> "Scope":
    """Build `block` (a component, or a name with the parameters of its class) and open a `Scope` on it."""
    return Scope(find(block, **parameters) if isinstance(block, str) else block)


class Scope:
    """One simulated block. It starts in reset state, inputs zero; combinational outputs follow every poke."""

    def __init__(self, component: wiring.Component):
        from pyverilator import PyVerilator  # takes a second, and only this class needs it

        with tempfile.TemporaryDirectory() as folder:
            # The loader gives the same library twice where two scopes show the same block: give each its own file.
            library = shutil.copy(build(component), folder)
            self._model = PyVerilator(library)
        ports = {path[0].removeprefix(KEYWORD): signal for path, signal in self._model.all_signals.items()}
        self._inputs = {name: signal for name, signal in ports.items() if hasattr(signal, "write")}
        self._ports = list(ports)
        self._signals = self._table()

    def poke(self, name: str | None = None, value: int | None = None, /, **values: int) -> None:
        """Set inputs: `poke("i__valid", 1)` or `poke(i__valid=1, i__payload=7)`. Negative values wrap to the width."""
        if name is not None:
            if value is None:
                raise ScopeError(f"poke({name!r}) needs a value: poke({name!r}, 1)")
            values[name] = value
        for input_, number in values.items():
            if input_ not in self._inputs:
                raise ScopeError(f"inputs are {', '.join(sorted(self._inputs))}, not {input_!r}")
            port = self._inputs[input_]
            if not -(1 << port.width) <= 2 * number < 2 << port.width:
                raise ScopeError(f"{input_} is {port.width} bits wide; {number} does not fit")
            port.write(number & ((1 << port.width) - 1))

    @overload
    def look(self) -> dict[str, int]: ...

    @overload
    def look(self, name: str, index: int | None = None) -> int: ...

    def look(self, name: str | None = None, index: int | None = None) -> int | dict[str, int]:
        """The value of a signal, or of word `index` of a memory; without a name, of all ports."""
        if name is None:
            return {port: self.look(port) for port in self._ports}
        if name not in self._signals:
            near = [signal for signal in self._signals if name.split(".")[-1] in signal][:8]
            raise ScopeError(f"there is no signal {name!r}" + (f"; did you mean {', '.join(near)}?" if near else
                                                               "; signals() lists them"))
        address, bits, stride, elements = self._signals[name]
        if (elements > 1) != (index is not None) or not 0 <= (index or 0) < elements:
            raise ScopeError(f"{name} has {elements} word{'s' * (elements > 1)}; an index is "
                             f"{'0..' + str(elements - 1) if elements > 1 else 'not wanted'}, not {index!r}")
        raw = ctypes.string_at(address + stride * (index or 0), stride)
        return int.from_bytes(raw, sys.byteorder) & ((1 << bits) - 1)

    def step(self, cycles: int = 1) -> None:
        """Give the block `cycles` clock edges."""
        if self._model.clock is None:
            raise ScopeError("the block has no clock; its outputs follow its inputs at once")
        for _ in range(cycles):
            self._model.clock.tick()

    def reset(self, cycles: int = 1) -> None:
        """Hold reset for `cycles` clock edges."""
        self.poke("rst", 1)
        self.step(cycles)
        self.poke("rst", 0)

    def signals(self, pattern: str = "*") -> list[str]:
        """Names of the signals and memories that match a shell pattern."""
        return sorted(fnmatch.filter(self._signals, pattern))

    def wave(self, path: str | os.PathLike) -> None:
        """Record every signal into a VCD file from now on, 10 time units a clock edge."""
        if self._model.vcd_trace is not None:
            self.stop_wave()
        try:
            builtins.open(path, "wb").close()  # Verilator itself does not notice
        except OSError as error:
            raise ScopeError(f"{os.fspath(path)}: cannot be written: {error.strerror}") from error
        self._model.start_vcd_trace(os.fspath(path))

    def stop_wave(self) -> None:
        """Complete the VCD file."""
        self._model.stop_vcd_trace()

    def close(self) -> None:
        """Complete the wave, if any, and free the model."""
        if self._model is not None:
            if self._model.vcd_trace is not None:
                self.stop_wave()
            self._signals = {}
            self._inputs = {}
            self._model = None

    def __enter__(self) -> "Scope":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _table(self) -> dict[str, tuple[int, int, int, int]]:
        """Address, width, bytes a word and words of every signal, by name."""
        library = self._model.lib
        name = ctypes.c_char_p()
        data = ctypes.c_void_p()
        numbers = [ctypes.c_uint32() for _ in range(3)]
        table: dict[str, tuple[int, int, int, int]] = {}
        for index in range(library.lepton_signal_count()):
            library.lepton_signal(index, *map(ctypes.byref, (name, data, *numbers)))
            scope, _, short = (name.value or b"").decode().partition(f"TOP.{NAME}.")
            if not scope and short:  # the ports are listed a second time, outside the block
                short = ".".join(part.removeprefix(KEYWORD) for part in short.split("."))
                bits, stride, elements = (number.value for number in numbers)
                table[short] = (data.value or 0, bits, stride, elements)
        return table


def _value(text: str) -> int | str:
    try:
        return int(text, 0)
    except ValueError:
        return text


def main(arguments: list[str] | None = None) -> int:
    """`python -m lepton_sim.scope package.module:Class [parameter=value ...]`: a prompt on a block."""
    parser = argparse.ArgumentParser(prog="python -m lepton_sim.scope", description=__doc__.splitlines()[0])
    parser.add_argument("block", help="package.module:Class")
    parser.add_argument("parameters", nargs="*", metavar="name=value",
                        help="constructor parameters; config=tiny names a preset")
    options = parser.parse_args(arguments)
    if wrong := [text for text in options.parameters if "=" not in text]:
        parser.error(f"a parameter must be name=value, not {wrong[0]!r}")
    try:
        split = (text.partition("=") for text in options.parameters)
        scope = open(options.block, **{name: _value(text) for name, _, text in split})
    except (ScopeError, ToolchainError, VerilogError) as error:
        print(f"scope: {error}", file=sys.stderr)
        return 1
    with scope:
        verbs = ("poke", "look", "step", "reset", "signals", "wave", "stop_wave")
        names = {name: getattr(scope, name) for name in verbs}
        ports = ", ".join(f"{name}={value:#x}" for name, value in scope.look().items())
        banner = (f"{options.block}: {ports}\npoke(name=value), step(n), look(name), signals(pattern), wave(path), "
                  "stop_wave(), reset(n); Ctrl-D leaves")
        code.interact(banner, local={"scope": scope, **names}, exitmsg="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
