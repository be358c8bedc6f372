"""Few input channels: kernel columns folded into lanes, for a tensor that the host lays out so."""

import numpy as np

from ...graph import FullyConnected
from ...program import Rows
from ..chip_node import ChipNode
from ..layers import Image
from .context import Context, Input


def passes(context: Context, node: ChipNode, values: np.ndarray, dilation) -> int | None:
    """Passes per kernel row with kernel columns folded into lanes; None where that saves nothing or cannot be.

    Only a tensor from outside can lie in memory that way, because the host converts it.
    """
    _, _, kernel_x, per_group = values.shape
    outside = node.source.tensor in context.outside
    if not outside or per_group != node.image[2] or isinstance(node.node.op, FullyConnected):
        return None
    count = -(-kernel_x * per_group // context.lanes)
    plain = kernel_x * -(-per_group // context.lanes)
    return count if dilation[1] == 1 and count < plain else None


def rows(context: Context, node: ChipNode, index: int, stride, left: int, out_width: int, count: int,
         zero: int) -> Image:
    """The image with `count` passes' words in reach of every output pixel, `left` columns of padding in memory."""
    height, width, channels = node.image
    lanes = context.lanes
    # far enough that the last pixel's last word lies in the row
    reach = (out_width - 1) * stride[1] * channels + count * lanes
    pitch = -(-max(reach, (left + width) * channels) // lanes) * lanes
    source = node.source
    name = context.name(source.values, "rows", index)
    layout = Rows(context.shape(source.tensor), height, width, channels, left, pitch, zero)
    context.inputs[name] = Input(source.tensor, layout, source.table)
    return Image(name, 1, height, width, channels, pitch, folded=True)


def tiles(values: np.ndarray, count: int, lanes: int) -> list[np.ndarray]:
    """Tiles per output block, (1, kernel rows, count, K, K)."""
    outputs, kernel_y, kernel_x, channels = values.shape
    padded = np.zeros((-(-outputs // lanes) * lanes, kernel_y, count * lanes), values.dtype)
    padded[:outputs, :, :kernel_x * channels] = values.reshape(outputs, kernel_y, kernel_x * channels)
    blocked = padded.reshape(-1, lanes, kernel_y, count, lanes).transpose(0, 2, 3, 1, 4)
    return [np.ascontiguousarray(tile)[None] for tile in blocked]
