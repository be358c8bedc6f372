"""Amaranth layouts of the architecture's records, derived field by field."""

from functools import cache

from amaranth.hdl import signed, unsigned
from amaranth.lib import data
from lepton.arch.record import Record


@cache
def layout(record: Record) -> data.StructLayout:
    """The struct layout whose bits are those of `record.pack()`."""
    return data.StructLayout({f.name: signed(f.bits) if f.signed else unsigned(f.bits) for f in record.fields})
