"""The memory port inside a board: one bus word a request, answered in order."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

ADDRESS_BITS = 32  # a word's index in memory; more than any SDRAM of these boards holds


def request_layout(data_bytes: int) -> data.StructLayout:
    """A read or a write of one word. `strobe` selects the bytes that a write changes."""
    return data.StructLayout({"write": 1, "address": ADDRESS_BITS, "data": 8 * data_bytes, "strobe": data_bytes})


class MemorySignature(wiring.Signature):
    """A manager of memory, which is `data_bytes` wide.

    Requests take effect in the order in which they are accepted, those of several managers included. A read is
    answered on `read_data`, which is never stalled, in the order of the reads. A write has no answer.
    """

    def __init__(self, data_bytes: int):
        self.data_bytes = data_bytes
        super().__init__({
            "request": Out(stream.Signature(request_layout(data_bytes))),
            "read_data": In(stream.Signature(8 * data_bytes, always_ready=True)),
        })
