"""Weight tiles that are an activation in memory (`layers.TilesInMemory`), with constants as parameter records."""

import numpy as np

from ..arch import ChipConfig
from .commands import WeightRows
from .layers import ChipLayer, TilesInMemory
from .tiling import Tiling
from .weights import Piece, SharedConstants, Unit, WeightBatch, WeightSource

# The share of the weight memory that a batch of several output blocks takes at most: while one is used, the next is
# loaded, and tiles for zero points need room as well.
_SHARE = 4


class WeightsInMemory(WeightSource):
    """The batches of a layer whose tiles another layer has written to memory, or the host.

    An output block has its tiles one after the other and then its record, as constants have. Batches have several
    output blocks, or where one is too large for that, one part of its reduction; then records are batches of their own.
    """

    def __init__(self, tiling: Tiling, tiles: TilesInMemory, config: ChipConfig, shared: SharedConstants,
                 table: bytes | None):
        super().__init__()
        self._layer: ChipLayer = tiling.layer
        self._tiles = tiles
        self._shared = shared
        self._lanes = config.lanes
        self._tile_bytes = config.lanes * config.lanes
        whole = tiles.image.blocks * self._tile_bytes + len(self._layer.params[0])
        together = config.weight_bytes // _SHARE // whole
        if together:
            self._add_blocks(tiling, whole, together)
        else:
            self._add_parts(tiling)
        self.table_batch = len(self.batches)
        if table is not None:
            self.batches.append(shared.batch(table))

    def _add_blocks(self, tiling: Tiling, whole: int, together: int) -> None:
        count = tiling.layer.output.blocks
        words = whole // self._lanes
        record_at = words - self._layer.param_words
        for first in range(0, count, together):
            blocks = range(first, min(first + together, count))
            main = self._add(WeightBatch(len(blocks) * whole, self._pieces(blocks, whole)))
            for place, ob in enumerate(blocks):
                for i, box in enumerate(tiling.boxes[ob]):
                    addend = self._addend(box.plane)
                    tiles = place * words + box.blocks[0] * self._lanes
                    batch = main
                    if addend is not None:
                        batch = self._add(self._shared.batch(self._constant_tiles(box.blocks, addend)))
                        tiles = 0
                    self.units[ob, i] = Unit(batch, tiles, place * words + record_at, main)

    def _add_parts(self, tiling: Tiling) -> None:
        for ob, boxes in enumerate(tiling.boxes):
            record = self._add(self._shared.batch(self._layer.params[ob]))
            held: dict[tuple[int, int], int] = {}
            for i, box in enumerate(boxes):
                addend = self._addend(box.plane)
                if addend is not None:
                    batch = self._add(self._shared.batch(self._constant_tiles(box.blocks, addend)))
                else:
                    if box.blocks not in held:
                        count = box.blocks[1] - box.blocks[0]
                        held[box.blocks] = self._add(WeightBatch(
                            count * self._tile_bytes, [self._rows(range(ob, ob + 1), 0, box.blocks)]))
                    batch = held[box.blocks]
                self.units[ob, i] = Unit(batch, 0, 0, record)

    def _add(self, batch: WeightBatch) -> int:
        if batch not in self.batches:
            self.batches.append(batch)
        return self.batches.index(batch)

    def _addend(self, plane: int) -> int | None:
        """What is in the constant tiles of a plane; None for one that takes those in memory."""
        if plane == 0 or self._tiles.addends[plane - 1].of_pad:
            return None
        return self._tiles.addends[plane - 1].value

    def _constant_tiles(self, blocks: tuple[int, int], value: int) -> bytes:
        lanes = np.arange(blocks[0] * self._lanes, blocks[1] * self._lanes).reshape(-1, 1, self._lanes)
        tiles = np.where(lanes < self._tiles.channels, value, 0).astype(np.int8)
        return np.repeat(tiles, self._lanes, axis=1).tobytes()

    def _pieces(self, blocks: range, whole: int) -> list[Piece]:
        """The LOADs of whole output blocks: of those with as many channels as the array has columns together."""
        columns = self._tiles.image.width
        full = len([ob for ob in blocks if (ob + 1) * self._lanes <= columns])
        pieces: list[Piece] = []
        for part, at in ((blocks[:full], 0), (blocks[full:], full * whole)):
            if part:
                record = self._layer.params[part[0]]
                pieces.append(self._rows(part, whole, (0, self._tiles.image.blocks), at))
                pieces.append(Piece(self._shared.offset(record), WeightRows(len(record), ((len(part), 0, whole),)),
                                    at + whole - len(record)))
        return pieces

    def _rows(self, obs: range, step: int, blocks: tuple[int, int], at: int = 0) -> Piece:
        """The LOAD of the tiles of output blocks, `step` bytes apart; of one that is not full its channels alone."""
        image = self._tiles.image
        first = obs[0] * self._lanes
        size = min(self._lanes, image.width - first) * image.pixel_bytes
        loops = (blocks[1] - blocks[0], image.block_bytes, self._tile_bytes), (len(obs), self._tile_bytes, step)
        return Piece(image.offset + blocks[0] * image.block_bytes + first * image.pixel_bytes,
                     WeightRows(size, tuple(loop for loop in loops if loop[0] > 1)), at, image)
