"""Weights on their way: constants cut into batches, and the weight memory as a ring of batches.

Every command has a batch of its own, so that it waits only for what it needs, and the commands of a layer are alike
enough to become a single record (`repeat`).
"""

from dataclasses import dataclass

from ..arch import ChipConfig
from .tiling import Tiling

_ALIGNMENT = 64  # whole beats on every bus (`ChipConfig.bus_bytes` is at most 64)


@dataclass(frozen=True)
class Unit:
    """Weights of one command: words from the start of the batch; the parameter record follows the tiles."""

    batch: int  # index in the layer
    tiles: int
    params: int


@dataclass(eq=False)
class WeightBatch:
    """What one LOAD brings: `size` bytes at `offset` of the constants."""

    layer: int
    offset: int
    size: int


class LayerWeights:
    """A layer's constants, appended to `constants`, in batches of units in the order of their use.

    A `table` that the layer brings is the last batch, `table_batch`.
    """

    def __init__(self, layer_position: int, tiling: Tiling, config: ChipConfig, constants: bytearray,
                 table: bytes | None = None):
        self.batches: list[WeightBatch] = []
        self.units: dict[tuple[int, int], Unit] = {}  # (output block, box index) -> unit; (0, 0) for SUM and MAX
        lanes = config.lanes
        layer = tiling.layer

        def add(data: bytes) -> int:
            constants.extend(bytes(-len(constants) % _ALIGNMENT))
            self.batches.append(WeightBatch(layer_position, len(constants), len(data)))
            constants.extend(data)
            return len(self.batches) - 1

        if not layer.weighted and layer.rows is None:
            self.units[0, 0] = Unit(add(b"".join(layer.params)), 0, 0)
        order = [(ob, i) for ob, boxes in enumerate(tiling.boxes if layer.weighted else [])
                 for i in range(len(boxes))]
        if tiling.interleaved:
            order.sort(key=lambda unit: unit[1])
        for ob, i in order:
            boxes = tiling.boxes[ob]
            data = layer.box_weights(ob, boxes[i])
            tiles = len(data) // lanes
            data += layer.params[ob] if i == len(boxes) - 1 else b""
            self.units[ob, i] = Unit(add(data), 0, tiles)
        self.table_batch = len(self.batches)
        if table is not None:
            add(table)

    @property
    def size(self) -> int:
        return sum(b.size for b in self.batches)


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
