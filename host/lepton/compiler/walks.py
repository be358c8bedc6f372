"""TENSOR commands: the fields of a layer's walk, of the window unit's, and of the tail."""

from ..arch import Engine
from .commands import Area, Command
from .layers import Box, ChipLayer
from .tiling import Tile


def walk(layer: ChipLayer, tile: Tile, blocks: tuple[int, int], box: Box, source: Area, first: bool) -> Command:
    """The command that takes the part `box` of the reduction for the pixels of a tile; its input is in `source`.

    blocks: output blocks [start, stop). first: it starts the accumulators.
    """
    ky0, ky1 = box.rows
    kx0, kx1 = box.columns
    width = tile.columns[1] - tile.columns[0]
    row = tile.rows[0] * layer.stride[0] - layer.origin[0] + ky0 * layer.dilation[0]
    column = tile.columns[0] * layer.stride[1] - layer.origin[1]
    fields = {
        "opcode": layer.opcode, "layer": layer.index, "first": first, "pad": layer.pad,
        "kernel_x": kx1 - kx0, "kernel_y": ky1 - ky0,
        "nx": width, "ny": tile.rows[1] - tile.rows[0], "acc": 0,
        "in_addr": source.at(box.blocks[0], row, column * source.pixel_bytes + kx0 * layer.column_bytes),
        "in_x": layer.stride[1] * source.pixel_bytes, "in_y": layer.stride[0] * source.row_bytes,
        "in_kx": layer.column_bytes, "in_ky": layer.dilation[0] * source.row_bytes,
        "iy0": row, "in_h": layer.source.height, "stride_y": layer.stride[0], "dilation_y": layer.dilation[0],
    }
    if layer.weighted:
        fields |= {"blocks": box.blocks[1] - box.blocks[0], "nz": 1, "in_z": 0, "in_block": source.block_bytes}
    else:
        fields |= {"blocks": 1, "nz": blocks[1] - blocks[0], "in_z": source.block_bytes, "in_block": 0}
    if layer.window is not None:
        fields |= _window_walk(layer, tile, box, source)
    elif layer.checks_columns:
        fields |= {"ix0": column + kx0 * layer.dilation[1], "in_w": layer.source.width,
                   "stride_x": layer.stride[1], "dilation_x": layer.dilation[1]}
    else:  # padding is in memory: columns are counted so that none is outside
        fields |= {"ix0": 0, "in_w": width + kx1 - kx0, "stride_x": 1, "dilation_x": 1}
    return Command(Engine.TENSOR, fields, source.accesses(box.blocks, layer.input_rows(tile.rows)), [])


def _window_walk(layer: ChipLayer, tile: Tile, box: Box, source: Area) -> dict[str, int]:
    """The walk of the window unit over the columns of `source`, for one group of kernel rows."""
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


def add_tail(command: Command, layer: ChipLayer, tile: Tile, blocks: tuple[int, int], area: Area,
             residual: Area | None) -> None:
    """Let the last command of a reduction send its results through the tail to `area`, with what is in `residual`."""
    command.fields |= {
        "last": 1, "out_addr": area.at(blocks[0], tile.rows[0], tile.columns[0] * area.pixel_bytes),
        "out_x": area.pixel_bytes, "out_y": area.row_bytes, "out_z": area.block_bytes,
        "out_zero": layer.out_zero, "out_min": layer.out_min, "out_max": layer.out_max,
        "rounding": layer.rounding,
    } | layer.uniform
    command.writes += area.accesses(blocks, tile.rows)
    if residual is not None and layer.residual is not None:
        part = tile.of(layer.residual)
        command.fields |= layer.add | {
            "res_addr": residual.at(blocks[0], part.rows[0], part.columns[0] * residual.pixel_bytes),
            "res_x": residual.pixel_bytes if layer.residual.width > 1 else 0,
            "res_y": residual.row_bytes if layer.residual.height > 1 else 0, "res_z": residual.block_bytes,
        }
        command.reads += residual.accesses(blocks, part.rows)
