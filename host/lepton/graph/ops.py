"""The operators.

"int8" in a contract means int8 with one scale and one zero point per tensor. Where the arithmetic differs between
frameworks, `Graph.arithmetic` decides; what a kernel does with it is written where it is computed (`compiler`).

`unsigned`: the framework computes with uint8 values and zero points, 128 above those here. The reals are the same,
but rounding is not: with `Arithmetic.FLOAT` zero points are added to a float before it is rounded; TFLite's averages
of uint8 round ties up, those of int8 away from zero, and it multiplies the scales of uint8 convolutions in float32.

`in_float`: with `Arithmetic.FLOAT`, int8 operands are dequantized, the operator is computed in float32, and the
result is divided by its scale, rounded to even and moved by its zero point, each operation rounded to float32.
"""

from dataclasses import dataclass

from .core import Op

Pair = tuple[int, int]  # (y, x), as all pairs here
Padding = tuple[Pair, Pair]  # (top, bottom), (left, right)
FULL = (-128, 127)
NONE: Padding = ((0, 0), (0, 0))


# Layers: weights times activations. Images are (1, H, W, C).

@dataclass(frozen=True)
class Conv2D(Op):
    """inputs: x int8 (1,H,W,C), weights int8 (O,Kh,Kw,C/groups), bias int32 (O,) or none.

    A zero point of the weights other than 0 is allowed (legacy uint8 networks, moved to int8).
    """

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = NONE
    groups: int = 1
    clamp: Pair = FULL  # on the quantized output
    unsigned: bool = False


@dataclass(frozen=True)
class DepthwiseConv2D(Op):
    """inputs: x int8 (1,H,W,C), weights int8 (1,Kh,Kw,C*multiplier), bias int32 (C*multiplier,) or none."""

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = NONE
    multiplier: int = 1
    clamp: Pair = FULL
    unsigned: bool = False


@dataclass(frozen=True)
class TransposeConv2D(Op):
    """inputs: x int8 (1,H,W,C), weights int8 (O,Kh,Kw,C), bias int32 (O,) or none.

    Every input pixel adds its weighted kernel to the output at `stride` times its position, less the top and left
    padding; the output's shape is that of its tensor, what falls outside is dropped.
    """

    stride: Pair = (1, 1)
    padding: Padding = NONE
    clamp: Pair = FULL
    unsigned: bool = False


@dataclass(frozen=True)
class FullyConnected(Op):
    """inputs: x int8 (..., I), or any shape of I elements; weights int8 (O,I), bias int32 (O,) or none.

    Rows before the last axis are independent: the output has shape (..., O).
    """

    clamp: Pair = FULL


@dataclass(frozen=True)
class MatMul(Op):
    """inputs: a int8 (..., M, K), b int8 (..., K, N), both computed; batch axes broadcast as in numpy."""

    clamp: Pair = FULL


# Pools

@dataclass(frozen=True)
class MaxPool2D(Op):
    """input: x (1,H,W,C); padding takes no part in the maximum. Input and output have the same quantization."""

    kernel: Pair = (2, 2)
    stride: Pair = (2, 2)
    padding: Padding = NONE
    clamp: Pair = FULL


@dataclass(frozen=True)
class AveragePool2D(Op):
    """input: x (1,H,W,C); padding is not counted, unless `count_padding`.

    With `Arithmetic.FIXED` input and output have the same quantization.
    """

    kernel: Pair = (2, 2)
    stride: Pair = (2, 2)
    padding: Padding = NONE
    clamp: Pair = FULL
    count_padding: bool = False
    unsigned: bool = False


@dataclass(frozen=True)
class Mean(Op):
    """input: x (1,H,W,C); mean over H and W, requantized (TFLite MEAN, ONNX GlobalAveragePool)."""


@dataclass(frozen=True)
class Reduce(Op):
    """Sum, mean, max, min or product over any axes of any type; int8 is requantized."""

    kind: str  # "sum", "mean", "max", "min", "prod"
    axes: tuple[int, ...]
    keep_dims: bool = True


# Element by element

@dataclass(frozen=True)
class Table(Op):
    """input: x int8; any function of one int8: y = values[q + 128], values being 256 bytes, two's complement.

    A front end computes the values with the framework's own arithmetic: sigmoid, tanh, hard-swish, leaky ReLU,
    clip, requantization to another scale, and chains of them.
    """

    values: bytes


