"""Which part of a layer one command computes: rows, columns and channel blocks that fit the memories.

The estimate of a tiling's cycles (`Tiling.cycles`) compares those that the array needs with those that memory needs for
the bytes that pass over the bus. `choice` takes the tiling with the least; `timing` predicts cycles more exactly, from
the commands.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from ..arch import ChipConfig, Tensor
from .image import Image
from .layers import Box, ChipLayer, Part

# Cycles of a command beyond its passes in the figures of `lepton compile --explain`: two commands follow each other
# within 2 cycles in the RTL.
_COMMAND_CYCLES = 2
# The same in the choice of tiles: more, so that small commands are not preferred, which also have records to fetch. The
# exact value matters little: 2 to 24 give the same tiles, and 48 and 96 nearly, for MLPerf Tiny and MobileNetV2 (base).
_CHOICE_COMMAND_CYCLES = 24
# The share of the shorter of compute and traffic in the estimate: they overlap, but not at a layer's start and end. It
# decides between tilings of equal maximum; 0 to 0.1 give the same tiles for the same networks.
_NOT_HIDDEN = 0.1
# Passes of a command of an interleaved layer, and of a job's last one, where memory does not run ahead any more. MLPerf
# Tiny's anomaly detection on `base` is predicted to take 17 868 cycles with 20 and 4, as with 5 or 10 in place of the
# 20; with 40 it is 1.7 % more, and with 8 in place of the 4 it is 64 cycles more.
_INTERLEAVED_PASSES = 20
_LAST_INTERLEAVED_PASSES = 4


ROWS_PASSES = 3  # of the ROWS engine over the words of a row (docs/decisions/27)


@dataclass(frozen=True)
class Streams:
    """Which activations of a layer pass through tile buffers because they do not stay in the scratchpad."""

    source: bool
    output: bool
    residual: bool


@dataclass(frozen=True)
class Tile:
    """Output rows and columns [start, stop) of one part."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    part: Part

    @property
    def pixels(self) -> int:
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])

    def of(self, image: Image) -> "Tile":
        """The rows and columns of a residual that the tile takes. A single row or column of it serves all."""
        return replace(self, rows=self.rows if image.height > 1 else (0, 1),
                       columns=self.columns if image.width > 1 else (0, 1))


def _spans(span: tuple[int, int], size: int) -> list[tuple[int, int]]:
    """[start, stop) cut into pieces of `size`, the last one perhaps smaller."""
    return [(start, min(start + size, span[1])) for start in range(span[0], span[1], size)]


