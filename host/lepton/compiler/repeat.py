"""Runs of commands that one record can stand for (`lepton.arch.repeat`) become one."""

from collections.abc import Iterable

from ..arch.record import Record
from ..arch.repeat import COUNT, STEPS, repetition


def merge(record: Record, commands: Iterable[dict[str, int]]) -> tuple[list[dict[str, int]], list[int]]:
    """The fields of an engine's records, in order, with `repeat` where it saves some, and how many commands each
    stands for. Execution is the same."""
    merged: list[dict[str, int]] = []
    counts: list[int] = []
    for fields in commands:
        fields = {field.name: int(fields.get(field.name, 0)) for field in record.fields}
        longer = _extend(record, merged[-1], counts[-1], fields) if merged else None
        if longer is None:
            merged.append(fields)
            counts.append(1)
        else:
            merged[-1] = longer
            counts[-1] += 1
    return merged, counts


def _extend(record: Record, run: dict[str, int], count: int, fields: dict[str, int]) -> dict[str, int] | None:
    """`run`, which stands for `count` commands, with one more; None where `fields` are not what would follow."""
    outer = COUNT[record.name]
    steps = STEPS[record.name]
    if (fields[outer], run[outer]) != (1, count) or count == record.find(outer).maximum or run["last_post"]:
        return None
    longer = run | {"repeat": 1, outer: count + 1}
    if count == 1:
        longer |= {step: record.find(step).wrap(fields[name] - run[name]) for name, step in steps}
    extra_wait = run["wait"] & ~fields["wait"]
    extra_post = fields["post"] & ~run["post"]
    if count == 1 and extra_wait:
        longer |= {"wait": fields["wait"], "first_wait": extra_wait.bit_length() - 1}
    if extra_post:
        longer["last_post"] = extra_post.bit_length() - 1
    if "snapshot" in run:
        if run["snapshot"]:
            return None
        longer["snapshot"] = fields["snapshot"]
    free = {outer, "repeat", "first_wait", "last_post", *(step for _, step in steps)}
    for n, wanted in ((count, fields), (0, repetition(record, run, 0))):
        made = repetition(record, longer, n)
        if any(made[name] != wanted[name] for name in fields.keys() - free):
            return None
    return longer
