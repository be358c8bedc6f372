"""`Context`: the state that the modules of the lowering share: the graph, the chip, and the buffers of activations."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ...arch import ChipConfig
from ...graph import Arithmetic, Graph, GraphError, Tensor
from ...program import Blocked, Rows
from .. import quantize
from ..chip_node import ChipJob, ChipNode
from ..image import Image
from ..images import ImageShape, Operand, image_of
from ..views import ChannelView


def scale_of(tensor: Tensor) -> float:
    """Scale of an activation, as the float32 that it is."""
    return float(tensor.scale)


@dataclass(frozen=True)
class Input:
    """A buffer that the host fills: from `tensor`, each byte through `table`, in `layout`."""

    tensor: str
    layout: Blocked | Rows
    table: bytes | None = None


class Context:
    """The job that is being lowered.

    `inputs` collects the buffers that the host fills, `constants` those that are in the program, `views` the tensors
    that have no buffer of their own.
    """

    def __init__(self, graph: Graph, config: ChipConfig, segment: ChipJob):
        self.graph = graph
        self.config = config
        self.lanes = config.lanes
        self.floats = graph.arithmetic is not Arithmetic.FIXED
        self.outside = set(segment.inputs)
        self.wanted = set(segment.outputs)
        self.inputs: dict[str, Input] = {}  # by buffer
        self.constants: dict[str, bytes] = {}  # by buffer
        self.views: dict[str, ChannelView] = {}
        self.zeroed: set[str] = set()  # tensors whose unused lanes are 0
        self.moved: set[str] = set()  # buffers with channels that have been moved
        self.copied: set[str] = set()  # buffers that have the pixels of tensors from outside
        self.fitted: dict[object, dict[str, int] | None] = {}  # fields for sums and products, by what they depend on
        self._names: dict[object, str] = {}
        self._unit = ""

    def shape(self, tensor: str) -> tuple[int, ...]:
        return tuple(map(int, self.graph.tensors[tensor].shape))

    def name(self, tensor: str, *what: object) -> str:
        """A name for a buffer that belongs to a tensor, the same for the same `what`, and no tensor's."""
        if (tensor, *what) not in self._names:
            name = "@".join(map(str, (tensor, *what)))
            while name in self.graph.tensors or name in self._names.values():
                name += "'"
            self._names[tensor, *what] = name
        return self._names[tensor, *what]

    def blocked(self, tensor: str, image: ImageShape, zero: int) -> Blocked:
        """The layout of the host's array `tensor` whose bytes the chip sees as `image`."""
        return Blocked(self.shape(tensor), *image, self.lanes, zero)

    def new_image(self, name: str, shape: ImageShape) -> Image:
        """A buffer of its own for an activation."""
        height, width, channels = shape
        return Image(name, -(-channels // self.lanes), height, width, self.lanes, width * self.lanes)

    def read(self, operand: Operand, rows: tuple[int, int] | None = None) -> Image:
        """The buffer of an operand as its image, or with its pixels split into `rows` (height, width)."""
        height, width = rows or operand.image[:2]
        channels = operand.image[2]
        shape = height, width, channels
        tensor = operand.tensor
        if operand.constant:
            return self._constant(operand, shape)
        if tensor in self.outside:
            self._fits(tensor, prod(shape), prod(self.shape(tensor)))
            name = operand.values if operand.values == tensor and channels == self._own_channels(tensor) else \
                self.name(operand.values, channels)
            zero = self.graph.tensors[operand.values].zero_point
            self.inputs.setdefault(name, Input(tensor, self.blocked(tensor, shape, zero), operand.table))
            return self.new_image(name, shape)
        if operand.packed:
            own = image_of(self.graph, tensor)
            self._fits(tensor, prod(shape), prod(own))
            return replace(self.new_image(self.name(tensor, "packed"), shape), channels=channels)
        self._fits(tensor, (height * width, channels), self._pixels(tensor))
        return self._computed(tensor, shape)

    def _constant(self, operand: Operand, shape: ImageShape) -> Image:
        """A constant of the graph in blocks, as activations are."""
        name = self.name(operand.tensor, "constant", shape)
        if name not in self.constants:
            data = np.asarray(self.graph.tensors[operand.tensor].data)
            pixels = np.broadcast_to(data.reshape(-1, data.shape[-1] if data.ndim else 1),
                                     (shape[0] * shape[1], shape[2]))
            self.constants[name] = Blocked(pixels.shape, *shape, self.lanes).to_device(pixels).tobytes()
        return self.new_image(name, shape)

    def unit_matrix(self) -> Image:
        """A constant with one pixel for each lane, which is 1 there and 0 elsewhere."""
        if not self._unit:
            self._unit = self.name("", "unit")
            self.constants[self._unit] = np.eye(self.lanes, dtype=np.int8).tobytes()
        return self.new_image(self._unit, (1, self.lanes, self.lanes))

    def write(self, node: ChipNode) -> Image:
        """The buffer for the results of a node."""
        height, width, channels = node.written
        self._fits(node.output, (height * width, channels), self._pixels(node.output))
        return self._computed(node.output, node.written)

    def _computed(self, tensor: str, shape: ImageShape) -> Image:
        if tensor in self.views:
            return self.views[tensor].image.seen_as(shape[:2])
        return self.new_image(tensor, shape)

    def _own_channels(self, tensor: str) -> int:
        shape = self.shape(tensor)
        return shape[-1] if shape else 1

    def _pixels(self, tensor: str) -> tuple[int, int]:
        height, width, channels = image_of(self.graph, tensor)
        return height * width, channels

    def _fits(self, tensor: str, seen: int | tuple[int, int], there: int | tuple[int, int]) -> None:
        """Raises `GraphError` where an operator reads other numbers of pixels or channels than the tensor has."""
        if seen != there:
            raise GraphError(f"tensor {tensor!r} has (pixels, channels) {there}, not {seen}")

    def view(self, operand: Operand) -> ChannelView:
        """The lanes of an operand's channels."""
        if operand.tensor in self.views and not operand.packed:
            return self.views[operand.tensor]
        return ChannelView(self.read(operand), np.arange(operand.image[2]))

    def lanes_of(self, operand: Operand) -> np.ndarray:
        """Lane of each channel, counted through the blocks."""
        view = None if operand.packed else self.views.get(operand.tensor)
        return np.arange(operand.image[2]) if view is None else view.lanes

    def uniform(self, bias: int, multiplier: int, left: int, right: int) -> bytes:
        """A parameter record that is the same for all lanes."""
        ones = np.ones(self.lanes, np.int64)
        return quantize.pack_parameters(ones * bias, ones * multiplier, (left, right), self.lanes)

    def identity(self) -> bytes:
        """The record that changes nothing."""
        return self.uniform(0, 1 << 30, 1, 0)
