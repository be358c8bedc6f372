"""One node under examination: its tensors, and the conditions that contracts are made of."""

from dataclasses import dataclass

import numpy as np

from ...graph import Graph, GraphError, Node, Op, Tensor

_INT8 = np.dtype(np.int8)


def label(node: Node) -> str:
    """How errors name a node."""
    return f"{type(node.op).__name__} {node.name or node.outputs[0]!r}"


def image_shape(shape: tuple[int, ...], where: str) -> tuple[int, int, int]:
    """(height, width, channels) of an activation of 1 to 4 dimensions, missing ones being 1."""
    if not 1 <= len(shape) <= 4 or any(n < 1 for n in shape):
        raise GraphError(f"{where}: an activation must have 1 to 4 dimensions of at least 1, not shape {shape}")
    if len(shape) == 4 and shape[0] != 1:
        raise GraphError(f"{where}: the batch must be 1, not {shape[0]}; import the network with batch 1")
    height, width, channels = (1, 1, 1, *(shape[1:] if len(shape) == 4 else shape))[-3:]
    return height, width, channels


@dataclass(frozen=True)
class Check:
    """A node with its tensors; the methods raise `GraphError` naming the node and what is wrong."""

    graph: Graph
    node: Node
    inputs: list[Tensor | None]
    output: Tensor

    @property
    def op(self) -> Op:
        return self.node.op

    @property
    def x(self) -> Tensor:
        return self.inputs[0]

    @property
    def where(self) -> str:
        return label(self.node)

    def require(self, holds: bool, text: str) -> None:
        if not holds:
            raise GraphError(f"{self.where}: {text}")

    def image(self, tensor: Tensor) -> tuple[int, int, int]:
        """(height, width, channels) of a batch of any size; more than one runs on the host."""
        shape = tuple(map(int, tensor.shape))
        return image_shape((1, *shape[1:]) if len(shape) == 4 else shape, self.where)

    def dtype(self, tensor: Tensor, *allowed) -> None:
        names = [np.dtype(d).name for d in allowed]
        hint = "; quantize the network to int8" if names == ["int8"] else ""
        self.require(np.dtype(tensor.dtype) in map(np.dtype, allowed),
                     f"{tensor.name!r} must be {' or '.join(names)}, not {np.dtype(tensor.dtype)}{hint}")

    def same_dtype(self, *tensors: Tensor) -> None:
        first = tensors[0]
        for tensor in tensors[1:]:
            self.require(np.dtype(tensor.dtype) == np.dtype(first.dtype), f"{tensor.name!r} must be "
                         f"{np.dtype(first.dtype)} like {first.name!r}, not {np.dtype(tensor.dtype)}")

    def per_tensor(self, tensor: Tensor) -> None:
        """One scale and one zero point, within its type."""
        q = tensor.quantization
        self.require(q is not None and q.scale.size == 1 and q.zero_point.size == 1,
                     f"{tensor.name!r} must have one scale and one zero point")
        self.quantization(tensor)

    def quantization(self, tensor: Tensor) -> None:
        """Scales positive and finite, zero points within the tensor's type."""
        q = tensor.quantization
        bad = q.scale.reshape(-1)[~(np.isfinite(q.scale.reshape(-1)) & (q.scale.reshape(-1) > 0))]
        self.require(not bad.size, f"the scale of {tensor.name!r} must be positive and finite, "
                                   f"not {bad[0] if bad.size else ''}")
        if np.dtype(tensor.dtype).kind in "iu":
            info = np.iinfo(tensor.dtype)
            zero = q.zero_point.reshape(-1)
            bad = zero[(zero < info.min) | (zero > info.max)]
            self.require(not bad.size, f"the zero point of {tensor.name!r} must be in {info.min}..{info.max}, "
                                       f"not {bad[0] if bad.size else ''}")

    def int8(self, *tensors: Tensor) -> None:
        """Activations of the chip's kind."""
        for tensor in tensors:
            self.dtype(tensor, np.int8)
            self.per_tensor(tensor)

    def same_quantization(self, a: Tensor, b: Tensor) -> None:
        if a.quantization is None or b.quantization is None or np.dtype(a.dtype).kind not in "iu":
            return
        same = (np.array_equal(a.quantization.scale, b.quantization.scale)
                and np.array_equal(a.quantization.zero_point, b.quantization.zero_point))
        self.require(same, f"{a.name!r} and {b.name!r} must have the same scale and zero point")

    def shape(self, expected: tuple[int, ...], tensor: Tensor | None = None) -> None:
        tensor = tensor or self.output
        self.require(tuple(tensor.shape) == tuple(expected),
                     f"{tensor.name!r} must have shape {tuple(map(int, expected))}, not {tuple(tensor.shape)}")

    def image_output(self, expected: tuple[int, int, int]) -> None:
        x, y = self.x.shape, self.output.shape
        self.require(len(x) != 4 or len(y) != 4 or x[0] == y[0],
                     f"the output must have the input's batch of {x[0]}, not {y[0]}")
        self.require(self.image(self.output) == tuple(expected), "the output must have (height, width, channels) "
                     f"{tuple(map(int, expected))}, not shape {tuple(self.output.shape)}")

    def axis(self, axis: int, rank: int) -> int:
        self.require(-rank <= axis < rank, f"axis {axis} must be one of a tensor of {rank} dimensions")
        return axis % rank

    def constant(self, tensor: Tensor, what: str) -> np.ndarray:
        self.require(tensor.data is not None, f"{what} {tensor.name!r} must be constant; "
                                              f"computed {what} are not supported")
        return tensor.data

    def broadcast(self, *tensors: Tensor) -> tuple[int, ...]:
        try:
            return np.broadcast_shapes(*(t.shape for t in tensors))
        except ValueError:
            shapes = " and ".join(str(tuple(t.shape)) for t in tensors)
            raise GraphError(f"{self.where}: shapes {shapes} do not broadcast") from None
