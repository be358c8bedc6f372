"""`ChipLayer`: one operator as the chip computes it, before anything is placed or tiled."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np

from ..arch import Rounding, RowsOpcode, TensorOpcode
from ..arch.commands import PARAM_WORDS, UNIFORM_PARAM_WORDS
from .image import Image


@dataclass(frozen=True)
class Box:
    """A part of a reduction: passes [start, stop) along blocks, kernel rows and kernel columns, and which addend of
    the weights (`ChipLayer.planes`)."""

    blocks: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    plane: int = 0

    @property
    def passes(self) -> int:
        return prod(stop - start for start, stop in (self.blocks, self.rows, self.columns))


@dataclass(frozen=True)
class Part:
    """A rectangle of the output, rows and columns [start, stop), with its own parameter record (`params[index]`)."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    index: int = 0


@dataclass(frozen=True)
class WindowWalk:
    """A depthwise kernel in the window unit: `height` x `width` taps, `rows` kernel rows to a pass."""

    height: int
    width: int
    rows: int

    @property
    def columns(self) -> int:
        """Columns that the window unit needs at least (WINDOW in `arch.commands`)."""
        return max(self.width, 2)

    def group(self, index: int) -> tuple[int, int]:
        """Kernel rows [start, stop) of a pass."""
        return index * self.rows, min((index + 1) * self.rows, self.height)


@dataclass(frozen=True)
class RowFunction:
    """What the ROWS engine computes of each pixel: the fields of its command that the layer decides, and the constants
    that it reads from the scratchpad, at the address in the field `address`."""

    opcode: RowsOpcode
    fields: dict[str, int]
    constants: bytes
    address: str


@dataclass(frozen=True)
class Addend:
    """What the passes of one plane of a product of two activations add for a zero point.

    of_pad: the products of `value` with the tiles, for which the walk is over pixels outside the image; otherwise
    those of the image with a tile of `value` in every lane that has a channel.
    """

    value: int
    of_pad: bool


@dataclass(frozen=True)
class TilesInMemory:
    """Weight tiles that are an activation in memory: output channel n is pixel n of `image`, which is one row; lanes
    and input blocks are those of its channels, of which there are `channels`. Unused lanes are 0.

    `addends` are the planes behind the first, that of the products themselves.
    """

    image: Image
    channels: int
    addends: tuple[Addend, ...] = ()


def _plane(weights: np.ndarray, plane: int) -> np.ndarray:
    """One of the int8 addends of int16 weights: what remains after those before it, as far as an int8 reaches."""
    for _ in range(plane):
        weights = weights - np.clip(weights, -128, 127)
    return np.clip(weights, -128, 127)


