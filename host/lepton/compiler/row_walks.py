"""ROWS commands: the fields of a layer's walk over pixels, each with all of its channels."""

from ..arch import Engine, RowsOpcode
from .commands import Access, Area, Command, Memory
from .layers import ChipLayer
from .tiling import Tile


def row_walk(layer: ChipLayer, tile: Tile, blocks: tuple[int, int], source: Area, output: Area, constants: int,
             first: bool) -> Command:
    """The command for the pixels of a tile, whose channel blocks are `blocks`. The layer's constants are at byte
    `constants` of the scratchpad. first: it is the layer's first command, which brings the table of exponentials."""
    assert layer.rows is not None
    row = tile.rows[0]
    column = tile.columns[0]
    fields = {
        "opcode": layer.rows.opcode, "layer": layer.index,
        "nx": tile.columns[1] - column, "ny": tile.rows[1] - row, "nz": 1,
        "in_addr": source.at(blocks[0], row, column * source.pixel_bytes), "in_x": source.pixel_bytes,
        "in_y": source.row_bytes, "in_block": source.block_bytes,
        "out_addr": output.at(blocks[0], row, column * output.pixel_bytes), "out_x": output.pixel_bytes,
        "out_y": output.row_bytes, "out_block": output.block_bytes,
        "out_zero": layer.out_zero, "out_min": layer.out_min, "out_max": layer.out_max,
        layer.rows.address: constants,
    } | layer.rows.fields
    reads = source.accesses(blocks, tile.rows)
    if layer.rows.opcode == RowsOpcode.NORM or first:
        reads.append(Access(Memory.SCRATCHPAD, constants, constants + layer.constant_bytes))
    if layer.rows.opcode == RowsOpcode.SOFTMAX:
        fields["load_table"] = first
    return Command(Engine.ROWS, fields, reads, output.accesses(blocks, tile.rows))
