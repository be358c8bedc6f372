"""What the modules of the lowering share: the graph, the chip, and where activations lie."""

from dataclasses import replace

import numpy as np

from ...arch import ChipConfig
from ...graph import Arithmetic, Graph
from .. import quantize
from ..layers import Image
from ..layouts import Blocked, Rows
from ..segments import Segment
from ..verify import image_shape
from ..views import View


def zero_of(tensor) -> int:
    """Zero point of an activation."""
    return int(tensor.quantization.zero_point[0])


def scale_of(tensor) -> float:
    """Scale of an activation, as the float32 that it is."""
    return float(np.float32(tensor.quantization.scale[0]))


class Context:
    """One segment under way. `inputs` collects the device layouts of the tensors from outside, `views` the tensors
    that have no buffer of their own."""

    def __init__(self, graph: Graph, config: ChipConfig, segment: Segment):
        self.graph = graph
        self.config, self.lanes = config, config.lanes
        self.floats = graph.arithmetic is not Arithmetic.FIXED
        self.outside, self.wanted = set(segment.inputs), set(segment.outputs)
        self.inputs: dict[str, tuple[str, Blocked | Rows]] = {}  # buffer name -> (tensor, layout)
        self.views: dict[str, View] = {}

    def shape(self, tensor: str) -> tuple[int, int, int]:
        """(height, width, channels)"""
        return image_shape(tuple(map(int, self.graph.tensors[tensor].shape)), f"tensor {tensor!r}")

    def blocked(self, tensor: str) -> Blocked:
        """The layout of a tensor that the chip computes with."""
        t = self.graph.tensors[tensor]
        height, width, channels = self.shape(tensor)
        return Blocked(tuple(map(int, t.shape)), height, width, channels, self.lanes, zero_of(t))

    def new_image(self, name: str, shape: tuple[int, int, int]) -> Image:
        """A buffer of its own for an activation."""
        height, width, channels = shape
        return Image(name, -(-channels // self.lanes), height, width, self.lanes, width * self.lanes)

    def image(self, tensor: str, shape: tuple[int, int, int]) -> Image:
        """Where a tensor lies, seen as an image of `shape` (which a Reshape may have changed)."""
        height, width, _ = shape
        name = tensor
        if tensor in self.views:
            return replace(self.views[tensor].image, height=height, width=width, row_bytes=width * self.lanes)
        if tensor in self.outside:
            layout = self.blocked(tensor)
            if (layout.height, layout.width) != (height, width):  # seen through a Reshape
                name = f"{tensor}@{height}x{width}"
            self.inputs.setdefault(name, (tensor, layout))
        return self.new_image(name, shape)

    def view(self, tensor: str) -> View:
        """Where a tensor's channels lie."""
        shape = self.shape(tensor)
        return self.views.get(tensor) or View(self.image(tensor, shape), np.arange(shape[2]))

    def lanes_of(self, tensor: str, channels: int) -> np.ndarray:
        """Lane of each channel, counted through the blocks."""
        view = self.views.get(tensor)
        return np.arange(channels) if view is None else view.lanes

    def uniform(self, bias: int, multiplier: int, left: int, right: int) -> bytes:
        """A parameter record that is the same for all lanes."""
        ones = np.ones(self.lanes, np.int64)
        return quantize.pack_parameters(ones * bias, ones * multiplier, (left, right), self.lanes)

    def identity(self) -> bytes:
        """The record that changes nothing."""
        return self.uniform(0, 1 << 30, 1, 0)
