"""Commands of a job in the order of a sequential execution.

The order decides what each engine does after what; `semaphores` derives from it the waits that matter. Loads come
before the commands that need them, so that the LOAD engine runs ahead as far as buffers allow.
"""

from dataclasses import replace
from itertools import groupby

from ..arch import ChipConfig, DmaOpcode, Region, Tensor
from ..arch.commands import PARAM_WORDS, TABLE_BYTES
from .commands import (
    Access,
    Area,
    Command,
    CommandSequence,
    Memory,
    constant_transfer,
    packed_transfers,
    tile_area,
    transfer,
    weight_transfer,
)
from .image import Image
from .layers import Box, ChipLayer
from .order import block_groups, last_parts
from .placement import Placement
from .row_walks import row_walk
from .tiling import Tile
from .walks import add_tail, walk
from .weights import LayerWeights, Piece, SharedConstants, WeightRing, WeightSource
from .weights_in_memory import WeightsInMemory


def schedule(layers: list[ChipLayer], placement: Placement, config: ChipConfig, inputs: list[str],
             outputs: list[str]) -> CommandSequence:
    """The program of one job. `inputs` name the buffers that are in memory before it starts, `outputs` those that the
    host reads."""
    program = CommandSequence(constants=bytearray(placement.constants))
    state = _ScheduleState(placement, config, program, set(inputs), set(outputs))
    for position, layer in enumerate(layers):
        _LayerScheduler(state, position, layer, last=position == len(layers) - 1).run()
    return program


class _ScheduleState:
    """What lasts from layer to layer."""

    def __init__(self, placement: Placement, config: ChipConfig, program: CommandSequence, inputs: set[str],
                 outputs: set[str]):
        self.placement = placement
        self.config = config
        self.program = program
        self.inputs = inputs
        self.outputs = outputs
        self.memory = WeightRing(config)
        self.shared = SharedConstants(program.constants)
        self.table: bytes | None = None  # what the tail holds
        self.loaded: dict[tuple[str, int], int] = {}  # resident inputs: bytes of a block that have been loaded

    def resident(self, image: Image) -> Area | None:
        """The area of an image that stays in the scratchpad; None for others."""
        address = self.placement.resident.get(image.name)
        if address is None:
            return None
        return Area(address + image.offset, (0, image.blocks), (0, image.height), (0, image.width), image.pixel_bytes,
                    image.row_bytes, image.inset, image.block_step)


