"""What an FPGA's synthesis is told about the chip: what its memories need not do, and to save look-up tables."""

import re

# Memories that one would not build from flip-flops, nor from look-up tables: with this many bits, and a clocked read
# port. An FPGA's block RAM has 18 Kibit; a command queue of `tiny` with 19 words of 128 bits took 576 look-up tables.
MACRO_BITS = 2048

# -nowidelut: tables of four inputs only. Wider ones are made of several with multiplexers, which abc counts as free:
# they save a level and took half as many tables again (residual add: 2 629 with, 1 493 without).
SYNTHESIS = "-nowidelut"

_MODULE = re.compile(r"^module \S+\n.*?^end\n", re.MULTILINE | re.DOTALL)
_MEMORY = re.compile(r"^  memory width (\d+) size (\d+) (\S+)\n", re.MULTILINE)
_READ = re.compile(r"^  cell \$memrd_v2 .*?^  end\n", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r'\\MEMID "\\(\\\S+)"')
_OPAQUE = re.compile(r"\\TRANSPARENCY_MASK \d+'0+$", re.MULTILINE)
_COLLISION = re.compile(r"(parameter \\COLLISION_X_MASK \d+')(0+)$", re.MULTILINE)


def relaxed(nanoseconds: float) -> str:
    """Yosys' command that lets paths of gates take that long: abc saves tables where there is time."""
    return f"scratchpad -set abc9.D {round(1000 * nanoseconds)}"


def with_block_rams(text: str) -> str:
    """RTLIL from Amaranth with two statements about its memories.

    - What a clocked port reads from a word in the cycle in which the word is written does not matter. The memories'
      wrappers say the same to macros, and `tests/hdl/flow/test_verilog.py` runs a network on memories that give garbage
      then. Without it Yosys delays every write by a cycle, in registers for a word and its address, to give the old
      word. (Its option -no-rw-check does this only for ports that it makes itself, of registers.)
    - Memories with a clocked read port and at least `MACRO_BITS` bits are block RAMs.
    """
    return _MODULE.sub(lambda module: _module(module[0]), text)


def _module(text: str) -> str:
    clocked = set()

    def read(match: re.Match[str]) -> str:
        port = match[0]
        name = _NAME.search(port)
        if name is None or "\\CLK_ENABLE 1\n" not in port or not _OPAQUE.search(port):
            return port
        clocked.add(name[1])
        return _COLLISION.sub(lambda mask: mask[1] + "1" * len(mask[2]), port)

    text = _READ.sub(read, text)

    def memory(match: re.Match[str]) -> str:
        large = int(match[1]) * int(match[2]) >= MACRO_BITS and match[3] in clocked
        return ('  attribute \\ram_style "block"\n' if large else "") + match[0]

    return _MEMORY.sub(memory, text)
