"""Operators to `ChipLayer`s: weight tiles, parameter records and walks (design D4)."""

from dataclasses import replace

import numpy as np

from ..arch import ChipConfig, Rounding, TensorOpcode
from ..arch.commands import WINDOW_COLUMNS, WINDOW_ROWS
from ..graph import (
    Add,
    Arithmetic,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    GraphError,
    MaxPool2D,
    Mean,
    Resize,
    Table,
    TransposeConv2D,
)
from . import quantize, residual_fit
from .host.layers import centred_weights
from .layers import ChipLayer, Image, Part, Window
from .layouts import Blocked, Rows
from .partition import NotOnChip, phase_steps, rows_of
from .segments import ChipNode, Segment
from .verify import image_shape, label
from .views import View, side_by_side

_BYTE = 255  # kernel, stride and dilation have 8 bits in a command, image sizes 16


def _zero(tensor) -> int:
    return int(tensor.quantization.zero_point[0])


def _scale(tensor) -> float:
    return float(np.float32(tensor.quantization.scale[0]))


class Lowering:
    """Lowers the nodes of one segment. `inputs` collects the device layouts of the tensors from outside."""

    def __init__(self, graph: Graph, config: ChipConfig, segment: Segment):
        self.graph = graph
        self.config, self.lanes = config, config.lanes
        self.floats = graph.arithmetic is Arithmetic.FLOAT
        self.outside, self.wanted = set(segment.inputs), set(segment.outputs)
        self.inputs: dict[str, tuple[str, Blocked | Rows]] = {}  # buffer name -> (tensor, layout)

        self.views: dict[str, View] = {}  # tensors that have no buffer of their own
        self._join(segment)

    def layers(self, node: ChipNode, index: int) -> list[ChipLayer]:
        """The chip's work for a node: usually one layer, none for what only renames lanes, more where channels have
        to be moved first. `index` is that of the first. Raises `GraphError` where a command cannot express it."""
        if node.moves:
            return self._move(node, index)
        weighted = isinstance(node.node.op, Conv2D | FullyConnected | TransposeConv2D)
        moved = [name for name in dict.fromkeys(node.reads())
                 if not (weighted and name == node.source) and name in self.views and not self.views[name].plain]
        made = [self._gather(name, name, index + i) for i, name in enumerate(moved)]
        phases = [None]
        if isinstance(node.node.op, Resize | TransposeConv2D):
            phases = list(np.ndindex(*phase_steps(self.graph, node.node)))
        return made + [self._layer(node, index + i, phase) for i, phase in enumerate(phases, len(made))]

    def _layer(self, node: ChipNode, index: int, phase: tuple[int, int] | None) -> ChipLayer:
        op = node.node.op
        self._limits(node)
        if isinstance(op, Resize):
            layer = self._nearest(node, index, phase)
        elif isinstance(op, TransposeConv2D):
            layer = self._transposed(node, index, phase)
        elif isinstance(op, Conv2D | DepthwiseConv2D | FullyConnected):
            layer = self._dot(node, index)
        else:
            layer = self._lanewise(node, index)
        if self.floats:
            layer.rounding = Rounding.FLOAT
        if node.table is not None:
            layer.table = node.table.op.values
            layer.op += "+Table"
            layer.output_shape = tuple(self.graph.tensors[node.table.outputs[0]].shape)
        elif isinstance(op, Table):
            layer.table = op.values
        if node.residual is not None:
            try:
                self._add_residual(layer, node)
            except GraphError as error:  # the sum alone is at fault, not the layer that it was fused into
                raise NotOnChip((node.fused, str(error))) from error
        return layer

    # activations

    def blocked(self, tensor: str) -> Blocked:
        """The layout of a tensor that the chip computes with."""
        t = self.graph.tensors[tensor]
        height, width, channels = image_shape(t.shape, f"tensor {tensor!r}")
        return Blocked(tuple(map(int, t.shape)), height, width, channels, self.lanes, _zero(t))

    def _image(self, tensor: str, shape: tuple[int, int, int]) -> Image:
        height, width, channels = shape
        name = tensor
        if tensor in self.views:
            return replace(self.views[tensor].image, height=height, width=width, row_bytes=width * self.lanes)
        if tensor in self.outside:
            layout = self.blocked(tensor)
            if (layout.height, layout.width) != (height, width):  # seen through a Reshape
                name = f"{tensor}@{height}x{width}"
            self.inputs.setdefault(name, (tensor, layout))
        return Image(name, -(-channels // self.lanes), height, width, self.lanes, width * self.lanes)

    def _limits(self, node: ChipNode) -> None:
        op, where = node.node.op, label(node.node)
        if isinstance(op, Conv2D | DepthwiseConv2D):
            kernel = self.graph.tensors[node.node.inputs[1]].data.shape[1:3]
        elif isinstance(op, MaxPool2D | AveragePool2D):
            kernel = op.kernel
        elif isinstance(op, FullyConnected | Mean):
            kernel = (1, 1) if isinstance(op, FullyConnected) and rows_of(self.graph, node.node) else node.image[:2]
        else:
            kernel = (1, 1)
        pairs = [("kernel", kernel), ("stride", getattr(op, "stride", (1, 1))),
                 ("dilation", getattr(op, "dilation", (1, 1)))]
        for what, pair in pairs:
            if max(pair) > _BYTE:
                raise GraphError(f"{where}: {what} must be at most {_BYTE} in both directions, not {tuple(pair)}")
        padding = getattr(op, "padding", ((0, 0), (0, 0)))
        for size, pads in zip(node.image[:2], padding, strict=True):
            if size + sum(pads) > 32767:
                raise GraphError(f"{where}: height and width with padding must be at most 32767, "
                                 f"not {size + sum(pads)}")

    # convolutions and fully connected layers

    def _dot(self, node: ChipNode, index: int) -> ChipLayer:
        op, tensors = node.node.op, self.graph.tensors
        weights = tensors[node.node.inputs[1]]
        height, width, channels = node.image
        stride, dilation, padding = (1, 1), (1, 1), ((0, 0), (0, 0))
        data = centred_weights(weights).astype(np.int8)
        if isinstance(op, FullyConnected):
            rows = rows_of(self.graph, node.node)
            values = data.reshape(-1, *((1, 1) if rows else (height, width)), channels)
        elif isinstance(op, Conv2D):
            values, stride, dilation, padding = data, op.stride, op.dilation, op.padding
        else:
            values = data[0].transpose(2, 0, 1)[..., None]
            stride, dilation, padding = op.stride, op.dilation, op.padding
        outputs, kernel_y, kernel_x, per_group = values.shape
        # the first input channel that each output channel reads
        if isinstance(op, DepthwiseConv2D):
            starts = np.arange(outputs) // op.multiplier
        else:
            starts = np.arange(outputs) // (outputs // getattr(op, "groups", 1)) * per_group
        out_shape = image_shape(tensors[node.node.outputs[0]].shape, label(node.node))
        source, output = tensors[node.node.inputs[0]], tensors[node.node.outputs[0]]
        folded = self._folded_passes(node, values, dilation)
        window = None if folded is not None else self._window(node, values, stride, dilation, padding, out_shape)
        opcode = TensorOpcode.DOT
        if window is not None:
            image, opcode = self._image(node.source, node.image), TensorOpcode.WINDOW
            tiles, first = self._window_tiles(values, window), list(range(image.blocks))
            kernel, origin, column_bytes = (len(tiles[0][0]), 1), (padding[0][0], padding[1][0]), self.lanes
            dilation = (window.rows, 1)
        elif folded is None:
            image = self._image(node.source, node.image)
            tiles, first = self._tiles(values, starts, self._lanes_of(node.source, channels))
            kernel, origin = (kernel_y, kernel_x), (padding[0][0], padding[1][0])
            column_bytes = self.lanes * dilation[1]
        else:
            image = self._rows(node, index, stride, padding[1][0], out_shape[1], folded, _zero(source))
            tiles, first = self._folded_tiles(values, folded), [0] * -(-outputs // self.lanes)
            kernel, origin, column_bytes = (kernel_y, folded), (padding[0][0], 0), self.lanes
        layer = ChipLayer(
            index, node.name, type(op).__name__, opcode, image, self._image(node.output, out_shape),
            kernel, tuple(stride), tuple(dilation), origin, column_bytes, folded is None, _zero(source),
            [], _zero(output), *op.clamp, weights=tiles, first_block=first)
        self._set_params(layer, node, values, weights)
        layer.parts = [Part((0, out_shape[0]), (0, out_shape[1]))]
        layer.window, layer.arrives = window, node.source in self.outside
        if not self.floats:
            layer.rounding = Rounding.SINGLE if isinstance(op, FullyConnected) else Rounding.DOUBLE
        layer.macs = out_shape[0] * out_shape[1] * values.size
        layer.weight_bytes = values.size
        layer.input_shape, layer.output_shape = tuple(source.shape), tuple(output.shape)
        return layer

    def _set_params(self, layer: ChipLayer, node: ChipNode, values: np.ndarray, weights) -> None:
        """Parameter records per output block; short ones where all channels have the same scale.

        The zero point of the input is in the bias: sum(w*(x - z)) = sum(w*x) - z*sum(w).
        """
        tensors, lanes = self.graph.tensors, self.lanes
        source, output = tensors[node.node.inputs[0]], tensors[node.node.outputs[0]]
        outputs = len(values)
        bias = np.zeros(outputs, np.int64)
        if len(node.node.inputs) > 2 and node.node.inputs[2]:
            bias += tensors[node.node.inputs[2]].data.reshape(-1)
        bias -= _zero(source) * values.reshape(outputs, -1).sum(axis=1, dtype=np.int64)
        per_channel = not isinstance(node.node.op, FullyConnected) or weights.quantization.scale.size > 1
        steps = source.quantization.scale, weights.quantization.scale.reshape(-1), output.quantization.scale
        if self.floats:
            pairs = [quantize.float_multiplier(s) for s in np.broadcast_to(quantize.float_scales(*steps), outputs)]
        else:
            scales = quantize.conv_scales(*steps, per_channel)
            pairs = [quantize.quantize_multiplier(float(s)) for s in np.broadcast_to(scales, outputs)]
        if max(shift for _, shift in pairs) > 31:
            raise GraphError(f"{label(node.node)}: the scale of input times weights must be less than 2**31 times "
                             "that of the output")
        multiplier, shift = np.array(pairs, np.int64).T
        if self.floats:
            quantize.check_float_range(bias, values, shift)
        blocks = [slice(o, o + lanes) for o in range(0, outputs, lanes)]
        if len(set(pairs)) == 1 and node.residual is None and quantize.fits_uniform(bias):
            layer.params = [quantize.pack_uniform(bias[block], lanes) for block in blocks]
            left, right = quantize.split_shift(int(shift[0]))
            layer.uniform = {"uniform": 1, "add_mult_a": int(multiplier[0]), "add_shift_a": left, "add_shift_b": right}
        else:
            layer.params = [quantize.pack_parameters(bias[b], multiplier[b], shift[b], lanes) for b in blocks]

    def _lanes_of(self, tensor: str, channels: int) -> np.ndarray:
        """Lane of each channel, counted through the blocks."""
        view = self.views.get(tensor)
        return np.arange(channels) if view is None else view.lanes

    def _tiles(self, values: np.ndarray, starts: np.ndarray,
               place: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
        """Tiles of every output block over the input blocks that its channels read; channel c is in lane place[c]."""
        lanes, (outputs, kernel_y, kernel_x, per_group) = self.lanes, values.shape
        tiles, first = [], []
        for o in range(0, outputs, lanes):
            read = [place[start:start + per_group] for start in starts[o:o + lanes]]
            low = min(int(r.min()) for r in read) // lanes
            high = max(int(r.max()) for r in read) // lanes + 1
            dense = np.zeros((lanes, kernel_y, kernel_x, (high - low) * lanes), np.int8)
            for n, where in enumerate(read):
                dense[n][:, :, where - low * lanes] = values[o + n]
            blocked = dense.reshape(lanes, kernel_y, kernel_x, high - low, lanes)
            tiles.append(np.ascontiguousarray(blocked.transpose(3, 1, 2, 0, 4)))
            first.append(low)
        return tiles, first

    # channels that lie elsewhere

    def _join(self, segment: Segment) -> None:
        """Places for the operands of concatenations, where the layers that make them can write them at once."""
        made = {chip.output for chip in segment.chip if not chip.moves}
        for chip in segment.chip:
            if not isinstance(chip.node.op, Concat):
                continue
            for name, part in zip(chip.reads(), self._parts(chip)[1], strict=True):
                same_shape = self._shape(name) == self._shape(chip.output)[:2] + self._shape(name)[2:]
                if name in made and name not in self.wanted and name not in self.views and same_shape:
                    self.views[name] = part

    def _shape(self, tensor: str) -> tuple[int, int, int]:
        return image_shape(tuple(map(int, self.graph.tensors[tensor].shape)), f"tensor {tensor!r}")

    def _parts(self, node: ChipNode) -> tuple[View, list[View]]:
        height, width, _ = self._shape(node.output)
        image = Image(f"{node.output}@parts", 0, height, width, self.lanes, width * self.lanes)
        return side_by_side(image, [self._shape(name)[2] for name in node.reads()])

    def _view(self, tensor: str) -> View:
        return self.views.get(tensor) or View(self._image(tensor, self._shape(tensor)),
                                              np.arange(self._shape(tensor)[2]))

    def _move(self, node: ChipNode, index: int) -> list[ChipLayer]:
        """Concat: copies of the operands that do not lie in their places yet. Slice: a view. What is needed outside
        gets a buffer of its own."""
        op, layers = node.node.op, []
        if isinstance(op, Concat):
            view, parts = self._parts(node)
            for name, part in zip(node.reads(), parts, strict=True):
                if self.views.get(name) is not part and not self._lies(name, part):
                    layers.append(self._select(name, self._view(name), part.image, index + len(layers)))
        else:
            end = op.end[-1] if op.end[-1] >= 0 else None
            view = self._view(node.source).part(slice(op.begin[-1], end, op.step[-1]))
        self.views[node.output] = view
        if node.output in self.wanted:
            layers.append(self._gather(node.output, node.output, index + len(layers)))
        return layers

    def _lies(self, name: str, part: View) -> bool:
        view = self.views.get(name)
        return view is not None and view.image == part.image and np.array_equal(view.lanes, part.lanes)

    def _gather(self, tensor: str, name: str, index: int) -> ChipLayer:
        """A layer that gives a tensor a buffer of its own."""
        view, (height, width, channels) = self.views.pop(tensor), self._shape(tensor)
        image = Image(name, -(-channels // self.lanes), height, width, self.lanes, width * self.lanes)
        return self._select(tensor, view, image, index)

    def _select(self, tensor: str, view: View, output: Image, index: int) -> ChipLayer:
        """Channels of `view` to the lanes of `output`: a copy, or sums with weights 0 and 1."""
        shape = (1, output.height, output.width, len(view.lanes))
        source = replace(view.image, height=output.height, width=output.width, row_bytes=output.width * self.lanes)
        common = {"kernel": (1, 1), "stride": (1, 1), "dilation": (1, 1), "origin": (0, 0), "column_bytes": self.lanes,
                  "checks_columns": True, "out_zero": 0, "out_min": -128, "out_max": 127, "input_shape": shape,
                  "output_shape": shape, "rounding": Rounding.FLOAT if self.floats else Rounding.DOUBLE,
                  "parts": [Part((0, output.height), (0, output.width))]}
        if view.plain:
            return ChipLayer(index, tensor, "Copy", TensorOpcode.MAX, source, output, pad=-128,
                             params=[self._uniform(0, 1 << 30, 1, 0)], **common)
        ones = np.ones((len(view.lanes), 1, 1, 1), np.int8)
        tiles, first = self._tiles(ones, np.arange(len(ones)), view.lanes)
        return ChipLayer(index, tensor, "Select", TensorOpcode.DOT, source, output, pad=0,
                         params=[self._uniform(0, 1 << 30, 1, 0)] * len(tiles), weights=tiles, first_block=first,
                         **common)

    # depthwise: the window unit, where the kernel fits it

    def _window(self, node: ChipNode, values: np.ndarray, stride, dilation, padding, out_shape) -> Window | None:
        """How the window unit does a depthwise convolution; None where it cannot (see WINDOW in `arch.commands`)."""
        op, (_, kernel_y, kernel_x, _) = node.node.op, values.shape
        width = node.image[1]
        if not isinstance(op, DepthwiseConv2D) or op.multiplier != 1 or tuple(dilation) != (1, 1):
            return None
        if kernel_x > min(WINDOW_COLUMNS, self.lanes, width) or not 2 <= width <= self.config.window_columns:
            return None
        first = kernel_x - 1 - padding[1][0]  # the last column of the first and of the last window in a row
        last = first + (out_shape[1] - 1) * stride[1]
        # Windows come in the order of their last pixels; one that sticks out to the right ends in the next row.
        if first < 0 or last - kernel_x + 1 >= width or (last >= width and stride[0] < 2 and last - width >= first):
            return None
        rows = min(WINDOW_ROWS, kernel_y, (self.lanes - kernel_x) // WINDOW_COLUMNS + 1)
        return Window(kernel_y, kernel_x, rows)

    def _window_tiles(self, values: np.ndarray, window: Window) -> list[np.ndarray]:
        """Tiles per output block, (1, groups, 1, K, K): the taps counted from the last of the window."""
        lanes, outputs = self.lanes, len(values)
        groups = -(-window.height // window.rows)
        tiles = np.zeros((-(-outputs // lanes) * lanes, groups, lanes), np.int8)
        for group in range(groups):
            start, stop = window.group(group)
            for above, y in enumerate(reversed(range(start, stop))):
                for left, x in enumerate(reversed(range(window.width))):
                    tiles[:outputs, group, WINDOW_COLUMNS * above + left] = values[:, y, x, 0]
        blocked = tiles.reshape(-1, lanes, groups, lanes).transpose(0, 2, 1, 3)
        return [np.ascontiguousarray(block)[None, :, None] for block in blocked]

    # few input channels: kernel columns folded into lanes

    def _folded_passes(self, node: ChipNode, values: np.ndarray, dilation) -> int | None:
        """Passes per kernel row with kernel columns folded into lanes; None where that saves nothing or cannot be.

        Only a tensor from outside can lie in memory that way, because the host converts it.
        """
        _, _, kernel_x, per_group = values.shape
        if node.source not in self.outside or per_group != node.image[2] or isinstance(node.node.op, FullyConnected):
            return None
        passes = -(-kernel_x * per_group // self.lanes)
        plain = kernel_x * -(-per_group // self.lanes)
        return passes if dilation[1] == 1 and passes < plain else None

    def _rows(self, node: ChipNode, index: int, stride, left: int, out_width: int, passes: int, zero: int) -> Image:
        height, width, channels = node.image
        # far enough that the last pixel's last word lies in the row
        reach = (out_width - 1) * stride[1] * channels + passes * self.lanes
        pitch = -(-max(reach, (left + width) * channels) // self.lanes) * self.lanes
        name = f"{node.source}#{index}"
        self.inputs[name] = (node.source, Rows(tuple(map(int, self.graph.tensors[node.source].shape)), height, width,
                                               channels, left, pitch, zero))
        return Image(name, 1, height, width, channels, pitch, folded=True)

    def _folded_tiles(self, values: np.ndarray, passes: int) -> list[np.ndarray]:
        lanes, (outputs, kernel_y, kernel_x, channels) = self.lanes, values.shape
        padded = np.zeros((-(-outputs // lanes) * lanes, kernel_y, passes * lanes), np.int8)
        padded[:outputs, :, :kernel_x * channels] = values.reshape(outputs, kernel_y, kernel_x * channels)
        blocked = padded.reshape(-1, lanes, kernel_y, passes, lanes).transpose(0, 2, 3, 1, 4)
        return [np.ascontiguousarray(tile)[None] for tile in blocked]

    # images of more pixels: a layer for each place of an output pixel among those of an input pixel

    def _phase_image(self, node: ChipNode, phase: tuple[int, int]) -> Image:
        return self._image(node.output, self._shape(node.output)).phase(phase_steps(self.graph, node.node), phase)

    def _nearest(self, node: ChipNode, index: int, phase: tuple[int, int]) -> ChipLayer:
        image = self._image(node.source, node.image)
        layer = self._select(node.name, View(image, np.arange(node.image[2])), self._phase_image(node, phase), index)
        layer.op = "Resize"
        layer.output_shape = tuple(self.graph.tensors[node.node.outputs[0]].shape)
        return layer

    def _transposed(self, node: ChipNode, index: int, phase: tuple[int, int]) -> ChipLayer:
        """A convolution over the taps that meet the output pixels of one phase. Output row s*y + p takes kernel row k
        where s divides p + top - k, times input row y + (p + top - k) / s: kernel rows from last to first."""
        op, tensors = node.node.op, self.graph.tensors
        weights = tensors[node.node.inputs[1]]
        values = centred_weights(weights).astype(np.int8)
        origin = []
        for axis in (0, 1):
            step, before = op.stride[axis], phase[axis] + op.padding[axis][0]
            taps = [k for k in reversed(range(values.shape[1 + axis] if not axis else values.shape[2]))
                    if (before - k) % step == 0]
            if taps:
                values = values[:, taps] if not axis else values[:, :, taps]
                origin.append((taps[0] - before) // step)
            else:  # no tap meets these pixels: they are the bias alone
                values = np.zeros_like(values[:, :1] if not axis else values[:, :, :1])
                origin.append(0)
        source, output = tensors[node.node.inputs[0]], tensors[node.node.outputs[0]]
        outputs, *kernel, channels = values.shape
        tiles, first = self._tiles(values, np.zeros(outputs, np.int64), self._lanes_of(node.source, channels))
        image, target = self._image(node.source, node.image), self._phase_image(node, phase)
        layer = ChipLayer(
            index, node.name, "TransposeConv2D", TensorOpcode.DOT, image, target, tuple(kernel), (1, 1), (1, 1),
            tuple(origin), self.lanes, True, _zero(source), [], _zero(output),
            *op.clamp, weights=tiles, first_block=first, parts=[Part((0, target.height), (0, target.width))],
            macs=target.height * target.width * values.size, weight_bytes=values.size,
            input_shape=tuple(source.shape), output_shape=tuple(output.shape))
        self._set_params(layer, node, values, weights)
        return layer

    # pooling, mean, addition: lane by lane

    def _lanewise(self, node: ChipNode, index: int) -> ChipLayer:
        op, tensors = node.node.op, self.graph.tensors
        source, output = tensors[node.node.inputs[0]], tensors[node.node.outputs[0]]
        out_shape = node.image if isinstance(op, Add | Table) else image_shape(output.shape, label(node.node))
        kernel, stride, padding = (1, 1), (1, 1), ((0, 0), (0, 0))
        opcode, pad, zero, clamp = TensorOpcode.MAX, -128, 0, (-128, 127)
        parts = [Part((0, out_shape[0]), (0, out_shape[1]))]
        params = [self._uniform(0, 1 << 30, 1, 0)]  # exactly the identity
        if isinstance(op, MaxPool2D):
            kernel, stride, padding, clamp = op.kernel, op.stride, op.padding, op.clamp
        elif isinstance(op, AveragePool2D):
            opcode, pad = TensorOpcode.SUM, 0
            zero = _zero(output) if self.floats else 0
            kernel, stride, padding, clamp = op.kernel, op.stride, op.padding, op.clamp
            parts, params = self._average(node, out_shape)
        elif isinstance(op, Mean):
            opcode, pad, kernel, zero = TensorOpcode.SUM, 0, node.image[:2], _zero(output)
            count = kernel[0] * kernel[1]
            if self.floats:
                multiplier, shift = quantize.float_multiplier(
                    quantize.float_average_scale(_scale(source), _scale(output), count))
                quantize.check_float_range(np.array([-_zero(source) * count]), np.ones((1, count)), np.array([shift]))
            else:
                multiplier, shift = quantize.mean_multiplier(_scale(source), _scale(output), count)
            params = [self._uniform(-_zero(source) * count, multiplier, *quantize.split_shift(shift))]
        layer = ChipLayer(
            index, node.name, type(op).__name__, opcode, self._image(node.source, node.image),
            self._image(node.output, out_shape), tuple(kernel), tuple(stride), (1, 1), (padding[0][0], padding[1][0]),
            self.lanes, True, pad, params, zero, *clamp, parts=parts)
        layer.input_shape, layer.output_shape = tuple(source.shape), tuple(output.shape)
        return layer

    def _uniform(self, bias: int, multiplier: int, left: int, right: int) -> bytes:
        ones = np.ones(self.lanes, np.int64)
        return quantize.pack_parameters(ones * bias, ones * multiplier, (left, right), self.lanes)

    def _average(self, node: ChipNode, out_shape) -> tuple[list[Part], list[bytes]]:
        """One part per rectangle of output pixels whose windows hold equally many pixels of the image."""
        op = node.node.op
        spans = [_equal_counts(out_shape[axis], node.image[axis], op.kernel[axis], op.stride[axis], op.padding[axis][0])
                 for axis in (0, 1)]
        parts, params = [], []
        for rows, count_y in spans[0]:
            for columns, count_x in spans[1]:
                if count_y * count_x == 0:
                    raise GraphError(f"{label(node.node)}: a window lies wholly in the padding; "
                                     "there is nothing to average")
                parts.append(Part(rows, columns, len(params)))
                try:
                    params.append(self._average_record(node, count_y * count_x))
                except GraphError as error:
                    raise GraphError(f"{label(node.node)}: {error}") from error
        return parts, params

    def _average_record(self, node: ChipNode, count: int) -> bytes:
        if not self.floats:
            return self._uniform(0, *quantize.average_multiplier(count))
        source, output = (self.graph.tensors[name] for name in (node.node.inputs[0], node.node.outputs[0]))
        if not quantize.float_average_is_exact(_scale(source), _scale(output), count):
            raise GraphError(f"an average over {count} values depends on how float32 rounds sums; the chip takes it "
                             "where both scales and the count are powers of two")
        multiplier, shift = quantize.float_multiplier(
            quantize.float_average_scale(_scale(source), _scale(output), count))
        return self._uniform(-_zero(source) * count, multiplier, *quantize.split_shift(shift))

    # the residual

    def _add_residual(self, layer: ChipLayer, node: ChipNode) -> None:
        tensors, add = self.graph.tensors, node.fused
        output, residual = tensors[add.outputs[0]], tensors[node.residual]
        layer.residual = self._image(node.residual, (layer.output.height, layer.output.width,
                                                     image_shape(output.shape, label(add))[2]))
        operands = tensors[node.own], residual, output
        scales, zeros = tuple(map(_scale, operands)), tuple(map(_zero, operands))
        if self.floats:
            table = np.clip(self._sums(node, scales, zeros), *add.op.clamp).astype(np.int8)
            fields = residual_fit.fit_float(table, (scales[0] / scales[2], scales[1] / scales[2]), zeros)
            if fields is None:
                raise GraphError(f"{label(add)}: no integers give the sums that float32 arithmetic gives")
            layer.add = fields
        else:
            try:
                layer.add = quantize.add_parameters(*scales)
            except GraphError as error:
                raise GraphError(f"{label(add)}: {error}") from error
            layer.add |= {"add": 1, "add_zero_a": zeros[0], "add_zero_b": zeros[1], "add_zero_o": zeros[2],
                          "add_min": add.op.clamp[0], "add_max": add.op.clamp[1]}
        if not isinstance(node.node.op, Add):
            layer.op += "+Add"
            layer.output_shape = tuple(output.shape)

    @staticmethod
    def _sums(node: ChipNode, scales: tuple[float, float, float], zeros: tuple[int, int, int]) -> np.ndarray:
        """The framework's sum of every pair, [own value, residual]. It adds the second operand first, so the order
        of the operands shows."""
        add, offset = node.fused, 128 if node.fused.op.unsigned else 0
        if isinstance(node.node.op, Add) or add.inputs[0] == node.own:
            return residual_fit.onnx_add_table(scales, zeros, offset)
        (a, b, output), (za, zb, zo) = scales, zeros
        return residual_fit.onnx_add_table((b, a, output), (zb, za, zo), offset).T


def _equal_counts(outputs: int, extent: int, kernel: int, stride: int,
                  before: int) -> list[tuple[tuple[int, int], int]]:
    """Runs of output positions [start, stop) along one axis with the number of image positions in their windows."""
    runs: list[tuple[tuple[int, int], int]] = []
    for o in range(outputs):
        first = o * stride - before
        count = max(min(first + kernel, extent) - max(first, 0), 0)
        if runs and runs[-1][1] == count:
            runs[-1] = ((runs[-1][0][0], o + 1), count)
        else:
            runs.append(((o, o + 1), count))
    return runs
