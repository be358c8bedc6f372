"""Tensors that are channels or pixels of other buffers: results of Concat, Slice and Gather, without cost where lanes
do not matter.

A concatenation's operands are one after the other in one buffer, channels each from a whole block on; their producers
write them there. Operators that multiply by weights read channels from any lanes; for others, and for the host, a layer
of weights 0 and 1 moves channels to their own lanes.
"""

from dataclasses import dataclass, replace

import numpy as np

from .image import Image


@dataclass(frozen=True, eq=False)
class ChannelView:
    """Where a tensor's channels are: channel c in lane `lanes[c]` of `image`, counted through its blocks."""

    image: Image
    lanes: np.ndarray

    @property
    def plain(self) -> bool:
        """True where channels are one after the other from the first lane on."""
        return np.array_equal(self.lanes, np.arange(len(self.lanes)))

    def part(self, which: slice | np.ndarray) -> "ChannelView":
        """The view of some of the channels, in any order; of the blocks between the first and the last of them."""
        lanes = self.lanes[which]
        width = self.image.lane_count
        low = int(lanes.min()) // width
        high = int(lanes.max()) // width + 1
        blocks = self.image.of_blocks or self.image.blocks
        image = replace(self.image, first_block=self.image.first_block + low, blocks=high - low, of_blocks=blocks)
        return ChannelView(image, lanes - low * width)


def side_by_side(image: Image, parts: list[int]) -> tuple[ChannelView, list[ChannelView]]:
    """The view of a concatenation in the buffer of `image`, and those of its operands; `parts`: their channels."""
    width = image.lane_count
    blocks = [-(-channels // width) for channels in parts]
    starts = np.cumsum([0, *blocks])
    whole = replace(image, blocks=int(starts[-1]), first_block=0, of_blocks=int(starts[-1]))
    views = [ChannelView(replace(whole, blocks=n, first_block=int(start)), np.arange(channels))
             for channels, n, start in zip(parts, blocks, starts[:-1], strict=True)]
    lanes = np.concatenate([view.lanes + int(start) * width for view, start in zip(views, starts[:-1], strict=True)])
    return ChannelView(whole, lanes), views


def in_line(image: Image, shapes: list[tuple[int, int]], channels: int) -> tuple[ChannelView, list[ChannelView]]:
    """The view of a concatenation of pixels in the buffer of `image`, and those of its operands in it; `shapes`: their
    (height, width)."""
    blocks = -(-channels // image.lane_count)
    whole = replace(image, blocks=blocks, of_blocks=blocks)
    starts = np.cumsum([0, *(height * width for height, width in shapes)])
    lanes = np.arange(channels)
    parts = [ChannelView(whole.run(int(start), shape), lanes) for start, shape in zip(starts, shapes, strict=False)]
    return ChannelView(whole, lanes), parts