@dataclass(eq=False)
class ChipLayer:
    """One walk of the TENSOR engine over whole tensors, in passes and pixels; or, with `rows`, one of the ROWS engine.

    For DOT and WINDOW, `weights[ob]` holds the tiles of output block `ob`, of shape (blocks, kernel_y, kernel_x, K, K)
    with the output channel before the input lane (or tap), for the input blocks from `first_block[ob]` on, and
    `params[ob]` its record. They are int8, or int16 where the network's do not fit: then they are the sum of several
    int8 addends, each of which the array takes in passes of its own; the accumulators add them up. SUM and MAX work
    lane by lane: output block b reads input block b, and `params[i]` serves part i.
    """

    index: int  # of its counters, which it may share with others of its operator
    name: str
    op: str
    opcode: TensorOpcode | RowsOpcode
    source: Image
    output: Image
    kernel: tuple[int, int]  # passes (y, x)
    stride: tuple[int, int]  # (y, x) in rows and pixels of the source
    dilation: tuple[int, int]
    origin: tuple[int, int]  # padding rows above and columns to the left
    column_bytes: int  # bytes between kernel columns
    checks_columns: bool  # columns outside the image are padding; False where padding is in memory
    pad: int
    params: list[bytes]
    out_zero: int
    out_min: int
    out_max: int
    rounding: Rounding = Rounding.DOUBLE
    table: bytes | None = None  # 256 results, through which the tail's own go
    window: "WindowWalk | None" = None  # for WINDOW, whose `kernel` counts groups of kernel rows
    rows: RowFunction | None = None
    weights: list[np.ndarray] | None = None
    computed: TilesInMemory | None = None  # the weights are these; `weights` has only their shapes
    first_block: list[int] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    arrives: bool = False  # the source comes from outside while the layer computes
    finishes: bool = False  # it is the last of its job
    residual: Image | None = None
    add: dict[str, int] = field(default_factory=dict)  # the command's fields for the residual
    uniform: dict[str, int] = field(default_factory=dict)  # and for a scale that all channels have
    macs: int = 0
    weight_bytes: int = 0
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    # Parts of the reductions, by the limits that they keep: tilings share them (`tiling.Tiling._reductions`).
    cuts: dict[tuple[int, int], list[tuple[Box, list[Box], int]]] = field(default_factory=dict)

    @property
    def read(self) -> list[Image]:
        """The activations that it reads."""
        tiles = None if self.computed is None else self.computed.image
        return [image for image in (self.source, self.residual, tiles) if image is not None]

    @property
    def weighted(self) -> bool:
        """True where it takes weight tiles."""
        return self.weights is not None

    @property
    def constant_bytes(self) -> int:
        """Bytes of constants that are in the scratchpad while it computes."""
        return 0 if self.rows is None else len(self.rows.constants)

    @property
    def tiles(self) -> list[np.ndarray]:
        """`weights`; none for a layer without."""
        return self.weights or []

    @property
    def param_words(self) -> int:
        """Words of a parameter record."""
        return UNIFORM_PARAM_WORDS if self.uniform else PARAM_WORDS

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the first to the last that an output pixel reads."""
        if self.window is not None:
            return self.window.height - 1, self.window.width - 1
        return (self.kernel[0] - 1) * self.dilation[0], (self.kernel[1] - 1) * self.dilation[1]

    def full_box(self, ob: int) -> Box:
        """The whole reduction of an output block."""
        first = self.first_block[ob]
        return Box((first, first + len(self.tiles[ob])), (0, self.kernel[0]), (0, self.kernel[1]))

    @cached_property
    def reductions(self) -> list[tuple[Box, int]]:
        """The distinct reductions of the output blocks, and how many blocks have each."""
        return list(Counter(self.full_box(ob) for ob in range(len(self.tiles))).items())

    @cached_property
    def planes(self) -> int:
        """How many int8 the weights are the sum of: -128..127, then what is left, and so on."""
        if self.computed is not None:
            return 1 + len(self.computed.addends)
        planes = 1
        while any((_plane(w, planes) != 0).any() for w in self.tiles if w.dtype != np.int8):
            planes += 1
        return planes

    def box_weights(self, ob: int, box: Box) -> bytes:
        """The tiles of a part of the reduction, in the order of its passes."""
        return self._box(ob, box).astype(np.int8).tobytes()

    def box_is_empty(self, ob: int, box: Box) -> bool:
        """True where all of a part's weights are 0."""
        return self.computed is None and not self._box(ob, box).any()

    def _box(self, ob: int, box: Box) -> np.ndarray:
        first = self.first_block[ob]
        blocks = slice(box.blocks[0] - first, box.blocks[1] - first)
        return _plane(self.tiles[ob][blocks, slice(*box.rows), slice(*box.columns)], box.plane)

    def input_rows(self, rows: tuple[int, int]) -> tuple[int, int]:
        """Source rows [start, stop) that output rows [start, stop) read, those inside the image."""
        return self._extent(rows, 0, self.source.height)

    def input_columns(self, columns: tuple[int, int]) -> tuple[int, int]:
        """Source columns that output columns read; all of them where they are folded."""
        if self.source.folded or not self.checks_columns:
            return 0, self.source.width
        start, stop = self._extent(columns, 1, self.source.width)
        if self.window is not None:  # the window unit takes no image narrower than its kernel
            start = max(min(start, stop - self.window.columns), 0)
            stop = max(stop, start + self.window.columns)
        return start, stop

    def _extent(self, span: tuple[int, int], axis: int, limit: int) -> tuple[int, int]:
        first = span[0] * self.stride[axis] - self.origin[axis]
        last = (span[1] - 1) * self.stride[axis] - self.origin[axis] + self.reach[axis]
        start = max(first, 0)
        stop = min(last + 1, limit)
        if start < stop:
            return start, stop
        # All of it is padding: one row or column all the same, since tile buffers have at least one.
        inside = min(start, limit - 1)
        return inside, inside + 1
