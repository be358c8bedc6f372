"""How the chip sees an activation: one image of height, width and channels."""

from dataclasses import dataclass

from ..graph import Graph, GraphError, Node

ImageShape = tuple[int, int, int]  # (height, width, channels)


@dataclass(frozen=True)
class Operand:
    """A tensor as an operand of an operator.

    tensor: the one whose bytes are read; the chip computes it, or it is the host's.
    image: (height, width, channels) that the operator sees in them.
    values: the tensor of the graph whose values these are. It differs from `tensor` only where the host sends each
        byte through `table` (indexed by the unsigned byte) while it changes the tensor's layout.
    packed: the chip computes `tensor` with another number of channels.
    constant: its values are in the program.
    """

    tensor: str
    image: ImageShape
    values: str
    table: bytes | None = None
    packed: bool = False
    constant: bool = False


@dataclass(frozen=True)
class Alias:
    """A tensor that the host reads: `tensor` of the chip with another shape, each byte through `table`."""

    name: str
    tensor: str
    table: bytes | None = None


def image_shape(shape: tuple[int, ...], where: str) -> ImageShape:
    """(height, width, channels) of an activation of 1 to 4 dimensions; missing ones are 1."""
    if not 1 <= len(shape) <= 4 or any(n < 1 for n in shape):
        raise GraphError(f"{where}: an activation must have 1 to 4 dimensions of at least 1, not shape {shape}")
    if len(shape) == 4 and shape[0] != 1:
        raise GraphError(f"{where}: the batch must be 1, not {shape[0]}; import the network with batch 1")
    height, width, channels = (1, 1, 1, *(shape[1:] if len(shape) == 4 else shape))[-3:]
    return height, width, channels


def repeated_image(graph: Graph, node: Node, index: int) -> ImageShape:
    """The image of operand `index` of an operator of two tensors; a constant with one channel is repeated over all."""
    tensor = graph.tensors[node.inputs[index]]
    image = image_shape(tuple(map(int, tensor.shape)) or (1,), f"tensor {tensor.name!r}")
    channels = image_of(graph, node.outputs[0])[2]
    return (*image[:2], channels) if tensor.data is not None and image[2] == 1 else image


def image_of(graph: Graph, name: str) -> ImageShape:
    """(height, width, channels) of a tensor of its own shape. Raises `GraphError` where it is not one image."""
    return image_shape(tuple(map(int, graph.tensors[name].shape)), f"tensor {name!r}")
