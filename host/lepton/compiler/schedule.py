"""Commands of a job in the order of a sequential execution.

The order decides what each engine does after what; `semaphores` derives from it the waits that matter. Loads come
before the commands that need them, so that the LOAD engine runs ahead as far as buffers allow.
"""

from dataclasses import replace
from itertools import groupby, pairwise

from ..arch import ChipConfig, DmaOpcode, Engine, Region, Tensor
from ..arch.commands import PARAM_WORDS, TABLE_BYTES
from .commands import Access, Area, Command, Memory, Program, packed_transfers, tile_area, transfer, weight_transfer
from .layers import Box, ChipLayer, Image
from .placement import Placement
from .tiling import Tile
from .weights import LayerWeights, WeightRing


def schedule(layers: list[ChipLayer], placement: Placement, config: ChipConfig, inputs: list[str],
             outputs: list[str]) -> Program:
    """The program of one job. `inputs` and `outputs` name the buffers that cross to and from the host."""
    program = Program()
    state = _State(placement, config, program, set(inputs), set(outputs))
    for position, layer in enumerate(layers):
        _LayerScheduler(state, position, layer, last=position == len(layers) - 1).run()
    return program


class _State:
    """What lasts from layer to layer."""

    def __init__(self, placement: Placement, config: ChipConfig, program: Program, inputs: set[str], outputs: set[str]):
        self.placement, self.config, self.program = placement, config, program
        self.inputs, self.outputs = inputs, outputs
        self.memory = WeightRing(config)
        self.table: bytes | None = None  # what the tail holds
        self.loaded: dict[tuple[str, int], int] = {}  # resident inputs: bytes of a block that have been loaded

    def resident(self, image: Image) -> Area | None:
        address = self.placement.resident.get(image.name)
        if address is None:
            return None
        return Area(address + image.offset, (0, image.blocks), (0, image.height), (0, image.width), image.pixel_bytes,
                    image.row_bytes, image.inset)