class Tiling:
    """A layer cut to tiles of at most `rows` x `columns` output pixels and `blocks` channel blocks.

    `blocks` counts the input blocks of one command for DOT, and its output blocks (nz) for SUM and MAX. `buffers`:
    how many tiles of a streamed tensor are in the scratchpad at once. With one, array and transfers take turns.
    """

    def __init__(self, layer: ChipLayer, config: ChipConfig, streams: Streams, rows: int, columns: int, blocks: int,
                 buffers: int = 2):
        self.layer = layer
        self.config = config
        self.streams = streams
        self.rows = rows
        self.columns = columns
        self.blocks = blocks
        self.buffers = buffers
        self.dot = layer.weighted
        self.tried = 1  # tilings that fitted, of which this was the best

    @cached_property
    def tiles(self) -> list[Tile]:
        return [Tile(rows, columns, part) for part in self.layer.parts
                for rows in _spans(part.rows, self.rows) for columns in _spans(part.columns, self.columns)]

    @cached_property
    def tile_count(self) -> int:
        """How many `tiles` there are."""
        return sum(-(-(part.rows[1] - part.rows[0]) // self.rows)
                   * -(-(part.columns[1] - part.columns[0]) // self.columns) for part in self.layer.parts)

    @cached_property
    def block_groups(self) -> list[tuple[int, int]]:
        """Output blocks [start, stop) of each command: one for DOT, up to `blocks` for SUM and MAX."""
        return _spans((0, self.layer.output.blocks), 1 if self.dot else self.blocks)

    @cached_property
    def interleaved(self) -> bool:
        """True where every output block has accumulators of its own, so that all take one part of the reduction before
        any takes the next.

        Where a layer has few pixels, weights come no faster than the array takes them, and a command starts when all of
        its weights are there: the array stays a command behind, and small commands are best. In this order they are
        alike, one record for all blocks.
        """
        layer = self.layer
        pixels = self.rows * self.columns
        return (self.dot and layer.window is None and layer.computed is None and not self.streams.source
                and self.tile_count == len(self._reductions) == 1 and pixels < self.config.lanes
                and pixels <= Tensor.find("acc_z").maximum
                and pixels * layer.output.blocks <= self.config.accumulator_rows)

    @cached_property
    def boxes(self) -> list[list[Box]]:
        """The parts of the reduction of every output block, one command each."""
        if self.interleaved:
            passes = _LAST_INTERLEAVED_PASSES if self.layer.finishes else _INTERLEAVED_PASSES
            parts = self._parts(self.layer.full_box(0), self.layer.source.blocks, min(passes, self._box_passes))
            return [parts] * self.layer.output.blocks
        split = {box: boxes for box, boxes, _ in self._reductions}
        boxes = [split[self.layer.full_box(ob)] for ob in range(self.layer.output.blocks)]
        if (self.layer.arrives and not self.streams.source and self.layer.window is None
                and self.rows * self.columns >= 2 * self.config.lanes):
            # The first output block computes with an input block as soon as that is there.
            boxes[0] = self._parts(self.layer.full_box(0), 1, self._box_passes)
        if self.layer.planes > 1:  # few weights need a second addend: parts without such weights are left out
            boxes = [[box for box in some if box.plane == 0 or not self.layer.box_is_empty(ob, box)]
                     for ob, some in enumerate(boxes)]
        return boxes

    def _parts(self, box: Box, blocks: int, passes: int) -> list[Box]:
        """The parts of a reduction: what `_split` makes of it, for each addend of the weights."""
        return self._every_plane(_split(box, blocks, passes))

    def _every_plane(self, boxes: list[Box]) -> list[Box]:
        return [replace(box, plane=plane) for box in boxes for plane in range(self.layer.planes)]

    @cached_property
    def _reductions(self) -> list[tuple[Box, list[Box], int]]:
        """The distinct reductions of a DOT layer, their parts, and how many output blocks have them."""
        if self.layer.window is not None:  # one command for each group of kernel rows
            return [(box, self._every_plane([Box(box.blocks, (y, y + 1), box.columns) for y in range(*box.rows)]),
                     count) for box, count in self.layer.reductions]
        key = self.blocks, self._box_passes  # not rows and columns: many tilings share an entry
        if key not in self.layer.cuts:
            self.layer.cuts[key] = [(box, self._parts(box, *key), count) for box, count in self.layer.reductions]
        return self.layer.cuts[key]

    @property
    def _box_passes(self) -> int:
        """Tiles that half of the weight memory holds next to a parameter record; LOAD fills the other half."""
        return max((self.config.weight_words // 2 - self.layer.param_words) // self.config.lanes, 1)

    @cached_property
    def _source_blocks(self) -> int:
        if not self.dot:
            return self.blocks
        return max(box.blocks[1] - box.blocks[0] for _, boxes, _ in self._reductions for box in boxes)

    @cached_property
    def source_bytes(self) -> int:
        """Size of a tile buffer for the source."""
        image = self.layer.source
        height = self._reach(self.rows, 0, image.height)
        row = image.row_bytes if image.folded else self._reach(self.columns, 1, image.width) * image.pixel_bytes
        return self._source_blocks * height * row

    def _reach(self, outputs: int, axis: int, limit: int) -> int:
        layer = self.layer
        extent = (outputs - 1) * layer.stride[axis] + layer.reach[axis] + 1
        if axis == 1 and layer.window is not None:
            extent = max(extent, layer.window.columns)
        return min(extent, limit)

    @property
    def output_bytes(self) -> int:
        """Size of a tile buffer for the output."""
        return (1 if self.dot else self.blocks) * self.rows * self.columns * self.config.lanes

    @property
    def residual_bytes(self) -> int:
        """Size of a tile buffer for the residual."""
        image = self.layer.residual
        if image is None:
            return 0
        rows = self.rows if image.height > 1 else 1
        columns = self.columns if image.width > 1 else 1
        return (1 if self.dot else self.blocks) * rows * columns * self.config.lanes

    @property
    def source_loads_once(self) -> bool:
        """True where a streamed source tile serves all output blocks, so that it is loaded once per tile."""
        return self.dot and len(self._reductions) == 1 and len(self._reductions[0][1]) == 1

    @property
    def slots(self) -> tuple[int, int, int]:
        """Tile buffers of source, output and residual: `buffers` of a streamed one, one if it is filled only once."""
        commands = self.tile_count * len(self.block_groups)
        parts = len(self._reductions[0][1]) if self.dot else 1
        fills = self.tile_count if self.source_loads_once else commands * parts
        source = self.buffers if fills > 1 else 1
        others = self.buffers if commands > 1 else 1
        return source * self.streams.source, others * self.streams.output, others * self.streams.residual

    @property
    def bytes(self) -> int:
        """Scratchpad bytes of all tile buffers and constants."""
        source, output, residual = self.slots
        return (source * self.source_bytes + output * self.output_bytes + residual * self.residual_bytes
                + self.layer.constant_bytes)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights and parameters that one walk over the layer reads."""
        layer = self.layer
        planes = layer.planes if layer.computed is None else 1
        tiles = planes * sum(int(w.size) for w in layer.tiles) if self.dot else 0
        return tiles + len(layer.params) * layer.param_words * self.config.lanes

    @property
    def cycles(self) -> float:
        """The estimate by which a tiling is chosen: the longer of compute and traffic, and a share of the shorter."""
        compute, activations, weights = self._costs(_CHOICE_COMMAND_CYCLES)
        traffic = activations + weights
        return max(compute, traffic) + _NOT_HIDDEN * min(compute, traffic)

    @property
    def _passes(self) -> int:
        """Tiles of weights that one walk over the layer takes, with all addends."""
        return self.layer.planes * sum(box.passes * number for box, _, number in self._reductions)

    @property
    def costs(self) -> tuple[float, float, float]:
        """Cycles that the array needs, and the bus for activations and for weights."""
        compute, activations, weights = self._costs(_COMMAND_CYCLES)
        if self.dot and self.layer.planes > 1:  # many parts have no second addend
            share = sum(box.passes for some in self.boxes for box in some) / self._passes
            compute *= share
            weights *= share
        return compute, activations, weights

    def _costs(self, command_cycles: int) -> tuple[float, float, float]:
        layer = self.layer
        count = self.tile_count
        pixels = self.rows * self.columns
        if layer.window is not None:  # it walks the image, row by row, and one row more
            pixels = (self.rows * layer.stride[0] + 1) * self._reach(self.columns, 1, layer.source.width)
        if self.dot:
            passes = self._passes
            commands = sum(len(boxes) * number for _, boxes, number in self._reductions)
            # A tile of weights takes a cycle for each lane to enter the array, behind the pixels of the pass before.
            compute = count * (passes * max(pixels, self.config.lanes) + commands * command_cycles)
        else:
            passes = layer.kernel[0] * layer.kernel[1]
            if layer.rows is not None:
                passes = ROWS_PASSES * self.config.lanes // max(self.config.row_lanes, 1)
            commands = len(self.block_groups)
            compute = count * commands * (passes * pixels * self.blocks + command_cycles)
        traffic = 0
        weights = self.weight_bytes
        if self.streams.source:
            traffic += count * (1 if self.source_loads_once else commands) * self.source_bytes
            if self.weight_bytes > self.config.weight_bytes:
                weights += (count - 1) * self.weight_bytes
        if self.streams.residual:
            traffic += count * len(self.block_groups) * self.residual_bytes
        return compute, traffic / self.config.bus_bytes, weights / self.config.bus_bytes


def _split(box: Box, blocks: int, passes: int) -> list[Box]:
    """Cut a reduction into boxes of at most `blocks` blocks and `passes` passes whose tiles are one run of bytes."""
    b0, b1 = box.blocks
    y0, y1 = box.rows
    height = y1 - y0
    width = box.columns[1] - box.columns[0]
    some = min(blocks, passes // (height * width))
    if some >= 1:
        count = -(-(b1 - b0) // some)
        return [Box(b, box.rows, box.columns) for b in _spans(box.blocks, -(-(b1 - b0) // count))]
    single = [(b, b + 1) for b in range(b0, b1)]
    if passes >= width:
        return [Box(b, rows, box.columns) for b in single for rows in _spans(box.rows, passes // width)]
    return [Box(b, (y, y + 1), columns)
            for b in single for y in range(y0, y1) for columns in _spans(box.columns, passes)]
