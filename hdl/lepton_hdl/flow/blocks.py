"""A design's RTLIL as blocks with short names: equal modules once, each in its own text."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_MODULE = re.compile(r"^((?:attribute [^\n]*\n)*)module \\(\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)
_SOURCE = re.compile(r'^ *attribute \\src "(.*)"\n', re.MULTILINE)
_CELL = re.compile(r"^(  cell \\)(\S+)( .*?^  end\n)", re.MULTILINE | re.DOTALL)
_KIND = re.compile(r"^  (cell|process|connect) ", re.MULTILINE)
_PRODUCT = re.compile(r"^  cell \$mul .*?A_WIDTH (\d+).*?B_WIDTH (\d+).*?\n +connect \\A (\S+).*?\n +connect \\B (\S+)",
                      re.MULTILINE | re.DOTALL)
_CONSTANT = re.compile(r"\d+'")
_PORT_WIRE = re.compile(r"^  wire [^\n]*(?:input|output|inout) \d+ [^\n]*\n", re.MULTILINE)
_PORT = re.compile(r"\\(port\$\d+\$\d+)(?=\s)")  # of a signal that crosses modules and has no name


@dataclass
class Block:
    """One kind of module. `places`: the hierarchical names at which it stands; `source`: the file that makes it."""

    name: str
    header: str
    body: str
    source: str
    places: list[str] = field(default_factory=list)

    @property
    def is_memory(self) -> bool:
        """True for a block that holds a memory's wrapper and nothing else."""
        return set(_KIND.findall(self.body)) == {"cell"} and "\\lepton_memory_" in self.body

    def cells(self) -> set[str]:
        """The kinds of its cells, without those of Yosys."""
        return {match[2] for match in _CELL.finditer(self.body)}

    def black_box(self) -> str:
        """RTLIL text of its ports alone."""
        ports = "".join(_PORT_WIRE.findall(self.body))
        return f"attribute \\blackbox 1\n{self.header}module \\{self.name}\n{ports}end\n"

    def products(self) -> list[tuple[int, int]]:
        """Widths of the operands of each multiplier, in bits; products with a constant are sums and do not count."""
        return [(int(match[1]), int(match[2])) for match in _PRODUCT.finditer(self.body)
                if not (_CONSTANT.match(match[3]) or _CONSTANT.match(match[4]))]


def split(text: str, prefix: str) -> list[Block]:
    """The blocks of RTLIL text from Amaranth, the top first. Names begin with `prefix`, the top's name.

    Modules that differ only in their place in the hierarchy are one block.
    """
    modules = _with_plain_ports({match[2]: (match[1], match[3]) for match in _MODULE.finditer(text)})
    children = {name: [cell[2] for cell in _CELL.finditer(body) if cell[2] in modules]
                for name, (_, body) in modules.items()}
    kinds: dict[str, str] = {}  # from a module to the first that equals it
    seen: dict[str, str] = {}
    for name in _leaves_first(children):
        body = _CELL.sub(lambda cell: cell[1] + kinds.get(cell[2], cell[2]) + cell[3], modules[name][1])
        kinds[name] = seen.setdefault(_meaning(body), name)
    names = _names([name for name in modules if kinds[name] == name], prefix)
    blocks = {}
    for name, (header, body) in modules.items():
        kind = kinds[name]
        if kind == name:
            renamed = _CELL.sub(lambda cell: cell[1] + names.get(kinds.get(cell[2], ""), cell[2]) + cell[3], body)
            blocks[kind] = Block(names[kind], _plain(header), _plain(renamed), _source(header))
        blocks[kind].places.append(name)
    return list(blocks.values())


def joined(blocks: list[Block]) -> str:
    """RTLIL text of the blocks."""
    return "".join(f"{block.header}module \\{block.name}\n{block.body}end\n" for block in blocks)


def _with_plain_ports(modules: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The modules with ports without names numbered from 0 in each, so that equal modules have equal ports."""
    names: dict[str, dict[str, str]] = {}
    for name, (_, body) in modules.items():
        own = _PORT.findall(_CELL.sub("", body))
        names[name] = {port: f"port_{i}" for i, port in enumerate(dict.fromkeys(own))}

    def renamed(module: str, text: str) -> str:
        return _PORT.sub(lambda port: "\\" + names.get(module, {}).get(port[1], port[1]), text)

    def connections(parent: str, cell: re.Match) -> str:
        """Of `connect PORT SIGNAL` the port is the child's, the signal the parent's."""
        lines = []
        for line in cell[3].splitlines(keepends=True):
            match = re.match(r"( *connect )(\S+ )(.*)", line, re.DOTALL)
            lines.append(match[1] + renamed(cell[2], match[2]) + renamed(parent, match[3]) if match
                         else renamed(parent, line))
        return cell[1] + cell[2] + "".join(lines)

    result = {}
    for name, (header, body) in modules.items():
        parts = []
        end = 0
        for cell in _CELL.finditer(body):
            parts += [renamed(name, body[end:cell.start()]), connections(name, cell)]
            end = cell.end()
        result[name] = header, "".join([*parts, renamed(name, body[end:])])
    return result


def _leaves_first(children: dict[str, list[str]]) -> list[str]:
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        for child in children[name]:
            if child not in done:
                visit(child)
        done[name] = None

    for name in children:
        visit(name)
    return list(done)


def _plain(text: str) -> str:
    """Without positions in the source and in the hierarchy."""
    return re.sub(r"^ *attribute \\(?:src|amaranth\.hierarchy|generator) .*\n", "", text, flags=re.MULTILINE)


def _meaning(body: str) -> str:
    """A text that is equal for modules that do the same: the order of ports, signals and cells has no meaning."""
    items = re.sub(r"^(  wire width \d+ (?:input|output)) \d+", r"\1", _plain(body), flags=re.MULTILINE).split("\n\n")
    return "\n".join(sorted(item.strip("\n") for item in items))


def _source(header: str) -> str:
    """The file that makes the module, from its package on."""
    match = _SOURCE.search(header)
    if match is None:
        return ""
    path = Path(match[1].rpartition(":")[0])
    parts = path.parts
    package = next((part for part in ("lepton_hdl", "amaranth") if part in parts), None)
    return "/".join(parts[parts.index(package):]) if package else path.name


def _names(modules: list[str], prefix: str) -> dict[str, str]:
    """A name for each module: the prefix and the last parts of its path, as many as tell it from all others."""
    paths = {name: [re.sub(r"\$\d+$", "", part) for part in name.split(".")] for name in modules}
    names = {}
    for name, path in paths.items():
        if len(path) == 1:
            names[name] = prefix
            continue
        for count in range(1, len(path)):
            ends = Counter(_end(other, count) for other in paths.values() if len(other) > count)
            if ends[_end(path, count)] == 1:
                names[name] = f"lepton_{_end(path, count)}"
                break
        else:
            names[name] = "_".join(path).replace("$", "_")
    return names


def _end(path: list[str], count: int) -> str:
    """The last parts of a path, without the number that tells equal modules apart."""
    first, *rest = path[-count:]
    return "_".join([re.sub(r"(?<=\D)_?\d+$", "", first), *rest])
