"""Records: fixed-size little-endian structures of bit fields.

A record is declared once as a list of `Field`s and packs without gaps, least
significant bit first. Hardware derives an `amaranth.lib.data.StructLayout` from
the same list (`lepton_hdl.layouts`), so there is no second place to keep in step.
"""

from dataclasses import dataclass, field
from enum import IntEnum


class FieldError(ValueError):
    """A value does not fit its field, or bytes do not form the record."""


@dataclass(frozen=True)
class Field:
    """One bit field: `bits` wide, two's complement where `signed`."""

    name: str
    bits: int
    doc: str
    signed: bool = False
    enum: type[IntEnum] | None = None

    @property
    def minimum(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

    def wrap(self, value: int) -> int:
        """`value` as a register of this width holds it."""
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if self.signed and value >> (self.bits - 1) else value


@dataclass(frozen=True)
class Record:
    """A named sequence of fields that fills exactly `size` bytes.

    Fields named `reserved*` must be zero; `pack` writes them, `unpack` checks
    them only on request, because hardware reports a non-zero one as an error.
    """

    name: str
    size: int
    fields: tuple[Field, ...]
    doc: str = ""
    _by_name: dict[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        bits = sum(f.bits for f in self.fields)
        if bits != self.size * 8:
            raise FieldError(f"{self.name}: fields fill {bits} bits, the record has {self.size * 8}")
        object.__setattr__(self, "_by_name", {f.name: f for f in self.fields})
        if len(self._by_name) != len(self.fields):
            raise FieldError(f"{self.name}: two fields have the same name")

    def pack(self, **values: int) -> bytes:
        """Encode the record; fields not named are zero.

        Raises `FieldError` for an unknown field or a value outside its range.
        """
        unknown = values.keys() - self._by_name.keys()
        if unknown:
            raise FieldError(f"{self.name} has no field {sorted(unknown)[0]!r}; it has {', '.join(self._by_name)}")
        word = 0
        shift = 0
        for f in self.fields:
            value = int(values.get(f.name, 0))
            if not f.minimum <= value <= f.maximum:
                raise FieldError(
                    f"{self.name}.{f.name} must be in {f.minimum}..{f.maximum}, not {value}")
            word |= (value & ((1 << f.bits) - 1)) << shift
            shift += f.bits
        return word.to_bytes(self.size, "little")

    def unpack(self, data: bytes) -> dict[str, int]:
        """Decode `size` bytes into a dict of plain integers."""
        if len(data) != self.size:
            raise FieldError(f"{self.name} takes {self.size} bytes, not {len(data)}")
        word = int.from_bytes(data, "little")
        values = {}
        for f in self.fields:
            values[f.name] = f.wrap(word)
            word >>= f.bits
        return values

    def find(self, name: str) -> Field:
        """The field of that name."""
        return self._by_name[name]

    def offset(self, name: str) -> int:
        """Bit offset of a field from the start of the record."""
        shift = 0
        for f in self.fields:
            if f.name == name:
                return shift
            shift += f.bits
        raise FieldError(f"{self.name} has no field {name!r}")
