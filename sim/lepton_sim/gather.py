"""Puts registers that load together into one block, with the logic that only they use.

Verilator evaluates a signal that is used more than once in every cycle, whether or not a register
takes what depends on it. Where all its uses lie behind the same enable, it is a variable of that
enable's block instead. Signals used once are left to Verilator, which does that by itself.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

_NAME = r"(?:\\\S+ |[A-Za-z_]\w*)"
_NAMES = re.compile(r"\\\S+ |(?<![\w'$\\])[A-Za-z_]\w*")
_CONSTANT = r"\d+'[hbd]\w+"
_REGISTER = re.compile(
    rf"  always @\(posedge (?P<clock>\w+)\)\n"
    rf"(?:    if \((?P<reset>[^\n]*?)\) (?P<target>{_NAME}) ?<= (?P<initial>{_CONSTANT});\n    else )?(?:(?<=\n)    )?"
    rf"if \((?P<enable>[^\n]*?)\) (?P<register>{_NAME}) ?<= (?P<value>[^\n]*);\n(?!    else)")
_ASSIGNMENT = re.compile(rf"^  assign ({_NAME}) = (.*);\n", re.MULTILINE)
_WIRE = re.compile(rf"^  wire((?: \[\d+:0\])?) ({_NAME});\n", re.MULTILINE)
_PORT = re.compile(rf"^  (?:input|output)(?: \[\d+:0\])? ({_NAME});\n", re.MULTILINE)
_DECLARATION = re.compile(rf"^  (?:wire|reg|input|output)(?: \[\d+:0\])? {_NAME};\n", re.MULTILINE)
_Key = tuple[str, str | None, str]  # of a block: clock, reset and enable
_WORK = re.compile(r" [-+*<>?^] | <<|>>|>=|<=|==|!=")  # an operator that is worth a variable


@dataclass
class _AlwaysBlock:
    """Registers with one clock, reset and enable: (name, initial value, next value)."""

    registers: list[tuple[str, str | None, str]] = field(default_factory=list)


def gather(verilog: str) -> str:
    """The same modules with registers and their logic grouped by enable."""
    front, *modules = re.split(r"(?=^module )", verilog, flags=re.MULTILINE)
    return front + "".join(map(_module, modules))


def _names(text: str) -> list[str]:
    return [name.strip() for name in _NAMES.findall(text)]


def _module(text: str) -> str:
    blocks: dict[_Key, _AlwaysBlock] = defaultdict(_AlwaysBlock)

    def take(match: re.Match) -> str:
        if match["reset"] is not None and match["target"] != match["register"]:
            return match[0]
        blocks[match["clock"], match["reset"], match["enable"]].registers.append(
            (match["register"], match["initial"], match["value"]))
        return ""

    text = _REGISTER.sub(take, text)
    wires = {match[2].strip(): match[1] for match in _WIRE.finditer(text)}
    for match in _PORT.finditer(text):
        wires.pop(match[1].strip(), None)
    assigned = {match[1].strip(): match[2] for match in _ASSIGNMENT.finditer(text)}
    inside = _inside(text, blocks, {name: value for name, value in assigned.items() if name in wires})
    text = _WIRE.sub(lambda m: "" if m[2].strip() in inside else m[0], text)
    text = _ASSIGNMENT.sub(lambda m: "" if m[1].strip() in inside else m[0], text)
    lines = [line for i, (key, block) in enumerate(blocks.items())
             for line in _write(i, key, block, _ordered([n for n in inside if inside[n] == key], assigned), wires,
                                assigned)]
    end = text.rindex("endmodule")
    return text[:end] + "".join(f"  {line}\n" for line in lines) + text[end:]


def _inside(text: str, blocks: dict[_Key, _AlwaysBlock], movable: dict[str, str]) -> dict[str, _Key]:
    """Which block each signal moves into, of those that move."""
    users: dict[str, set[_Key | str | None]] = defaultdict(set)  # of a signal; None: anything else
    uses: Counter[str] = Counter()
    for key, block in blocks.items():
        for _, _, value in block.registers:
            for name in _names(value):
                users[name].add(key)
                uses[name] += 1
        for condition in key[1:]:
            for name in _names(condition or ""):
                users[name].add(None)
    rest = _DECLARATION.sub("", text)
    for match in _ASSIGNMENT.finditer(rest):
        target = match[1].strip()
        for name in _names(match[2]):
            users[name].add(target if target in movable else None)
            uses[name] += 1
    for name in _names(_ASSIGNMENT.sub("", rest)):
        users[name].add(None)

    only: dict[str, _Key] = {}
    changed = True
    while changed:
        changed = False
        for name in movable.keys() - only.keys():
            found = {only.get(user) if isinstance(user, str) else user for user in users[name]}
            place = found.pop() if len(found) == 1 else None
            if place is not None:
                only[name] = place
                changed = True
    # Those worth it, and whatever in the block is computed from them.
    moved = {name for name in only if uses[name] > 1 and _WORK.search(movable[name])}
    changed = True
    while changed:
        more = {name for name in only.keys() - moved if not moved.isdisjoint(_names(movable[name]))}
        moved |= more
        changed = bool(more)
    return {name: only[name] for name in movable if name in moved}


def _ordered(names: list[str], assigned: dict[str, str]) -> list[str]:
    """Each after those it is computed from."""
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in done:
            for source in _names(assigned[name]):
                if source in waiting:
                    visit(source)
            done[name] = None

    waiting = set(names)
    for name in names:
        visit(name)
    return list(done)


def _write(number: int, key: _Key, block: _AlwaysBlock, names: list[str], wires: dict[str, str],
           assigned: dict[str, str]) -> list[str]:
    clock, reset, enable = key
    spelled = {name: f"{name} " if name.startswith("\\") else name for name in names}
    lines = [f"always @(posedge {clock})"]
    if reset is not None:
        lines += [f"  if ({reset}) begin", *(f"    {name} <= {initial};" for name, initial, _ in block.registers),
                  "  end else"]
    lines.append(f"  if ({enable}) begin : lepton_enabled_{number}")
    lines += [f"    reg{wires[name]} {spelled[name]};" for name in names]
    lines += [f"    {spelled[name]} = {assigned[name]};" for name in names]
    lines += [f"    {name} <= {value};" for name, _, value in block.registers]
    return [*lines, "  end"]
