"""Declares sums and products as wide as they are used.

Amaranth's are a bit wider than their operands, and what drops that bit again is a slice. Verilator computes the whole
and masks it, and a sum of 33 bits in 64. The low bits of a sum, difference or product do not depend on higher
ones, so those that nothing reads need not exist.
"""

import re

_NAME = r"(?:\\\S+ |[A-Za-z_][\w$]*)"
_NAMES = re.compile(rf"({_NAME})(?:\[(\d+)(?::(\d+))?\])?")
_WIRE = re.compile(rf"^  wire \[(\d+):0\] ({_NAME});\n", re.MULTILINE)
_OPERAND = rf"(?:\$signed\({_NAME}(?:\[\d+(?::\d+)?\])?\)|{_NAME}(?:\[\d+(?::\d+)?\])?|\d+'s?[bdh][0-9a-f]+)"
_ASSIGNMENT = re.compile(rf"^  assign ({_NAME}) = {_OPERAND} [-+*] {_OPERAND};\n", re.MULTILINE)
_DECLARATION = re.compile(rf"^  (?:wire|reg|input|output|inout)(?: \[\d+:0\])? {_NAME};\n", re.MULTILINE)


def narrow(verilog: str) -> str:
    """The same modules with narrower wires."""
    front, *modules = re.split(r"(?=^module )", verilog, flags=re.MULTILINE)
    return front + "".join(map(_module, modules))


def _module(text: str) -> str:
    widths = {match[2].strip(): int(match[1]) + 1 for match in _WIRE.finditer(text)}
    candidates = {match[1].strip() for match in _ASSIGNMENT.finditer(text)} & widths.keys()
    used = dict.fromkeys(candidates, 0)  # highest bit that anything reads, plus one
    targets = dict.fromkeys(candidates, 0)  # times it is named without bits: once, as the target
    for match in _NAMES.finditer(_DECLARATION.sub("", text)):
        name = match[1].strip()
        if name in candidates:
            if match[2] is None:
                targets[name] += 1
            else:
                used[name] = max(used[name], int(match[2]) + 1)
    narrowed = {name: used[name] for name in candidates if targets[name] == 1 and 0 < used[name] < widths[name]}
    if not narrowed:
        return text
    text = _WIRE.sub(lambda m: f"  wire [{narrowed[m[2].strip()] - 1}:0] {m[2]};\n"
                     if m[2].strip() in narrowed else m[0], text)

    def whole(match: re.Match) -> str:
        """A slice of all that is left is the name alone: Verilator extends the one and shifts the other."""
        name = match[1].strip()
        if match[3] == "0" and narrowed.get(name) == int(match[2]) + 1:
            return match[1]
        return match[0]

    declared: list[str] = []
    statements: list[str] = []
    for line in text.splitlines(keepends=True):
        (declared if _DECLARATION.match(line) else statements).append(line)
    body = _NAMES.sub(whole, "".join(statements))
    head, rest = body.split(";\n", 1)  # the module's port list stays first
    return head + ";\n" + "".join(declared) + rest
