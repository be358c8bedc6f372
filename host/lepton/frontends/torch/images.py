"""Images: PyTorch has channels first, (N, C, H, W), the graph's operators on images channels last, (N, H, W, C).

Each such operator is emitted between two transposes; `passes.channels_last` removes those that cancel.
"""

from collections.abc import Sequence

from lepton.graph import Op, Reshape, Shape, Tensor, Transpose
from lepton.graph.builder import GraphBuilder, Value

from .steps import TO_NCHW, TO_NHWC


class Images:
    """Emits operators on images into `builder`.

    turned: by the name of an (N, C, ...) tensor, its value as (N, H, W, C).
    """

    def __init__(self, builder: GraphBuilder):
        self.builder = builder
        self.turned: dict[str, Value] = {}

    def nhwc(self, x: Value) -> Value:
        """An (N, C, H, W), (N, C, W) or (N, C) value with its channels last: (N, H, W, C)."""
        if x.name not in self.turned:
            image = x
            if image_shape(x.shape) != x.shape:
                image = self._moved(Reshape(image_shape(x.shape)), x, f"{x.name}/image")
            self.turned[x.name] = self._moved(Transpose(TO_NHWC), image, f"{x.name}/nhwc")
        return self.turned[x.name]

    def emit(self, op: Op, inputs: Sequence[Value | None], output: Tensor, label: str) -> Value:
        """`op` on the image inputs[0]; the declared `output` has its channels where PyTorch has them, on axis 1."""
        assert inputs[0] is not None, output.name
        result = self._main(op, [self.nhwc(inputs[0]), *inputs[1:]], output, f"{output.name}/nhwc", label)
        self.turned[output.name] = result
        if image_shape(output.shape) == output.shape:
            return self._moved(Transpose(TO_NCHW), result, output=output)
        image = self._moved(Transpose(TO_NCHW), result, f"{output.name}/image")
        return self._moved(Reshape(output.shape), image, output=output)

    def emit_rows(self, op: Op, inputs: Sequence[Value | None], output: Tensor, label: str) -> Value:
        """`op` on inputs[0] (N, W, C), which has its channels last already, as an image one pixel high."""
        x = inputs[0]
        assert x is not None, output.name
        rows = self._moved(Reshape((x.shape[0], 1, *x.shape[1:])), x, f"{x.name}/rows")
        result = self._main(op, [rows, *inputs[1:]], output, f"{output.name}/rows", label)
        return self._moved(Reshape(output.shape), result, output=output)

    def _main(self, op: Op, inputs: Sequence[Value | None], like: Tensor, name: str, label: str) -> Value:
        self.builder.label = label
        return self.builder.emit(op, inputs, name, like.quantization)

    def _moved(self, op: Op, x: Value, name: str = "", output: Tensor | None = None) -> Value:
        self.builder.label = ""  # the node has the name of its output
        return self.builder.emit(op, [x], name, output=output)


def image_shape(shape: Shape) -> Shape:
    """(N, C, W) as an image one pixel high, (N, C) as one pixel."""
    if len(shape) == 2:
        return (*shape, 1, 1)
    return (*shape[:2], 1, shape[2]) if len(shape) == 3 else tuple(shape)
