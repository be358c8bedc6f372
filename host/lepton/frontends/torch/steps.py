"""Operators that move values: each reads its arguments and emits the graph's moves on a value of any type.

A step gets the operator's operand and its arguments; a join gets several operands, and a part one of the results of a
split, by its number.
"""

from collections.abc import Callable, Sequence

from lepton.graph import Pad, Quantization, Resize, moves
from lepton.graph.builder import Value

from .nodes import Arguments
from .windows import stated_scales

Step = Callable[[Value, Arguments], Value]
Join = Callable[[Sequence[Value], Arguments], Value]
Part = Callable[[Value, Arguments, int], Value]

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)
# torch.nn.functional.pad's modes and the graph's; "circular" is read by itself.
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def nothing(x: Value, arguments: Arguments) -> Value:
    """`detach` of a trained module."""
    return x


def reshape(x: Value, arguments: Arguments) -> Value:
    return x.reshape(arguments.shape)


def permute(x: Value, arguments: Arguments) -> Value:
    return x.transpose([x.axis(axis) for axis in arguments.integers("dims")])


def transpose(x: Value, arguments: Arguments) -> Value:
    return _swapped(x, x.axis(arguments.integer("dim0")), x.axis(arguments.integer("dim1")))


def matrix_transpose(x: Value, arguments: Arguments) -> Value:
    """`t`: of a vector it is the vector."""
    return _swapped(x, 0, 1) if x.rank == 2 else x


def _swapped(x: Value, first: int, second: int) -> Value:
    order = list(range(x.rank))
    order[first] = second
    order[second] = first
    return x.transpose(order)


def slice_(x: Value, arguments: Arguments) -> Value:
    axis = x.axis(arguments.integer("dim"))
    chosen = slice(arguments.optional_integer("start"), arguments.optional_integer("end"), arguments.integer("step"))
    return x.slice(axis, *chosen.indices(x.shape[axis]))


def select(x: Value, arguments: Arguments) -> Value:
    return moves.select(x, arguments.integer("dim"), arguments.integer("index"))


def pad(x: Value, arguments: Arguments) -> Value:
    """Widths from the last axis to the first, those below 0 cut off."""
    pairs = arguments.integers("pad")
    widths = [(0, 0)] * x.rank
    for i in range(len(pairs) // 2):
        axis = x.rank - 1 - i
        before = pairs[2 * i]
        after = pairs[2 * i + 1]
        x = x.slice(axis, max(-before, 0), x.shape[axis] - max(-after, 0))
        widths[axis] = (max(before, 0), max(after, 0))
    mode = arguments.text("mode") if arguments.has("mode") else "constant"
    if mode == "circular":
        return moves.wrapped(x, widths)
    if mode not in _PAD_MODES:
        raise x.builder.error(f"padding must be one of {', '.join(_PAD_MODES)}, circular, not {mode!r}")
    if not any(map(any, widths)):
        return x
    value = _stored(arguments.optional_number("value") or 0.0, x.tensor.quantization)
    return x.apply(Pad(tuple(widths), value, _PAD_MODES[mode]))


def _stored(value: float, quantization: Quantization | None) -> float:
    """The value that stands for a real one in a tensor of this quantization."""
    if quantization is None:
        return value
    steps = round(value / float(quantization.scale[0])) + int(quantization.zero_point[0])
    return min(max(steps, -128), 127)


def nearest(x: Value, arguments: Arguments) -> Value:
    height, width = arguments.shape[2:]
    resize = Resize((height, width), "nearest", "pytorch_nearest", "floor", stated_scales(arguments))
    return x.transpose(TO_NHWC).apply(resize).transpose(TO_NCHW)


def pixel_shuffle(x: Value, arguments: Arguments) -> Value:
    return moves.depth_to_space(x, arguments.integer("upscale_factor"), channels=1, columns_first=True)


def pixel_unshuffle(x: Value, arguments: Arguments) -> Value:
    return moves.space_to_depth(x, arguments.integer("downscale_factor"), channels=1, columns_first=True)


def channel_shuffle(x: Value, arguments: Arguments) -> Value:
    return moves.channel_shuffle(x, arguments.integer("groups"))


def expand(x: Value, arguments: Arguments) -> Value:
    return moves.expand(x, arguments.shape)


def flip(x: Value, arguments: Arguments) -> Value:
    return moves.flip(x, arguments.integers("dims"))


def roll(x: Value, arguments: Arguments) -> Value:
    return moves.roll(x, arguments.integers("shifts"), arguments.integers("dims"))


def repeat(x: Value, arguments: Arguments) -> Value:
    return moves.tile(x, arguments.integers("repeats"))


def concat(values: Sequence[Value], arguments: Arguments) -> Value:
    return moves.concat(values, arguments.integer("dim"))


def stack(values: Sequence[Value], arguments: Arguments) -> Value:
    return moves.stack(values, arguments.integer("dim"))


def split(x: Value, arguments: Arguments, number: int) -> Value:
    """A part of `split` or `chunk`, whose sizes PyTorch has computed."""
    axis = x.axis(arguments.integer("dim"))
    sizes = [part.shape[axis] for part in arguments.results]
    begin = sum(sizes[:number])
    return x.slice(axis, begin, begin + sizes[number])


def unbind(x: Value, arguments: Arguments, number: int) -> Value:
    return moves.select(x, arguments.integer("dim"), number)