@dataclass(frozen=True)
class Add(Op):
    """inputs: a, b int8 (requantized, TFLite ADD) or both of one other type; shapes broadcast as in numpy."""

    clamp: Pair = FULL
    unsigned: bool = False
    in_float: bool = False


@dataclass(frozen=True)
class Sub(Op):
    """Like `Add`: a - b."""

    clamp: Pair = FULL
    in_float: bool = False


@dataclass(frozen=True)
class Mul(Op):
    """Like `Add`: a * b."""

    clamp: Pair = FULL
    unsigned: bool = False
    in_float: bool = False


@dataclass(frozen=True)
class Div(Op):
    """inputs: a, b float32; a / b, shapes broadcast as in numpy."""


@dataclass(frozen=True)
class Maximum(Op):
    """inputs: a, b of the same type and quantization; shapes broadcast as in numpy."""


@dataclass(frozen=True)
class Minimum(Op):
    """inputs: a, b of the same type and quantization; shapes broadcast as in numpy."""


@dataclass(frozen=True)
class Prelu(Op):
    """inputs: x int8, alpha int8 constant with its own quantization, or both float32; broadcast as in numpy."""


@dataclass(frozen=True)
class Unary(Op):
    """A function of a host tensor that is not int8: "exp", "log", "sqrt", "neg", "abs", "relu", "sigmoid", "tanh",
    "erf", "floor", "ceil", "round", "reciprocal", "not", "cast" (to the output's type)."""

    kind: str


@dataclass(frozen=True)
class Softmax(Op):
    """input: x; over `axis` (TFLite SOFTMAX and ONNX QLinearSoftmax for int8, float32 otherwise)."""

    beta: float = 1.0
    axis: int = -1


# Between number formats

@dataclass(frozen=True)
class Quantize(Op):
    """float32 to int8 or uint8, by the output's scale and zero point: divide, round half (FIXED: away from zero,
    FLOAT: to even), add, saturate."""


@dataclass(frozen=True)
class Dequantize(Op):
    """int8, uint8 or int32 to float32: scale * (q - zero_point), in float32."""


@dataclass(frozen=True)
class Recenter(Op):
    """uint8 to int8 or back: the same reals, q and zero point moved by 128."""


# Moving data: any type, any rank; input and output have the same quantization

@dataclass(frozen=True)
class Reshape(Op):
    """input: x; the same elements in their order."""


@dataclass(frozen=True)
class Transpose(Op):
    """Axis i of the output is axis `order[i]` of the input."""

    order: tuple[int, ...]


@dataclass(frozen=True)
class Concat(Op):
    """Any number of inputs, along `axis`."""

    axis: int


@dataclass(frozen=True)
class Slice(Op):
    """numpy's x[begin:end:step] per axis; begin and end inside 0..extent, or end -1 meaning "before 0" for steps
    below 0."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    step: tuple[int, ...]


@dataclass(frozen=True)
class Pad(Op):
    """(before, after) per axis; filled with `value` (of the tensor's type), or by `mode` "reflect",
    "symmetric" or "edge" as numpy.pad."""

    widths: tuple[Pair, ...]
    value: float = 0
    mode: str = "constant"


@dataclass(frozen=True)
class Gather(Op):
    """inputs: x, indices int32 or int64 (constant or computed); takes along `axis`, as numpy.take."""

    axis: int


@dataclass(frozen=True)
class Resize(Op):
    """input: x (1,H,W,C) to the output's height and width. `mode` is "nearest" or "bilinear".

    `coordinates` says which input place an output pixel looks at: "half_pixel", "asymmetric", "align_corners" or
    "pytorch_half_pixel"; `nearest` how it is rounded:
    "floor", "round_prefer_floor", "round_prefer_ceil", "ceil".
    `scales` (y, x) where the framework states them, else output over input size. Bilinear of int8 is
    what TFLite's kernels for int8 or (`unsigned`) uint8 do; with `Arithmetic.FLOAT` it has weights of 10 bits and cuts
    fractions off, of uint8 values if `unsigned`.
    """

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    scales: tuple[float, float] | None = None
    unsigned: bool = False
