"""What the feeder sends to the tail: a command's parameter record, its scalars and its table."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig, Tensor
from lepton.arch.commands import PARAM_WORDS

from ..layouts import layout
from . import table

_TENSOR = layout(Tensor)

# The fields of a TENSOR command that its rows need in the tail. They are the same for all lanes.
SCALARS = data.StructLayout({name: _TENSOR[name].shape for name in (
    "uniform", "rounding", "out_zero", "out_min", "out_max", "table", "add", "multiply",
    *(f"add_{kind}_{operand}" for kind in ("zero", "mult", "shift") for operand in "abo"), "add_min", "add_max")})

# `bank`: the bank of the tables that the command uses.
SCALARS_WRITE = data.StructLayout({"scalars": SCALARS, "bank": range(table.BANKS)})

# A part of a table. Its bank must not be that of a command with rows in the tail.
TABLE_WRITE = data.StructLayout({
    "bank": range(table.BANKS), "index": range(table.BEATS), "beat": 8 * table.BEAT_BYTES})


def record_write_layout(config: ChipConfig) -> data.StructLayout:
    """Word `index` of a parameter record: one byte for each lane."""
    return data.StructLayout({"index": ceil_log2(PARAM_WORDS), "word": 8 * config.lanes})


class ParameterSignature(wiring.Signature):
    """The next command's parameters, seen from the feeder. The tail never stalls them.

    `record`, `scalars`, `table`: what the tail writes into its registers for the next command.
    `taken`: the next parameters have reached the tail's last stage, so the feeder may overwrite them. Only rows of the
    command that took them are left in the tail then.
    """

    def __init__(self, config: ChipConfig):
        super().__init__({
            "record": Out(stream.Signature(record_write_layout(config), always_ready=True)),
            "scalars": Out(stream.Signature(SCALARS_WRITE, always_ready=True)),
            "table": Out(stream.Signature(TABLE_WRITE, always_ready=True)),
            "taken": In(1),
        })