class _LayerScheduler:
    def __init__(self, state: _State, position: int, layer: ChipLayer, last: bool):
        self.state, self.layer, self.config = state, layer, state.config
        self.is_last = last
        self.program = state.program
        self.tiling = state.placement.tilings[position]
        self.slots = state.placement.slots[position]
        # The table stays in the tail; a layer brings its own where that of the layer before is another one.
        self.brings_table = layer.table not in (None, state.table)
        state.table = layer.table or state.table
        self.weights = LayerWeights(position, self.tiling, self.config, self.program.constants,
                                    layer.table if self.brings_table else None)
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
            work = [(tile, ob) for group in self._groups() for tile in self.tiling.tiles for ob in group]
            for tile, ob in work[:-1]:
                self._output_block(tile, ob)
            tile, ob = work[-1]
            for part in self._last_parts(tile):
                self._output_block(part, ob)
        if self.last is not None and self.layer.index < self.config.layer_slots:
            self.last.fields["snapshot"] = 1

    # order

    def _groups(self) -> list[list[int]]:
        """Output blocks whose weights are used for one tile after the other before the next group's are loaded.

        With the source on chip weights travel once, so each block is a group. A streamed source travels once per
        group, weights once per tile unless the group stays in the weight memory: the cheaper is taken.
        """
        blocks = list(range(len(self.tiling.block_groups)))
        if not self.dot or not self.tiling.streams.source or not self.tiling.source_loads_once:
            return [[b] for b in blocks]
        tiles, source = len(self.tiling.tiles), self.layer.source.size
        if self.weights.size <= self.config.weight_bytes or tiles == 1:
            return [blocks]
        groups: list[list[int]] = [[]]
        held: set[int] = set()
        size = 0
        for ob in blocks:
            batches = {self.weights.units[ob, i].batch for i in range(len(self.tiling.boxes[ob]))} - held
            more = sum(self.weights.batches[b].size for b in batches)
            if groups[-1] and size + more > self.config.weight_bytes // 2:
                groups.append([])
                held, size = set(), 0
            groups[-1].append(ob)
            held |= batches
            size += more
        if len(groups) * source + self.weights.size < source + tiles * self.weights.size:
            return groups
        return [blocks]

    def _last_parts(self, tile: Tile) -> list[Tile]:
        """The last tile of a job, in parts: what is left to store after the last of them is less."""
        if not self.is_last or self.layer.window or self.tiling.streams.source or self.tiling.streams.residual:
            return [tile]
        rows, columns = (stop - start for start, stop in (tile.rows, tile.columns))
        along_rows = rows > 1
        extent = rows if along_rows else columns
        count = min(extent, tile.pixels // self.config.lanes, 4)  # a part hides the load of the next weight tile
        if count < 2:
            return [tile]
        start = tile.rows[0] if along_rows else tile.columns[0]
        cuts = [start + extent * i // count for i in range(count + 1)]
        return [replace(tile, rows=span) if along_rows else replace(tile, columns=span) for span in pairwise(cuts)]

    def _source_was_spilled(self) -> bool:
        place = self.state.placement.memory.get(self.layer.source.name)
        return place is not None and place.region != Region.INPUT and self.tiling.streams.source

    def _prefetch_weights(self) -> None:
        """Weights first, as much as half of the memory takes: the source's load will wait for a store."""
        size = 0
        for index, batch in enumerate(self.weights.batches):
            size += batch.size
            if size > self.config.weight_bytes // 2:
                break
            self._weights(index)

    # loads

    def _weights(self, index: int) -> int:
        """Word address of a batch, loaded if it is not there."""
        batch = self.weights.batches[index]
        address = self.state.memory.find(batch)
        if address is None:
            address = self.state.memory.take(batch)
            self.program.commands.append(weight_transfer(self.layer.index, batch.offset, address, batch.size))
        return address // self.config.lanes

    def _load(self, image: Image, area: Area, part: Area) -> None:
        self._transfer(DmaOpcode.LOAD, image, area, part)

    def _transfer(self, opcode: DmaOpcode, image: Image, area: Area, part: Area) -> None:
        place = self.state.placement.memory[image.name]
        if image.channels:
            self.program.commands += packed_transfers(opcode, self.layer.index, place.region, place.offset, part, image)
            return
        self.program.commands.append(transfer(opcode, self.layer.index, place.region, place.offset + image.offset,
                                              area, part, image.block_bytes, image.row_bytes, image.pixel_bytes))

    def _slot(self, kind: str) -> int:
        addresses = getattr(self.slots, kind)
        address = addresses[self.turns[kind] % len(addresses)]
        self.turns[kind] += 1
        return address

    def _whole(self, image: Image, rows: tuple[int, int], blocks: tuple[int, int]) -> Area | None:
        """A resident image with all rows of `blocks` up to those needed, None where it is not resident."""
        area = self.state.resident(image)
        if area is not None and image.name in self.state.inputs:
            loaded = self.state.loaded
            # counted in bytes, since other layers may see the same pixels in other rows
            for done, group in groupby(range(*blocks), key=lambda b: loaded.get((image.name, image.first_block + b), 0)
                                     // image.row_bytes):
                if rows[1] > done:
                    run = list(group)
                    part = Area(area.address, (run[0], run[-1] + 1), (done, rows[1]), area.columns, area.pixel_bytes,
                                area.row_bytes)
                    self._load(image, area, part)
                    loaded |= dict.fromkeys(((image.name, image.first_block + block) for block in run),
                                            rows[1] * image.row_bytes)
        return area

    def _source(self, tile: Tile, blocks: tuple[int, int]) -> Area:
        image = self.layer.source
        rows, columns = self.layer.input_rows(tile.rows), self.layer.input_columns(tile.columns)
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
        area = self._whole(image, tile.rows, blocks)
        if area is None:
            area = tile_area(self._slot("residual"), blocks, tile, self.config.lanes)
            self._load(image, area, area)
        return area

    # compute

    def _output_block(self, tile: Tile, group: int, which: slice = slice(None)) -> None:
        """Compute a group of output blocks (`Tiling.block_groups`), or some parts of its reduction, and store it."""
        image = self.layer.output
        kernel = self.layer.kernel
        blocks = self.tiling.block_groups[group]
        boxes = self.tiling.boxes[group] if self.dot else [Box(blocks, (0, kernel[0]), (0, kernel[1]))]
        area = self.state.resident(image)
        stored = area is None or image.name in self.state.outputs
        for i, box in list(enumerate(boxes))[which]:
            unit = self.weights.units[(group, i) if self.dot else (0, 0)]
            source = self._source(tile, box.blocks)
            base = self._weights(unit.batch)
            last = i == len(boxes) - 1
            residual = None
            if last:
                residual = None if self.layer.residual is None else self._residual(self.layer.residual, tile, blocks)
                if area is None:
                    area = tile_area(self._slot("output"), blocks, tile, self.config.lanes)
            command = self._command(tile, blocks, box, source, i == 0)
            if self.tiling.interleaved:
                command.fields["acc"] = group * tile.pixels
            params = base + unit.params + tile.part.index * self.layer.param_words
            self._add_weights(command, base + unit.tiles, params, box, last)
            if last and area is not None:
                self._add_tail(command, tile, blocks, area, residual)
            self.program.commands.append(command)
            self.last = command
        if stored and last and area is not None:
            part = Area(area.address, blocks, tile.rows, tile.columns, self.config.lanes, area.row_bytes)
            self._transfer(DmaOpcode.STORE, image, area, part)

    def _command(self, tile: Tile, blocks: tuple[int, int], box: Box, source: Area, first: bool) -> Command:
        """The walk over input and output pixels."""
        layer = self.layer
        (ky0, ky1), (kx0, kx1) = box.rows, box.columns
        nx, ny = tile.columns[1] - tile.columns[0], tile.rows[1] - tile.rows[0]
        row = tile.rows[0] * layer.stride[0] - layer.origin[0] + ky0 * layer.dilation[0]
        column = tile.columns[0] * layer.stride[1] - layer.origin[1]
        in_addr = source.at(box.blocks[0], row, column * source.pixel_bytes + kx0 * layer.column_bytes)
        fields = {
            "opcode": layer.opcode, "layer": layer.index, "first": first, "pad": layer.pad,
            "kernel_x": kx1 - kx0, "kernel_y": ky1 - ky0, "blocks": box.blocks[1] - box.blocks[0] if self.dot else 1,
            "nx": nx, "ny": ny, "nz": 1 if self.dot else blocks[1] - blocks[0], "acc": 0, "in_addr": in_addr,
            "in_x": layer.stride[1] * source.pixel_bytes, "in_y": layer.stride[0] * source.row_bytes,
            "in_z": 0 if self.dot else source.block_bytes, "in_kx": layer.column_bytes,
            "in_ky": layer.dilation[0] * source.row_bytes, "in_block": source.block_bytes if self.dot else 0,
            "iy0": row, "in_h": layer.source.height, "stride_y": layer.stride[0], "dilation_y": layer.dilation[0],
        }
        if layer.window is not None:
            fields |= self._window_fields(tile, box, source)
        elif layer.checks_columns:
            fields |= {"ix0": column + kx0 * layer.dilation[1], "in_w": layer.source.width,
                       "stride_x": layer.stride[1], "dilation_x": layer.dilation[1]}
        else:  # padding lies in memory: count columns so that none is outside
            fields |= {"ix0": 0, "in_w": nx + kx1 - kx0, "stride_x": 1, "dilation_x": 1}
        return Command(Engine.TENSOR, fields, source.accesses(box.blocks, layer.input_rows(tile.rows)), [])

    def _window_fields(self, tile: Tile, box: Box, source: Area) -> dict[str, int]:
        """The walk of the window unit over the columns that lie on the chip, for one group of kernel rows."""
        layer = self.layer
        assert layer.window is not None
        start, stop = layer.window.group(box.rows[0])
        row = tile.rows[0] * layer.stride[0] - layer.origin[0] + start
        left, right = source.columns
        return {
            "kernel_x": layer.window.width, "kernel_y": 1, "tap_rows": stop - start, "iy0": row,
            "in_addr": source.at(box.blocks[0], row, left * source.pixel_bytes), "in_x": source.pixel_bytes,
            "in_y": source.row_bytes, "in_kx": 0, "in_ky": 0, "in_block": 0, "dilation_y": 0, "dilation_x": 0,
            "ix0": tile.columns[0] * layer.stride[1] - layer.origin[1] - left, "in_w": right - left,
            "stride_x": layer.stride[1],
        }

    def _add_weights(self, command: Command, tiles: int, params: int, box: Box, last: bool) -> None:
        lanes = self.config.lanes
        if self.dot:
            command.fields["weights"] = tiles
            end = tiles + box.passes * lanes
            command.reads.append(Access(Memory.WEIGHTS, tiles * lanes, end * lanes))
            # without a record, where the next tiles of a repeated command begin
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

    def _add_tail(self, command: Command, tile: Tile, blocks: tuple[int, int], area: Area,
                  residual: Area | None) -> None:
        layer, lanes = self.layer, self.config.lanes
        command.fields |= {
            "last": 1, "out_addr": area.at(blocks[0], tile.rows[0], tile.columns[0] * area.pixel_bytes),
            "out_x": area.pixel_bytes,
            "out_y": area.row_bytes, "out_z": area.block_bytes,
            "out_zero": layer.out_zero, "out_min": layer.out_min, "out_max": layer.out_max,
            "rounding": layer.rounding,
        } | layer.uniform
        command.writes += area.accesses(blocks, tile.rows)
        if residual is not None:
            command.fields |= layer.add | {
                "res_addr": residual.at(blocks[0], tile.rows[0], tile.columns[0] * lanes), "res_x": lanes,
                "res_y": residual.row_bytes, "res_z": residual.block_bytes,
            }
            command.reads += residual.accesses(blocks, tile.rows)
