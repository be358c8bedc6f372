"""Layers cut to pieces of pixels or of output blocks, each a layer of its own with the same index."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from ..arch.rows import ROW_GROUP
from .image import Image
from .layers import ChipLayer, Part

# Rows of a piece for ROWS at least: a command of fewer pays for its start, and for the table, more than it hides.
_LEAST_ROWS = 2 * ROW_GROUP

Span = tuple[int, int]


@dataclass(frozen=True)
class BufferPart:
    """A part of a buffer: blocks and pixels [start, stop)."""

    name: str
    blocks: Span
    pixels: Span

    def meets(self, other: "BufferPart") -> bool:
        """Whether both have a pixel of a block."""
        return (self.name == other.name and self.blocks[0] < other.blocks[1] and other.blocks[0] < self.blocks[1]
                and self.pixels[0] < other.pixels[1] and other.pixels[0] < self.pixels[1])


def region(image: Image) -> BufferPart:
    """Where an image is in its buffer; all pixels of the blocks where these are not a run."""
    if image.channels:
        return BufferPart(image.name, (0, 1), (0, image.height * image.width))
    blocks = image.first_block, image.first_block + image.blocks
    if image.folded or image.block_step or (image.height > 1 and image.row_bytes != image.width * image.pixel_bytes):
        return BufferPart(image.name, blocks, (0, image.block_bytes))
    first = image.inset // image.pixel_bytes
    return BufferPart(image.name, blocks, (first, first + image.height * image.width))


def regions(layer: ChipLayer) -> Iterator[tuple[BufferPart, bool]]:
    """What a layer reads and, with True, writes."""
    for image in layer.read:
        yield region(image), False
    yield region(layer.output), True


def in_pieces(layers: list[ChipLayer]) -> list[tuple[int, ChipLayer]]:
    """Each layer, or its pieces, with its position: those of ROWS by what layers before write apart, others with
    weights by what layers behind read apart."""
    made: list[tuple[int, ChipLayer]] = []
    spans = {position: _written_apart(layers[:position], layer) for position, layer in enumerate(layers)
             if layer.rows is not None}
    if not any(len(found) > 1 for found in spans.values()):
        return list(enumerate(layers))
    for position, layer in enumerate(layers):
        if len(spans.get(position, ())) > 1:
            parts = [_pixels(layer, span) for span in spans[position]]
        elif layer.weighted and layer.computed is None and not layer.output.channels:
            parts = _blocks(layer, _read_apart(layers[position + 1:], layer))
        else:
            parts = [layer]
        made += [(position, part) for part in parts]
    return made


def _written_apart(before: list[ChipLayer], layer: ChipLayer) -> list[Span]:
    """Pixels of a layer's source, as layers before it write them, at least `_LEAST_ROWS` together."""
    whole = region(layer.source)
    written = sorted({region(other.output).pixels for other in before if other.output.name == whole.name})
    if (layer.residual is not None or region(layer.output).pixels != whole.pixels or not written
            or written[0][0] != whole.pixels[0] or written[-1][1] != whole.pixels[1]
            or any(a[1] != b[0] for a, b in pairwise(written))):
        return []
    spans: list[Span] = []
    for start, stop in written:
        if spans and spans[-1][1] - spans[-1][0] < _LEAST_ROWS:
            spans[-1] = spans[-1][0], stop
        else:
            spans.append((start, stop))
    return spans


def _pixels(layer: ChipLayer, span: Span) -> ChipLayer:
    """The part of a layer, which reads and writes whole pixels, for some of them."""
    start, stop = (place - region(layer.source).pixels[0] for place in span)
    count = stop - start
    return replace(layer, source=layer.source.pixels(start, count), output=layer.output.pixels(start, count),
                   parts=[Part((0, 1), (0, count))], cuts={})


def _read_apart(behind: list[ChipLayer], layer: ChipLayer) -> list[int]:
    """Where the output blocks of a layer are cut so that each layer behind it reads whole pieces."""
    own = region(layer.output).blocks
    cuts = {end for other in behind for read, writes in regions(other) if read.name == layer.output.name and not writes
            for end in read.blocks if own[0] < end < own[1]}
    return [own[0], *sorted(cuts), own[1]]


def _blocks(layer: ChipLayer, cuts: list[int]) -> list[ChipLayer]:
    if len(cuts) == 2:
        return [layer]
    made: list[ChipLayer] = []
    for first, after in pairwise(cuts):
        start = first - cuts[0]
        stop = after - cuts[0]
        made.append(replace(
            layer, output=layer.output.part(start, stop - start), weights=layer.tiles[start:stop],
            params=layer.params[start:stop], first_block=layer.first_block[start:stop], cuts={},
            residual=None if layer.residual is None else layer.residual.part(start, stop - start),
            arrives=layer.arrives and not made, macs=0 if made else layer.macs,
            weight_bytes=0 if made else layer.weight_bytes))
    return made


def own_buffers(pieces: list[tuple[int, ChipLayer]], fixed: set[str]) -> list[tuple[int, ChipLayer]]:
    """The same, with a buffer for each part of one whose parts are written and read apart: it lives shorter."""
    found: dict[str, set[BufferPart]] = {}
    for _, layer in pieces:
        for part, _ in regions(layer):
            found.setdefault(part.name, set()).add(part)
    split = {name for name, parts in found.items() if name not in fixed and len(parts) > 1
             and not any(a is not b and a.meets(b) for a in parts for b in parts)}
    numbers = {part: number for name in split for number, part in enumerate(sorted(
        found[name], key=lambda part: (part.blocks, part.pixels)))}

    def own(image: Image) -> Image:
        number = numbers.get(region(image))
        if number is None or image.folded or image.channels:
            return image
        return replace(image, name=f"{image.name}#{number}", first_block=0, of_blocks=0, inset=0,
                       row_bytes=image.width * image.pixel_bytes)

    return [(position, replace(
        layer, source=own(layer.source), output=own(layer.output), cuts={},
        residual=None if layer.residual is None else own(layer.residual),
        computed=None if layer.computed is None else replace(layer.computed, image=own(layer.computed.image))))
        for position, layer in pieces]
