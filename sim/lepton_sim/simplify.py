"""Rewrites Yosys's Verilog, line by line, into what Verilator compiles to better code; the meaning stays.

Yosys knows no sign extension and no drivers of parts: it writes the first as a concatenation of
copies of the sign bit, which Verilator shifts together bit by bit, and the second as an assignment
to a concatenation, which Verilator takes for a combinational loop where one part is computed from
another; it then evaluates everything behind it until nothing changes.
"""

import re

_NAME = r"(?:\\\S+ |[A-Za-z_][\w$]*)"
_DECLARATION = re.compile(rf"  (?:wire|reg|input|output)(?: \[(\d+):(\d+)\])? ({_NAME})(?: ?= .*)?;$")
_JOINED = re.compile(r"  assign \{ (?P<parts>.*?) \} = (?P<value>.*;)$")
_PART = re.compile(rf"({_NAME})(?:\[(\d+)(?::(\d+))?\])?")
_COPIES = re.compile(rf"({_NAME}\[\d+\])(?:, \1){{2,}}(?=[, ])")
# Copies of a bit before the vector that begins with it: `{{ x[7], x[7], x[7:2] }}`.
_SIGN = re.compile(rf"\$signed\(\{{ ({_NAME})\[(\d+)\](?:, \1\[\2\])*, (\1\[\2:\d+\]) \}}\)")
# The same before the whole vector: `{{ x[7], x[7], x }}`.
_SIGN_OF_ALL = re.compile(rf"\$signed\(\{{ ({_NAME})\[(\d+)\](?:, \1\[\2\])*, \1 \}}\)")


def simplify(verilog: str) -> str:
    """The same modules with plain sign extensions and assignments to one signal each."""
    lines: list[str] = []
    widths: dict[str, int] = {}
    joined = 0
    for line in verilog.splitlines():
        if line.startswith("module "):
            widths = {}
        if match := _DECLARATION.match(line):
            high, low, name = match.groups()
            widths[name.strip()] = int(high) - int(low) + 1 if high else 1
        elif match := _JOINED.match(line):
            parts = [(part[0].strip(), _width(part, widths)) for part in _PART.finditer(match["parts"])]
            known = [(part, width) for part, width in parts if width]
            if len(known) == len(parts):
                lines += _split(f"lepton_joined_{joined}", known, _extend(match["value"], widths))
                joined += 1
                continue
        lines.append(_extend(line, widths) if " = " in line or " <= " in line else line)
    return "\n".join(lines) + "\n"


def _extend(text: str, widths: dict[str, int]) -> str:
    """A signed operand is extended by the operator it stands in; elsewhere copies become a replication."""
    text = _SIGN.sub(r"$signed(\3)", text)
    text = _SIGN_OF_ALL.sub(
        lambda m: f"$signed({m[1]})" if widths.get(m[1].strip()) == int(m[2]) + 1 else m[0], text)
    return _COPIES.sub(lambda copies: f"{{ {copies[0].count(copies[1])}{{ {copies[1]} }} }}", text)


def _width(part: re.Match, widths: dict[str, int]) -> int | None:
    name, high, low = part.groups()
    return widths.get(name.strip()) if high is None else int(high) - int(low or high) + 1


def _split(name: str, parts: list[tuple[str, int]], value: str) -> list[str]:
    """A signal for the whole value, and an assignment from it to each of (target, width), highest bits first."""
    top = sum(width for _, width in parts)
    lines = [f"  wire [{top - 1}:0] {name} = {value}"]
    for target, width in parts:
        lines.append(f"  assign {target}  = {name}[{top - 1}:{top - width}];")
        top -= width
    return lines
