"""Amaranth layouts as ints and dicts."""

from typing import Any

from amaranth.lib import data


def encode(layout: data.Layout, **fields: Any) -> int:
    """The bits of a layout with these fields; the others are 0."""
    bits: int = layout.const(fields).as_value().value
    return bits & ((1 << layout.size) - 1)


def decode(layout: data.Layout, bits: int) -> dict[str, Any]:
    """The fields of a layout by name."""
    view = layout.from_bits(bits)
    return {name: view[name] for name, _ in layout}