class _LayerScheduler:
    """Appends the commands of one layer, the last of its job or not."""

    def __init__(self, state: _ScheduleState, position: int, layer: ChipLayer, last: bool):
        self.state = state
        self.layer = layer
        self.config = state.config
        self.is_last = last
        self.program = state.program
        self.tiling = state.placement.tilings[position]
        self.slots = state.placement.slots[position]
        # The table stays in the tail; a layer brings its own where that of the layer before is another one.
        self.brings_table = layer.table not in (None, state.table)
        state.table = layer.table or state.table
        self.weights = self._weight_source(layer.table if self.brings_table else None)
        self.dot = layer.weighted
        self.source_keys: dict[object, int] = {}  # what the source's tile buffers hold
        self.turns = {"source": 0, "output": 0, "residual": 0}
        self.last: Command | None = None

    def run(self) -> None:
        self.state.memory.make_room(self.weights.batches)
        if self._source_was_spilled():
            self._prefetch_weights()
        if self.tiling.interleaved:
            for i in range(len(self.tiling.boxes[0])):
                for ob in range(len(self.tiling.block_groups)):
                    self._output_block(self.tiling.tiles[0], ob, slice(i, i + 1))
        else:
            groups = block_groups(self.tiling, self.weights, self.config)
            work = [(tile, ob) for group in groups for tile in self.tiling.tiles for ob in group]
            for tile, ob in work[:-1]:
                self._output_block(tile, ob)
            tile, ob = work[-1]
            for part in last_parts(self.tiling, tile, self.config) if self.is_last else [tile]:
                self._output_block(part, ob)
        if self.last is not None and self.layer.index < self.config.layer_slots:
            self.last.fields["snapshot"] = 1

    def _source_was_spilled(self) -> bool:
        place = self.state.placement.memory.get(self.layer.source.name)
        return place is not None and place.region != Region.INPUT and self.tiling.streams.source

    def _prefetch_weights(self) -> None:
        """Weights first, up to half of the memory: the source's load will wait for a store."""
        size = 0
        for index, batch in enumerate(self.weights.batches):
            size += batch.size
            if size > self.config.weight_bytes // 2:
                break
            self._weights(index)

    def _weight_source(self, table: bytes | None) -> WeightSource:
        if self.layer.computed is not None:
            return WeightsInMemory(self.tiling, self.layer.computed, self.config, self.state.shared, table)
        return LayerWeights(self.tiling, self.config, self.state.shared, table)

    # loads

    def _weights(self, index: int) -> int:
        """Word address of a batch, loaded if it is not there."""
        batch = self.weights.batches[index]
        address = self.state.memory.find(batch)
        if address is None:
            address = self.state.memory.take(batch)
            for piece in batch.pieces:
                region, start = self._place(piece)
                self.program.commands.append(weight_transfer(self.layer.index, region, start + piece.offset,
                                                             address + piece.at, piece.rows))
        return address // self.config.lanes

    def _place(self, piece: Piece) -> tuple[Region, int]:
        """Region and offset of what a piece is a part of."""
        if piece.image is None:
            return Region.PROGRAM, 0
        place = self.state.placement.memory[piece.image.name]
        return place.region, place.offset

    def _load(self, image: Image, area: Area, part: Area) -> None:
        self._transfer(DmaOpcode.LOAD, image, area, part)

    def _transfer(self, opcode: DmaOpcode, image: Image, area: Area, part: Area) -> None:
        place = self.state.placement.memory[image.name]
        if image.channels:
            self.program.commands += packed_transfers(opcode, self.layer.index, place.region, place.offset, part, image)
            return
        self.program.commands.append(transfer(opcode, self.layer.index, place.region, place.offset + image.offset,
                                              area, part, image))

    def _slot(self, kind: str) -> int:
        addresses = getattr(self.slots, kind)
        address = addresses[self.turns[kind] % len(addresses)]
        self.turns[kind] += 1
        return address

    def _whole(self, image: Image, rows: tuple[int, int], blocks: tuple[int, int]) -> Area | None:
        """A resident image with all rows of `blocks` up to those needed, None where it is not resident."""
        area = self.state.resident(image)
        if area is not None and image.name in self.state.inputs:
            self._load_rows(image, rows, blocks)
        return area

    def _load_rows(self, image: Image, rows: tuple[int, int], blocks: tuple[int, int]) -> None:
        """Load what is not there yet of a resident input."""
        if not image.folded:  # other layers may read other pixels of the same rows
            image = replace(image, inset=0, width=image.row_bytes // image.pixel_bytes)
        area = self.state.resident(image)
        if area is not None:
            loaded = self.state.loaded
            # Counted in bytes, since other layers may see the same pixels in other rows.
            for done, group in groupby(range(*blocks), key=lambda b: loaded.get((image.name, image.first_block + b), 0)
                                     // image.row_bytes):
                if rows[1] > done:
                    run = list(group)
                    part = Area(area.address, (run[0], run[-1] + 1), (done, rows[1]), area.columns, area.pixel_bytes,
                                area.row_bytes)
                    self._load(image, area, part)
                    loaded |= dict.fromkeys(((image.name, image.first_block + block) for block in run),
                                            rows[1] * image.row_bytes)

    def _source(self, tile: Tile, blocks: tuple[int, int]) -> Area:
        image = self.layer.source
        rows = self.layer.input_rows(tile.rows)
        columns = self.layer.input_columns(tile.columns)
        area = self._whole(image, rows, blocks)
        if area is not None:
            return area
        key = (blocks, rows, columns)
        address = self.source_keys.get(key)
        row_bytes = image.row_bytes if image.folded else (columns[1] - columns[0]) * image.pixel_bytes
        if address is None:
            address = self._slot("source")
            self.source_keys = {k: a for k, a in self.source_keys.items() if a != address} | {key: address}
            area = Area(address, blocks, rows, columns, image.pixel_bytes, row_bytes)
            self._load(image, area, area)
        return Area(address, blocks, rows, columns, image.pixel_bytes, row_bytes)

    def _residual(self, image: Image, tile: Tile, blocks: tuple[int, int]) -> Area:
        part = tile.of(image)
        area = self._whole(image, part.rows, blocks)
        if area is None:
            area = tile_area(self._slot("residual"), blocks, part, self.config.lanes)
            self._load(image, area, area)
        return area

    # compute

    def _output_block(self, tile: Tile, group: int, which: slice = slice(None)) -> None:
        """Compute a group of output blocks (`Tiling.block_groups`), or some parts of its reduction, and store it."""
        layer = self.layer
        if layer.rows is not None:
            self._rows(tile)
            return
        image = layer.output
        blocks = self.tiling.block_groups[group]
        boxes = self.tiling.boxes[group] if self.dot else [Box(blocks, (0, layer.kernel[0]), (0, layer.kernel[1]))]
        area = self.state.resident(image)
        for i, box in list(enumerate(boxes))[which]:
            unit = self.weights.units[(group, i) if self.dot else (0, 0)]
            source = self._source(tile, box.blocks)
            self._weights(unit.batch)
            record = self._weights(unit.record)
            base = self._weights(unit.batch)  # where the record has taken its place in the memory
            last = i == len(boxes) - 1
            residual = None
            if last:
                residual = None if layer.residual is None else self._residual(layer.residual, tile, blocks)
                if area is None:
                    area = tile_area(self._slot("output"), blocks, tile, self.config.lanes)
            command = walk(layer, tile, blocks, box, source, first=i == 0)
            if layer.computed is not None and box.plane and layer.computed.addends[box.plane - 1].of_pad:
                # below the image: every pixel is padding
                command.fields |= {"pad": layer.computed.addends[box.plane - 1].value, "iy0": layer.source.height}
            if self.tiling.interleaved:
                command.fields["acc"] = group * tile.pixels
            params = record + unit.params + tile.part.index * layer.param_words
            self._add_weights(command, base + unit.tiles, params, box, last)
            if last and area is not None:
                add_tail(command, layer, tile, blocks, area, residual)
            self.program.commands.append(command)
            self.last = command
        if last and area is not None:
            self._store(area, blocks, tile)

    def _store(self, area: Area, blocks: tuple[int, int], tile: Tile) -> None:
        """Store a tile of the output, which is in `area`, where it is read from memory."""
        image = self.layer.output
        if (image.name not in self.state.placement.resident or image.name in self.state.outputs
                or image.name in self.state.placement.kept):
            part = Area(area.address, blocks, tile.rows, tile.columns, self.config.lanes, area.row_bytes)
            self._transfer(DmaOpcode.STORE, image, area, part)

    def _rows(self, tile: Tile) -> None:
        """Compute the pixels of a tile in the ROWS engine, and store them."""
        layer = self.layer
        blocks = 0, layer.output.blocks
        constants = self.slots.constants
        first = self.last is None
        if first and layer.rows is not None:
            offset = self.state.shared.offset(layer.rows.constants)
            self.program.commands.append(constant_transfer(layer.index, offset, constants, layer.constant_bytes))
        source = self._source(tile, blocks)
        area = self.state.resident(layer.output)
        if area is None:
            area = tile_area(self._slot("output"), blocks, tile, self.config.lanes)
        self.last = row_walk(layer, tile, blocks, source, area, constants, first)
        self.program.commands.append(self.last)
        self._store(area, blocks, tile)

    def _add_weights(self, command: Command, tiles: int, params: int, box: Box, last: bool) -> None:
        lanes = self.config.lanes
        if self.dot:
            command.fields["weights"] = tiles
            end = tiles + box.passes * lanes
            command.reads.append(Access(Memory.WEIGHTS, tiles * lanes, end * lanes))
            # Without a record: where the next tiles of a repeated command begin.
            command.fields["params"] = Tensor.find("params").wrap(end - PARAM_WORDS)
        if last:
            command.fields["params"] = params
            command.reads.append(Access(Memory.WEIGHTS, params * lanes, (params + self.layer.param_words) * lanes))
            command.fields["table"] = self.layer.table is not None
            if self.brings_table:
                at = self._weights(self.weights.table_batch)
                command.fields |= {"load_table": 1, "table_at": at}
                command.reads.append(Access(Memory.WEIGHTS, at * lanes, at * lanes + TABLE_BYTES))
                self.brings_table = False
