"""Layers that are added to a network: their shapes follow from what precedes them, and are checked against it."""

from dataclasses import dataclass

from ..text import dimensions

Shape = tuple[int, ...]  # of one input, without the batch: (channels, height, width) or (features,)
ACTIVATIONS = ("relu", "relu6", "sigmoid", "tanh", "hardswish", "silu")


class LayerError(ValueError):
    """A layer does not fit what precedes it; the text has the numbers of both."""


@dataclass(frozen=True)
class Convolution:
    """What `add_conv_layer` makes."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    shape: Shape  # of the result


def convolution(before: Shape, inputs: int | None, outputs: int, kernel: int, stride: int,
                padding: str | int) -> Convolution:
    """A square convolution behind an image of shape `before`. Raises `LayerError`."""
    channels, height, width = _image("add_conv_layer", before)
    if inputs is not None and inputs != channels:
        raise LayerError(f"add_conv_layer: the layer takes {inputs} channels, but what precedes it has {channels} "
                         f"({dimensions(before)}); give {channels}, or None")
    _at_least_one("add_conv_layer", output_channels=outputs, kernel_size=kernel, stride=stride)
    if padding == "same":
        border = kernel // 2
    elif padding == "valid":
        border = 0
    elif isinstance(padding, int) and 0 <= padding < kernel:
        border = padding
    else:
        raise LayerError(f"add_conv_layer: padding must be 'same', 'valid' or a number from 0 to {kernel - 1}, not "
                         f"{padding!r}")
    size = _reduced("add_conv_layer", (height, width), kernel, stride, border)
    return Convolution(channels, outputs, kernel, stride, border, (outputs, *size))


def pooling(before: Shape, kernel: int, stride: int | None) -> tuple[int, Shape]:
    """The stride, and the shape behind a square pool of an image of shape `before`. Raises `LayerError`."""
    channels, height, width = _image("add_pooling_layer", before)
    step = kernel if stride is None else stride
    _at_least_one("add_pooling_layer", kernel_size=kernel, stride=step)
    return step, (channels, *_reduced("add_pooling_layer", (height, width), kernel, step, 0))


def dense(before: Shape, inputs: int | None) -> tuple[int, bool]:
    """The number of inputs of a dense layer behind `before`, and whether it takes the average of each channel.

    A number of inputs that is that of the channels means the averages; all values otherwise. Raises `LayerError`.
    """
    count = 1
    for extent in before:
        count *= extent
    if inputs is None or inputs == count:
        return count, False
    if len(before) == 3 and inputs == before[0]:
        return inputs, True
    what = f"{count} values"
    if len(before) == 3:
        what = (f"{before[0]} channels of {dimensions(before[1:])}: {before[0]} averaged over the image, or {count} "
                "values")
    raise LayerError(f"add_dense_layer: the layer takes {inputs} inputs, but what precedes it has {what}; give one of "
                     "these numbers, or None for all values")


def _image(what: str, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise LayerError(f"{what}: it needs an image, but what precedes it has {dimensions(shape)} values without "
                         "height and width; add it before the dense layers")
    return shape[0], shape[1], shape[2]


def _at_least_one(what: str, **values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise LayerError(f"{what}: {name} must be a whole number of at least 1, not {value!r}")


def _reduced(what: str, size: tuple[int, int], kernel: int, stride: int, border: int) -> tuple[int, int]:
    if min(size) + 2 * border < kernel:
        raise LayerError(f"{what}: a kernel of {kernel} does not fit what precedes it, which is {dimensions(size)}"
                         f"{f' with {border} of padding' if border else ''}; use one of at most "
                         f"{min(size) + 2 * border}")
    return ((size[0] + 2 * border - kernel) // stride + 1, (size[1] + 2 * border - kernel) // stride + 1)
