"""Commands with `repeat`: one record that stands for many commands.

The hardware unrolls them between fetch and dispatch, so engines and semaphores see only single commands.
"""

from .commands import PARAM_WORDS, UNIFORM_PARAM_WORDS, Dma, Tensor
from .record import Record
from .rows import Rows

# The field that counts the outermost loop.
COUNT = {Dma.name: "count3", Tensor.name: "nz", Rows.name: "nz"}
# (field, what is added to it) from one command to the next; weights and parameters go their own way.
STEPS = {
    Dma.name: (("offset", "mem_step3"), ("local", "local_step3")),
    Rows.name: (("in_addr", "in_z"), ("out_addr", "out_z")),
    Tensor.name: (("in_addr", "in_z"), ("out_addr", "out_z"), ("res_addr", "res_z"), ("acc", "acc_z")),
}


def record_words(fields: dict[str, int]) -> int:
    """Words of the parameter record that a TENSOR command takes."""
    return UNIFORM_PARAM_WORDS if fields.get("uniform") else PARAM_WORDS


def repetitions(record: Record, fields: dict[str, int]) -> int:
    """How many commands a record of `record`'s layout stands for, at least 1."""
    return max(fields[COUNT[record.name]], 1) if fields.get("repeat") else 1


def unroll(record: Record, fields: dict[str, int]) -> list[dict[str, int]]:
    """All the commands that a record stands for."""
    return [repetition(record, fields, index) for index in range(repetitions(record, fields))]


def repetition(record: Record, fields: dict[str, int], index: int) -> dict[str, int]:
    """The fields of command `index` of those that a record stands for, as a command without `repeat`.

    Sums wrap as the hardware's adders do.
    """
    count = repetitions(record, fields)
    single = fields | {"repeat": 0, "first_wait": 0, "last_post": 0}
    if index == 0 and fields["first_wait"]:
        single["wait"] |= 1 << fields["first_wait"]
    if index == count - 1 and fields["last_post"]:
        single["post"] |= 1 << fields["last_post"]
    if count == 1:
        return single
    single[COUNT[record.name]] = 1
    moved = {name: fields[name] + index * fields[step] for name, step in STEPS[record.name]}
    if record is Tensor:
        unit = fields["params"] + record_words(fields) - fields["weights"]
        moved |= {"weights": fields["weights"] + index * unit, "params": fields["params"] + index * unit}
        single["fence"] = fields["fence"] if index == 0 else 0
    if "snapshot" in fields:
        single["snapshot"] = fields["snapshot"] if index == count - 1 else 0
    return single | {name: record.find(name).wrap(value) for name, value in moved.items()}
