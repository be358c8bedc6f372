"""The contracts between the chip's blocks: what is transferred, and which side may stall.

    control ── command ──► engine ── done, error ──► control
    engine ── segment ──► memory port ── beats ──► engine
    engine ── word ──► on-chip memories

Every one of them is a stream; `always_ready` marks those whose consumer never stalls.
"""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig, ErrorCode, Space
from lepton.arch.commands import REGIONS
from lepton.arch.record import Record

from .layouts import layout


def command_layout(record: Record) -> data.StructLayout:
    """A command on its way to an engine, with its index in the stream."""
    return data.StructLayout({"record": layout(record), "index": 32})


# A command has finished: its last byte has landed. `post` gives to semaphores.
DONE = data.StructLayout({"post": 16, "layer": 16, "snapshot": 1})

# An engine cannot go on. It stops where it is and stays stopped until reset.
ERROR = data.StructLayout({"code": 8, "index": 32, "layer": 16, "address": 64})
assert max(ErrorCode) < 256


class EngineSignature(wiring.Signature):
    """An engine as the control block sees it.

    `command`: the next command, its semaphores already taken.
    `done`: one transfer per finished command, in order.
    `error`: at most one transfer per job.
    `halt`: another engine has failed or the job was aborted: start nothing new,
    bring transactions on the bus to their end. `busy`: something is still under way
    (a command not finished, or a bus transaction outstanding); while `halt` is high
    it falls as soon as the bus is quiet.
    """

    def __init__(self, record: Record):
        super().__init__({
            "command": Out(stream.Signature(command_layout(record))),
            "done": In(stream.Signature(DONE, always_ready=True)),
            "error": In(stream.Signature(ERROR, always_ready=True)),
            "halt": Out(1),
            "busy": In(1),
        })


# Memory regions of the running job; stable while it runs.
REGION_TABLE = data.ArrayLayout(data.StructLayout({"base": 64, "size": 32}), REGIONS)

# A run of bytes in memory, `length` >= 1, any alignment. The port splits it into
# bursts of at most 256 beats that do not cross 4 KiB.
SEGMENT = data.StructLayout({"address": 64, "length": 32})


def read_beat_layout(data_bytes: int) -> data.StructLayout:
    """One beat of a segment as it is on the bus; `resp` is the worst seen so far in the segment."""
    return data.StructLayout({"data": 8 * data_bytes, "last": 1, "resp": 2, "address": 64})


def write_beat_layout(data_bytes: int) -> data.StructLayout:
    """One beat of a segment, already shifted to its byte lanes."""
    return data.StructLayout({"data": 8 * data_bytes, "strobe": data_bytes})


class ReadClientSignature(wiring.Signature):
    """A client of the read port: segments go out, their beats come back in order."""

    def __init__(self, data_bytes: int):
        super().__init__({
            "segment": Out(stream.Signature(SEGMENT)),
            "beat": In(stream.Signature(read_beat_layout(data_bytes))),
        })


# Every burst of a segment has been answered; `address` is that of the first failing burst, if any.
WRITE_RESPONSE = data.StructLayout({"resp": 2, "address": 64})


class WriteClientSignature(wiring.Signature):
    """A client of the write port: segments, their beats in order, one response per segment."""

    def __init__(self, data_bytes: int):
        super().__init__({
            "segment": Out(stream.Signature(SEGMENT)),
            "beat": Out(stream.Signature(write_beat_layout(data_bytes))),
            "response": In(stream.Signature(WRITE_RESPONSE, always_ready=True)),
        })


def word_write_layout(config: ChipConfig) -> data.StructLayout:
    """A word for one of the on-chip memories; `address` counts words."""
    return data.StructLayout({"space": 1, "address": 32, "data": 8 * config.lanes})


assert max(Space) < 2


class WordReadSignature(wiring.Signature):
    """A reader of the scratchpad: `request` (a word address) may be stalled; `data`
    follows in order, exactly one cycle after the request was accepted, and is not stalled."""

    def __init__(self, config: ChipConfig):
        super().__init__({
            "request": Out(stream.Signature(32)),
            "data": In(8 * config.lanes),
        })


__all__ = [
    "DONE", "ERROR", "REGION_TABLE", "SEGMENT", "WRITE_RESPONSE", "EngineSignature", "ReadClientSignature",
    "WordReadSignature", "WriteClientSignature", "command_layout",
    "read_beat_layout", "word_write_layout", "write_beat_layout",
]
