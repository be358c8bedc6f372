"""Weights on their way: constants cut into batches, and the weight memory as a ring of batches.

Every command has a batch of its own, so that it waits only for what it needs, and the commands of a layer are alike
enough to become a single record (`repeat`).
"""

from dataclasses import dataclass

from ..arch import ChipConfig
from .commands import WeightRows
from .layers import Image
from .tiling import Tiling

ALIGNMENT = 64  # whole beats on every bus (`ChipConfig.bus_bytes` is at most 64)


@dataclass(frozen=True)
class Unit:
    """Weights of one command: words from the start of a batch."""

    batch: int  # index in the layer
    tiles: int
    params: int
    record: int  # the batch that has the parameter record, mostly that of the tiles, which it follows


@dataclass(frozen=True)
class Piece:
    """What one LOAD brings: `rows` from `offset` on, of the constants or of the activation `image`, to `at` bytes from
    the start of the batch."""

    offset: int
    rows: WeightRows
    at: int = 0
    image: Image | None = None


@dataclass(eq=False)
class WeightBatch:
    """What is loaded together: `size` bytes of the weight memory."""

    size: int
    pieces: list[Piece]


class WeightSource:
    """Where the weights of a layer's commands come from: `units` by (output block, index of the box), in `batches`.

    A table that the layer brings is the last batch, `table_batch`.
    """

    def __init__(self) -> None:
        self.batches: list[WeightBatch] = []
        self.units: dict[tuple[int, int], Unit] = {}  # (0, 0) alone for SUM and MAX
        self.table_batch = 0

    @property
    def size(self) -> int:
        return sum(b.size for b in self.batches)


class LayerWeights(WeightSource):
    """A layer's constants, appended to `constants`, in batches of units in the order of their use."""

    def __init__(self, tiling: Tiling, config: ChipConfig, constants: bytearray, table: bytes | None = None):
        super().__init__()
        lanes = config.lanes
        layer = tiling.layer

        def add(data: bytes) -> int:
            constants.extend(bytes(-len(constants) % ALIGNMENT))
            self.batches.append(WeightBatch(len(data), [Piece(len(constants), WeightRows(len(data)))]))
            constants.extend(data)
            return len(self.batches) - 1

        if not layer.weighted and layer.rows is None:
            self.units[0, 0] = Unit(0, 0, 0, 0)
            add(b"".join(layer.params))
        order = [(ob, i) for ob, boxes in enumerate(tiling.boxes if layer.weighted else [])
                 for i in range(len(boxes))]
        if tiling.interleaved:
            order.sort(key=lambda unit: unit[1])
        for ob, i in order:
            boxes = tiling.boxes[ob]
            data = layer.box_weights(ob, boxes[i])
            tiles = len(data) // lanes
            data += layer.params[ob] if i == len(boxes) - 1 else b""
            batch = add(data)
            self.units[ob, i] = Unit(batch, 0, tiles, batch)
        self.table_batch = len(self.batches)
        if table is not None:
            add(table)


class WeightRing:
    """The weight memory as a ring: a batch stays until a later one takes its place."""

    def __init__(self, config: ChipConfig):
        self.size = config.weight_bytes
        self._next = 0
        self._held: dict[WeightBatch, int] = {}

    def find(self, batch: WeightBatch) -> int | None:
        """Byte address of a batch that is there."""
        return self._held.get(batch)

    def take(self, batch: WeightBatch) -> int:
        """Byte address for a batch; batches that it overlaps are no longer held."""
        if self._next + batch.size > self.size:
            self._next = 0
        start = self._next
        stop = start + batch.size
        self._held = {b: a for b, a in self._held.items() if a >= stop or a + b.size <= start}
        self._held[batch] = start
        self._next = stop
        return start

    def make_room(self, batches: list[WeightBatch]) -> None:
        """Start again at address 0 where a layer's batches fit together only then, not with a gap at the end."""
        if not batches:
            return
        size = sum(b.size for b in batches)
        gap = max(b.size for b in batches)  # at most, at the memory's end
        if self._next + size > self.size >= size and size + gap > self.size:
            self._next = 0
