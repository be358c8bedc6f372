"""Random TFLite networks of what transformers and gated networks are made of: products of two tensors, gates, softmax,
transposes, normalizations, operands for one row, column, pixel or channel; batches, odd shapes, any zero point."""

from math import prod

import numpy as np

from tests.host.frontends.tflite.random_graphs import RandomGraph
from tests.litert_models import Tensor

KINDS = ("conv", "depthwise", "pool", "enlarge", "product", "gate", "attend", "softmax", "transpose", "constant",
         "binary", "function", "slope", "norm", "distance", "reshape", "reduce", "mean", "rescale", "concat", "dense")
EXTENTS = (1, 1, 2, 3, 5, 7, 17)
MAX_ELEMENTS = 6000  # of a tensor: the golden device then takes a fraction of a second
MAX_MACS = 300_000  # of a layer


class RandomAttention(RandomGraph):
    """Tensors of two to five dimensions; one extent in ten is 300, one zero point in three is at an end of int8."""

    def __init__(self, seed: int | list[int], operators: int = 5):
        super().__init__(seed, operators, KINDS)

    def shape(self) -> tuple[int, ...]:
        rank = int(self.random.choice([2, 3, 4, 4, 4, 5]))
        while True:
            shape = [int(n) for n in self.random.choice(EXTENTS, rank)]
            if self.random.random() < 0.1:
                shape[int(self.random.integers(rank))] = 300
            if prod(shape) <= MAX_ELEMENTS:
                return tuple(shape)

    def tensor(self, shape, like: Tensor | None = None) -> Tensor:
        made = super().tensor(shape, like)
        if like is None and self.random.random() < 0.3:
            made.zero[:] = self.random.choice([-128, 127])
        if like is None and self.random.random() < 0.1:
            made.scale[:] = 10 ** self.random.uniform(-5, 2)
        return made

    def _scaled(self, shape, scale: float) -> Tensor:
        """A tensor of about this scale, so that its values are spread over int8."""
        made = self.tensor(shape)
        made.scale[:] = np.float32(scale * self.random.uniform(0.6, 2))
        return made

    # Layers

    def _weights(self, x, shape, axis) -> tuple[Tensor, Tensor]:
        scale = self.random.uniform(0.005, 0.02, shape[axis]).astype(np.float32)
        data = self.random.integers(-127, 128, shape).astype(np.int8)
        bias = self.random.integers(-2000, 2000, shape[axis], dtype=np.int32)
        return Tensor(scale, 0, data=data, axis=axis), Tensor(scale * x.scale[0], data=bias, axis=0)

    def _conv(self, x):
        outputs = int(self.random.choice([1, 3, 17, 20]))
        kernel = [int(n) for n in self.random.integers(1, 4, 2)]
        if len(x.shape) != 4 or prod(x.shape) * outputs * prod(kernel) > MAX_MACS:
            return
        weights, bias = self._weights(x, (outputs, *kernel, x.shape[3]), 0)
        y = self._scaled((*x.shape[:3], outputs), float(x.scale[0]) * np.sqrt(x.shape[3] * prod(kernel)))
        self.add("CONV_2D", 3, [x, weights, bias], y, "Conv2DOptions", Padding=0, StrideH=1, StrideW=1,
                 DilationHFactor=1, DilationWFactor=1, FusedActivationFunction=int(self.random.choice([0, 1, 3])))

    def _depthwise(self, x):
        if len(x.shape) != 4:
            return
        weights, bias = self._weights(x, (1, 3, 2, x.shape[3]), 3)
        self.add("DEPTHWISE_CONV_2D", 3, [x, weights, bias], self._scaled(x.shape, float(x.scale[0]) * 2),
                 "DepthwiseConv2DOptions", Padding=0, StrideH=1, StrideW=1, DilationHFactor=1, DilationWFactor=1,
                 DepthMultiplier=1)

    def _pool(self, x):
        if len(x.shape) == 4:
            name = str(self.random.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
            self.add(name, 2, [x], self.tensor(x.shape, x), "Pool2DOptions", Padding=0, StrideH=1, StrideW=1,
                     FilterHeight=2, FilterWidth=3)

    def _enlarge(self, x):
        size = [int(n) for n in self.random.integers(1, 9, 2)]
        if len(x.shape) != 4 or prod(size) * x.shape[0] * x.shape[3] > MAX_ELEMENTS:
            return
        name, title = [("RESIZE_BILINEAR", "ResizeBilinearOptions"),
                       ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions")][int(self.random.integers(2))]
        corners, half = [(False, False), (True, False), (False, True)][int(self.random.integers(3))]
        self.add(name, 3, [x, Tensor(data=np.array(size, np.int32))],
                 self.tensor((x.shape[0], *size, x.shape[3]), x), title, AlignCorners=corners, HalfPixelCenters=half)

    # Products of two tensors

    def _multiplied(self, a, b, adjoint_a=False, adjoint_b=False) -> Tensor | None:
        rows = a.shape[-1 if adjoint_a else -2]
        columns = b.shape[-2 if adjoint_b else -1]
        depth = a.shape[-2 if adjoint_a else -1]
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        if prod(batch) * rows * columns > MAX_ELEMENTS or prod(batch) * rows * columns * depth > MAX_MACS:
            return None
        y = self._scaled((*batch, rows, columns), float(a.scale[0] * b.scale[0]) * 80 * np.sqrt(depth))
        return self.add("BATCH_MATMUL", 4, [a, b], y, "BatchMatMulOptions", AdjX=adjoint_a, AdjY=adjoint_b)

    def _product(self, x):
        """With itself, turned, or with a constant for each batch or for all."""
        if len(x.shape) < 2:
            return
        kind = int(self.random.integers(3))
        if kind == 2:
            depth = x.shape[-1]
            columns = int(self.random.choice(EXTENTS))
            turned = bool(self.random.integers(2))
            batch = x.shape[:-2] if self.random.random() < 0.6 else ()
            other = self.tensor((*batch, columns, depth) if turned else (*batch, depth, columns))
            other.data = self.values(other)
            self._multiplied(x, other, adjoint_b=turned)
        else:
            self._multiplied(x, x, adjoint_a=kind == 0, adjoint_b=kind == 1)

    def _attend(self, x):
        scores = self._multiplied(x, x, adjoint_b=True) if 2 <= len(x.shape) <= 4 else None
        if scores is not None:
            weights = Tensor(1 / 256, -128, shape=scores.shape)
            self.add("SOFTMAX", 2, [scores], weights, "SoftmaxOptions", Beta=float(self.random.choice([1, 0.5, 0.1])))
            self._multiplied(weights, x)

    # Gates and operands for a row, a column, a pixel or a channel

    def _arithmetic(self, a, b):
        if len(a.shape) > 4 or len(b.shape) > 4:
            return
        name = str(self.random.choice(["ADD", "SUB", "MUL", "MUL"]))
        scale = float(max(a.scale[0], b.scale[0])) if name != "MUL" else float(a.scale[0] * b.scale[0]) * 90
        self.add(name, 2, [a, b], self._scaled(np.broadcast_shapes(a.shape, b.shape), scale),
                 f"{name.title()}Options", FusedActivationFunction=int(self.random.choice([0, 0, 1, 3])))

    def _gate(self, x):
        if len(x.shape) > 4:
            return
        axes = [axis for axis in range(len(x.shape)) if self.random.random() < 0.5]
        shape = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
        squeezed = x
        if axes:
            name = str(self.random.choice(["MEAN", "REDUCE_MAX"]))
            squeezed = self.add(name, 2, [x, Tensor(data=np.array(axes, np.int32))], self.tensor(shape, x),
                                "ReducerOptions", KeepDims=True)
        gate = Tensor(1 / 256, -128, shape=squeezed.shape)
        self.add("LOGISTIC", 2, [squeezed], gate)
        self._arithmetic(*((x, gate) if self.random.random() < 0.5 else (gate, x)))

    def _binary(self, x):
        """With a value of another branch that broadcasts with it."""
        others = [t for t in self.made if len(t.shape) == len(x.shape)
                  and all(m in (1, n) for m, n in zip(t.shape, x.shape, strict=True))]
        self._arithmetic(x, others[int(self.random.integers(len(others)))])

    # Functions, normalizations and means

    def _function(self, x):
        name, version, options, fields = [
            ("GELU", 2, "GeluOptions", {"Approximate": bool(self.random.integers(2))}),
            ("HARD_SWISH", 1, "HardSwishOptions", {}), ("EXP", 2, "ExpOptions", {}), ("ABS", 1, "AbsOptions", {}),
            ("LEAKY_RELU", 2, "LeakyReluOptions", {"Alpha": float(self.random.uniform(-0.5, 1.5))}),
        ][int(self.random.integers(5))]
        self.add(name, version, [x], self._scaled(x.shape, float(x.scale[0])), options, **fields)

    def _slope(self, x):
        if len(x.shape) == 4:
            alpha = self.tensor((1, 1, x.shape[3]))
            alpha.scale[:] = np.float32(self.random.uniform(0.001, 0.02))
            alpha.data = self.values(alpha)
            self.add("PRELU", 1, [x, alpha], self._scaled(x.shape, float(x.scale[0])))

    def _norm(self, x):
        if 1 <= len(x.shape) <= 4:
            self.add("L2_NORMALIZATION", 2, [x], Tensor(1 / 128, 0, shape=x.shape), "L2NormOptions")

    def _distance(self, x):
        """The variance of a layer norm, as converters write it."""
        if not 1 <= len(x.shape) <= 4:
            return
        axis = Tensor(data=np.array([len(x.shape) - 1], np.int32))
        mean = self.tensor((*x.shape[:-1], 1), x)
        self.add("MEAN", 2, [x, axis], mean, "ReducerOptions", KeepDims=True)
        square = self._scaled(x.shape, float(x.scale[0]) ** 2 * 80)
        self.add("SQUARED_DIFFERENCE", 2, [x, mean], square, "SquaredDifferenceOptions")
        self.add("MEAN", 2, [square, axis], self.tensor((*x.shape[:-1], 1), square), "ReducerOptions", KeepDims=True)

    def _mean(self, x):
        if 1 <= len(x.shape) <= 4:
            axis = int(self.random.integers(len(x.shape)))
            shape = [1 if i == axis else n for i, n in enumerate(x.shape)]
            self.add("MEAN", 2, [x, Tensor(data=np.array([axis], np.int32))], self.tensor(shape), "ReducerOptions",
                     KeepDims=True)
