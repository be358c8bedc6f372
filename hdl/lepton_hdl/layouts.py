"""Amaranth layouts of the architecture's records, derived field by field."""

import enum
from functools import cache

from amaranth.hdl import Shape, ShapeLike, unsigned
from amaranth.lib import data
from amaranth.lib import enum as hdl_enum
from lepton.arch.record import Field, Record


@cache
def enum_shape(members: type[enum.IntEnum], bits: int) -> hdl_enum.EnumType:
    """The architecture's enumeration as a shape of `bits` bits, so that waves and debuggers show its names."""
    name = members.__name__
    bases = (hdl_enum.IntEnum,)
    namespace = hdl_enum.EnumType.__prepare__(name, bases, shape=unsigned(bits))
    for member in members:
        namespace[member.name] = member.value
    return hdl_enum.EnumType(name, bases, namespace, shape=unsigned(bits))


def field_shape(field: Field) -> ShapeLike:
    """The shape of one field. A field of an enumeration may hold a value that names no member."""
    if field.enum is not None:
        return enum_shape(field.enum, field.bits)
    return Shape(field.bits, field.signed)


@cache
def layout(record: Record) -> data.StructLayout:
    """The struct layout whose bits are those of `record.pack()`."""
    return data.StructLayout({field.name: field_shape(field) for field in record.fields})
