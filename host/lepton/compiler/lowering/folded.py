"""Few input channels: kernel columns folded into lanes, for a tensor that the host brings into that layout."""

import numpy as np

from ...program import Rows
from ..chip_node import ChipNode
from ..image import Image
from .context import Context, Input
from .limits import Pair


def passes(context: Context, node: ChipNode, values: np.ndarray, dilation: Pair) -> int | None:
    """Passes per kernel row with kernel columns folded into lanes; None where that saves nothing or cannot be.

    values: weights (outputs, kernel y, kernel x, channels). Only a tensor from outside can be in memory that way,
    because the host changes its layout.
    """
    _, _, kernel_x, channels = values.shape
    if node.source.tensor not in context.outside or channels != node.image[2] or dilation[1] != 1:
        return None
    count = -(-kernel_x * channels // context.lanes)
    plain = kernel_x * -(-channels // context.lanes)
    return count if count < plain else None


def rows(context: Context, node: ChipNode, index: int, stride: Pair, left: int, count: int) -> Image:
    """The image with `count` passes' words in reach of every output pixel, `left` columns of padding in memory."""
    height, width, channels = node.image
    lanes = context.lanes
    # The last output pixel's last word must be inside the row.
    reach = (node.written[1] - 1) * stride[1] * channels + count * lanes
    pitch = -(-max(reach, (left + width) * channels) // lanes) * lanes
    source = node.source
    name = context.name(source.values, "rows", index)
    zero = context.graph.tensors[node.node.inputs[0]].zero_point
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
