"""Memories as modules of their own: a behavioural model, and a place for the macro of a process."""

import hashlib
from dataclasses import dataclass

from amaranth.hdl import ClockSignal, Const, Instance, Module, Shape, ShapeCastable
from amaranth.lib.memory import Memory, ReadPort, WritePort

MACROS = "LEPTON_MEMORY_MACROS"  # defined: the wrappers hold macros instead of models
# Defined: models give the inverted word where it is written and read in one cycle, to show that it does not matter.
COLLISIONS = "LEPTON_MEMORY_COLLISIONS"


@dataclass(frozen=True)
class ReadShape:
    """A read port. `clock` is None where data follow the address at once; `transparent`: the write ports whose data
    are read in the cycle in which they are written."""

    clock: str | None
    transparent: tuple[int, ...]


@dataclass(frozen=True)
class WriteShape:
    """A write port: `granularity` bits have an enable of their own."""

    clock: str
    granularity: int


@dataclass(frozen=True)
class MemoryShape:
    """All that a wrapper depends on. `init`: the words of a ROM; empty if none is set, or all are zero."""

    width: int
    depth: int
    reads: tuple[ReadShape, ...]
    writes: tuple[WriteShape, ...]
    init: tuple[int, ...] = ()

    @property
    def bits(self) -> int:
        return self.width * self.depth

    @property
    def address_bits(self) -> int:
        return max(1, (self.depth - 1).bit_length())

    @property
    def name(self) -> str:
        """Words, width, ports; "t" is a read port that sees what is written, "a" one without a clock, "b8" a write
        port with an enable for every 8 bits. ROMs have a digest of their contents."""
        kind = "memory" if self.writes else "rom"
        reads = "".join("r" + ("a" if r.clock is None else "t" if r.transparent else "") for r in self.reads)
        writes = "".join("w" + (f"b{w.granularity}" if w.granularity != self.width else "") for w in self.writes)
        text = f"lepton_{kind}_{self.depth}x{self.width}_{reads}{writes}"
        if len(self.clocks) > 1:
            text += "_" + "_".join(self.clocks)
        return text + (f"_{hashlib.sha256(repr(self.init).encode()).hexdigest()[:8]}" if self.init else "")

    @property
    def clocks(self) -> list[str]:
        """The clocks of the ports, each once."""
        return sorted({port.clock for port in (*self.reads, *self.writes) if port.clock is not None})

    def clock_pin(self, clock: str) -> str:
        return "clk" if len(self.clocks) == 1 else f"{clock}_clk"

    @classmethod
    def of(cls, memory: Memory) -> "MemoryShape":
        """The shape of a memory that a design holds."""
        writes = memory.write_ports
        shape = memory.shape
        words = tuple((Const.cast(shape.const(word)) if isinstance(shape, ShapeCastable) else Const(word, shape)).value
                      for word in memory.data.init)
        init = words if any(words) else ()
        return cls(
            Shape.cast(shape).width, memory.depth,
            tuple(ReadShape(None if port.domain == "comb" else port.domain,
                            tuple(writes.index(write) for write in port.transparent_for))
                  for port in memory.read_ports),
            tuple(WriteShape(port.domain, Shape.cast(shape).width // max(1, len(port.en)))
                  for port in writes), init)


def instance(memory: Memory) -> Module:
    """A module with the wrapper of `memory`, connected to its ports; for `platform.get_memory`."""
    shape = MemoryShape.of(memory)
    pins = {f"i_{shape.clock_pin(clock)}": ClockSignal(clock) for clock in shape.clocks}
    for i, read in enumerate(memory.read_ports):
        pins |= _read_pins(f"r{i}", read)
    for i, write in enumerate(memory.write_ports):
        pins |= _write_pins(f"w{i}", write)
    m = Module()
    m.submodules.words = Instance(shape.name, **pins)
    return m


def _read_pins(name: str, port: ReadPort) -> dict:
    return {f"i_{name}_addr": port.addr, f"o_{name}_data": port.data} | (
        {} if port.domain == "comb" else {f"i_{name}_en": port.en})


def _write_pins(name: str, port: WritePort) -> dict:
    return {f"i_{name}_addr": port.addr, f"i_{name}_data": port.data, f"i_{name}_en": port.en}


def wrapper(shape: MemoryShape) -> str:
    """The wrapper's Verilog. With `LEPTON_MEMORY_MACROS` it holds the module `NAME_macro`, which has the same ports."""
    data = f"[{shape.width - 1}:0]"
    address = f"[{shape.address_bits - 1}:0]"
    ports = [f"input wire {shape.clock_pin(clock)}" for clock in shape.clocks]
    for i, read in enumerate(shape.reads):
        kind = "wire" if read.clock is None else "reg"
        ports += [f"input wire {address} r{i}_addr", f"output {kind} {data} r{i}_data"]
        ports += [f"input wire r{i}_en"] if read.clock is not None else []
    for i, write in enumerate(shape.writes):
        enables = shape.width // write.granularity
        ports += [f"input wire {address} w{i}_addr", f"input wire {data} w{i}_data",
                  f"input wire {f'[{enables - 1}:0] ' if enables > 1 else ''}w{i}_en"]
    names = [port.split()[-1] for port in ports]
    macro_ports = [port.replace("output reg", "output wire") for port in ports]
    lines = [
        f"// {shape.depth} words of {shape.width} bits ({shape.bits} bits), {len(shape.reads)} read and "
        f"{len(shape.writes)} write ports.",
        f"// {'Nothing depends on what it holds after power-up.' if not shape.init else 'Its contents never change.'}",
        f"module {shape.name} (",
        f"`ifdef {MACROS}",
        *_listed(macro_ports), "`else", *_listed(ports), "`endif", ");",
        f"`ifdef {MACROS}",
        f"  // The macro of your process, as a module with these ports. {_access(shape)}",
        f"  {shape.name}_macro macro (", *_listed([f".{name}({name})" for name in names]), "  );",
        "`else", *_model(shape), "`endif", "endmodule",
    ]
    return "\n".join(lines) + "\n"


def _listed(items: list[str]) -> list[str]:
    return [f"  {item}{',' if i < len(items) - 1 else ''}" for i, item in enumerate(items)]


def _access(shape: MemoryShape) -> str:
    if any(read.transparent for read in shape.reads):
        return "A word that is written and read in one cycle must be read as written."
    return "What is read from a word in the cycle in which it is written does not matter."


def _model(shape: MemoryShape) -> list[str]:
    lines = [f"  reg [{shape.width - 1}:0] cells [0:{shape.depth - 1}];"]
    if shape.init:
        lines += ["  initial begin", *(f"    cells[{i}] = {shape.width}'h{value:x};"
                                       for i, value in enumerate(shape.init)), "  end"]
    for i, write in enumerate(shape.writes):
        lines.append(f"  always @(posedge {shape.clock_pin(write.clock)}) begin")
        lines += [f"    if ({enable}) cells[w{i}_addr]{bits} <= w{i}_data{bits};"
                  for enable, bits in _parts(shape, i)]
        lines.append("  end")
    for i, read in enumerate(shape.reads):
        if read.clock is None:
            lines.append(f"  assign r{i}_data = cells[r{i}_addr];")
            continue
        lines += [f"  always @(posedge {shape.clock_pin(read.clock)})", f"    if (r{i}_en) begin",
                  f"      r{i}_data <= cells[r{i}_addr];"]
        if shape.writes and not read.transparent:
            written = " || ".join(f"({_enabled(shape, k)} && w{k}_addr == r{i}_addr)" for k in range(len(shape.writes)))
            lines += [f"`ifdef {COLLISIONS}", f"      if ({written}) r{i}_data <= ~cells[r{i}_addr];", "`endif"]
        for write in read.transparent:
            lines += [f"      if ({enable} && w{write}_addr == r{i}_addr) r{i}_data{bits} <= w{write}_data{bits};"
                      for enable, bits in _parts(shape, write)]
        lines.append("    end")
    return lines


def _enabled(shape: MemoryShape, write: int) -> str:
    """Whether any part of a word is written."""
    return f"w{write}_en" if shape.writes[write].granularity == shape.width else f"(|w{write}_en)"


def _parts(shape: MemoryShape, write: int) -> list[tuple[str, str]]:
    """Enable and bits of each part of a word that is written alone."""
    granularity = shape.writes[write].granularity
    if granularity == shape.width:
        return [(f"w{write}_en", "")]
    return [(f"w{write}_en[{n}]", f"[{(n + 1) * granularity - 1}:{n * granularity}]")
            for n in range(shape.width // granularity)]
