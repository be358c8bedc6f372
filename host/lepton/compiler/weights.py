"""The loading of weights: constants cut into batches, and the weight memory as a ring of batches.

Every command has a batch of its own, so that it waits only for what it needs, and the commands of a layer are alike
enough to become a single record (`repeat`).
"""

from dataclasses import dataclass

from ..arch import ChipConfig
from .commands import WeightRows
from .image import Image
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


class SharedConstants:
    """Constants that many layers of a job use, each once in `constants` and once in the weight memory."""

    def __init__(self, constants: bytearray):
        self._constants = constants
        self._offsets: dict[bytes, int] = {}
        self._batches: dict[tuple[bytes, ...], list[WeightBatch]] = {}

    def offset(self, data: bytes) -> int:
        if data not in self._offsets:
            self._offsets[data] = self._append(data)
        return self._offsets[data]

    def batch(self, data: bytes) -> WeightBatch:
        """The batch of one constant."""
        if (data,) not in self._batches:
            self._batches[data,] = [WeightBatch(len(data), [Piece(self.offset(data), WeightRows(len(data)))])]
        return self._batches[data,][0]

    def layer(self, parts: tuple[bytes, ...]) -> list[WeightBatch]:
        """The batches of a layer, those of an earlier one if all are the same; a single one may be of any layer's.

        Parts that are alike are there twice: in even distances, their loads and their commands are rounds of one
        record (`repeat`).
        """
        if len(parts) == 1:
            return [self.batch(parts[0])]
        if parts not in self._batches:
            self._batches[parts] = [WeightBatch(len(data), [Piece(self._append(data), WeightRows(len(data)))])
                                    for data in parts]
        return self._batches[parts]

    def _append(self, data: bytes) -> int:
        self._constants.extend(bytes(-len(self._constants) % ALIGNMENT))
        self._constants.extend(data)
        return len(self._constants) - len(data)


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
    """A layer's constants in batches of units, in the order of their use."""

    def __init__(self, tiling: Tiling, config: ChipConfig, shared: SharedConstants, table: bytes | None = None):
        super().__init__()
        layer = tiling.layer
        if layer.weighted:
            order = [(ob, i) for ob, boxes in enumerate(tiling.boxes) for i in range(len(boxes))]
            if tiling.interleaved:
                order.sort(key=lambda unit: unit[1])
            parts: list[bytes] = []
            for ob, i in order:
                tiles = layer.box_weights(ob, tiling.boxes[ob][i])
                self.units[ob, i] = Unit(len(parts), 0, len(tiles) // config.lanes, len(parts))
                parts.append(tiles + (layer.params[ob] if i == len(tiling.boxes[ob]) - 1 else b""))
            self.batches += shared.layer(tuple(parts))
        elif layer.rows is None:
            self.units[0, 0] = Unit(0, 0, 0, 0)
            self.batches.append(shared.batch(b"".join(layer.params)))
        self.table_batch = len(self.batches)
        if table is not None:
            self.batches.append(shared.batch(table))


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
        batches = [batch for batch in dict.fromkeys(batches) if batch not in self._held]
        if not batches:
            return
        size = sum(b.size for b in batches)
        gap = max(b.size for b in batches)  # at most, at the memory's end
        if self._next + size > self.size >= size and size + gap > self.size:
            self._next = 0
