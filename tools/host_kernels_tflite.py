"""Networks of one TFLite operator each, for `host_kernels.py`: on a small and on a large operand."""

from collections.abc import Callable

import numpy as np

from tests.litert_models import Tensor, build

Shape = tuple[int, ...]
Model = Callable[[], bytes]

SMALL = (1, 8, 8, 16)
LARGE = (1, 112, 112, 64)
CHANNEL_SCALE = 0.07
PROBABILITY = {"scale": 1 / 256, "zero": -128}  # the output of int8 SOFTMAX and LOGISTIC
COMPARISONS = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
FLOAT_FUNCTIONS = {"ABS": "AbsOptions", "NEG": "NegOptions", "SQRT": "", "RSQRT": "", "EXP": "ExpOptions", "LOG": "",
                   "LOGISTIC": "", "TANH": "", "FLOOR": "", "SIN": "", "COS": "CosOptions", "RELU": "",
                   "SQUARE": "SquareOptions"}


def q(*shape: int, scale: float = 0.05, zero: int = 3, dtype: type = np.int8) -> Tensor:
    return Tensor(scale, zero, shape=shape, dtype=dtype)


def f(*shape: int, dtype: type = np.float32) -> Tensor:
    return Tensor(shape=shape, dtype=dtype)


def constant(values: object, dtype: type = np.int32) -> Tensor:
    return Tensor(data=np.array(values, dtype))


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def int8_constant(*shape: int, scale: float = 0.05, axis: int = 0, scales: int = 1, zero: int = 0) -> Tensor:
    values = np.random.default_rng(1).integers(-127, 128, shape).astype(np.int8)
    return Tensor(scale if scales == 1 else np.full(scales, scale), zero, data=values, axis=axis)


def bias(outputs: int) -> Tensor:
    return Tensor(np.full(outputs, 0.05 * 0.02), 0, data=np.arange(outputs, dtype=np.int32) * 7 - 100)


def elementwise(shape: Shape) -> dict[str, Model]:
    x = q(*shape)
    y = q(*shape, scale=0.1)
    other = q(*shape, scale=CHANNEL_SCALE)
    channel = (1, 1, 1, shape[-1])

    def two(name: str, b: Tensor = other, made: Tensor = y, options: str = "") -> Model:
        return lambda: build(name, [x, b], made, 2, options or f"{camel(name)}Options")

    def reals(name: str, dtype: type = np.float32, options: str = "") -> Model:
        return lambda: build(name, [f(*shape, dtype=dtype), f(*shape, dtype=dtype)], f(*shape, dtype=dtype), 1,
                             options or f"{camel(name)}Options")

    truth = f(*shape, dtype=np.bool_)
    rows: dict[str, Model] = {
        "ADD": two("ADD"), "ADD of a channel": two("ADD", q(*channel, scale=CHANNEL_SCALE)), "SUB": two("SUB"),
        "MUL": two("MUL", made=q(*shape, scale=0.2)),
        "MUL of a channel": two("MUL", q(*channel, scale=CHANNEL_SCALE), q(*shape, scale=0.2)),
        "SQUARED_DIFFERENCE": two("SQUARED_DIFFERENCE", made=q(*shape, scale=0.3)),
        "DIV float32": reals("DIV"),
        "PRELU": lambda: build("PRELU", [x, int8_constant(1, 1, shape[-1])], q(*shape), 1),
        "MAXIMUM": lambda: build("MAXIMUM", [x, q(*shape)], q(*shape), 2, "MaximumMinimumOptions"),
        "MINIMUM": lambda: build("MINIMUM", [x, q(*shape)], q(*shape), 2, "MaximumMinimumOptions"),
        "LOGICAL_AND": lambda: build("LOGICAL_AND", [truth, f(*shape, dtype=np.bool_)], f(*shape, dtype=np.bool_), 1,
                                     "LogicalAndOptions"),
        "SELECT_V2": lambda: build("SELECT_V2", [truth, x, q(*shape)], q(*shape), 1, "SelectV2Options"),
        "FLOOR_DIV float32": reals("FLOOR_DIV"), "FLOOR_MOD float32": reals("FLOOR_MOD"), "POW float32": reals("POW"),
        "ADD float32": reals("ADD"), "MUL float32": reals("MUL"), "SUB float32": reals("SUB"),
        "FLOOR_DIV int32": reals("FLOOR_DIV", np.int32), "FLOOR_MOD int32": reals("FLOOR_MOD", np.int32),
        "DIV int32": reals("DIV", np.int32),
        "CAST": lambda: build("CAST", [f(*shape, dtype=np.int32)], f(*shape), 1, "CastOptions"),
        "QUANTIZE": lambda: build("QUANTIZE", [f(*shape)], q(*shape), 1, "QuantizeOptions"),
        "QUANTIZE to another scale": lambda: build("QUANTIZE", [x], q(*shape, scale=0.08), 1, "QuantizeOptions"),
        "QUANTIZE of uint8": lambda: build("QUANTIZE", [q(*shape, zero=131, dtype=np.uint8)], q(*shape), 1,
                                           "QuantizeOptions"),
        "DEQUANTIZE": lambda: build("DEQUANTIZE", [x], f(*shape), 2, "DequantizeOptions"),
        "LOGISTIC": lambda: build("LOGISTIC", [x], q(*shape, **PROBABILITY), 2),
        "LEAKY_RELU": lambda: build("LEAKY_RELU", [x], q(*shape), 2, "LeakyReluOptions", Alpha=0.1),
        "HARD_SWISH": lambda: build("HARD_SWISH", [x], q(*shape), 1, "HardSwishOptions"),
    }
    for name in COMPARISONS:
        rows[name] = lambda name=name: build(name, [x, other], f(*shape, dtype=np.bool_), 2, f"{camel(name)}Options")
    rows["LESS float32"] = lambda: build("LESS", [f(*shape), f(*shape)], f(*shape, dtype=np.bool_), 1, "LessOptions")
    for name, options in FLOAT_FUNCTIONS.items():
        rows[f"{name} float32"] = lambda name=name, options=options: build(name, [f(*shape)], f(*shape), 1, options)
    return rows


def moves(shape: Shape) -> dict[str, Model]:
    n, h, w, c = shape
    half = constant([h // 2, w // 2])
    double = constant([2 * h, 2 * w])
    x = q(*shape)
    same = q(*shape)
    spots = np.random.default_rng(2).integers(0, h, (h, 1)).astype(np.int32)  # places along the height

    def resize(kind: str, target: Tensor, made: Shape, **options: bool) -> Model:
        return lambda: build(f"RESIZE_{kind}", [x, target], q(*made), 2, f"Resize{camel(kind)}Options", **options)

    up = (n, 2 * h, 2 * w, c)
    down = (n, h // 2, w // 2, c)
    return {
        "RESHAPE": lambda: build("RESHAPE", [x, constant([n, h * w, c])], q(n, h * w, c), 1, "ReshapeOptions"),
        "TRANSPOSE": lambda: build("TRANSPOSE", [x, constant([0, 3, 1, 2])], q(n, c, h, w), 2, "TransposeOptions"),
        "CONCATENATION": lambda: build("CONCATENATION", [x, q(*shape)], q(n, h, w, 2 * c), 2, "ConcatenationOptions",
                                       Axis=3),
        "STRIDED_SLICE": lambda: build("STRIDED_SLICE", [x, constant([0, 0, 0, 0]), constant([n, h, w, c]),
                                                         constant([1, 2, 2, 1])], q(*down), 2, "StridedSliceOptions"),
        "SLICE": lambda: build("SLICE", [x, constant([0, 1, 1, 0]), constant([n, h - 2, w - 2, c])],
                               q(n, h - 2, w - 2, c), 2, "SliceOptions"),
        "PAD": lambda: build("PAD", [x, constant([[0, 0], [1, 1], [1, 1], [0, 0]])], q(n, h + 2, w + 2, c), 2,
                             "PadOptions"),
        "MIRROR_PAD": lambda: build("MIRROR_PAD", [x, constant([[0, 0], [1, 1], [1, 1], [0, 0]])],
                                    q(n, h + 2, w + 2, c), 2, "MirrorPadOptions"),
        "GATHER": lambda: build("GATHER", [x, constant(spots[:, 0])], same, 2, "GatherOptions", Axis=1),
        "GATHER_ND": lambda: build("GATHER_ND", [q(h, w, c), constant(spots)], q(h, w, c), 1, "GatherNdOptions"),
        "ONE_HOT": lambda: build("ONE_HOT", [f(h, w, dtype=np.int32), constant(c), constant(1, np.float32),
                                             constant(0, np.float32)], f(h, w, c), 1, "OneHotOptions", Axis=-1),
        "RESIZE_BILINEAR up": resize("BILINEAR", double, up, HalfPixelCenters=True),
        "RESIZE_BILINEAR down": resize("BILINEAR", half, down),
        "RESIZE_BILINEAR corners": resize("BILINEAR", double, up, AlignCorners=True),
        "RESIZE_NEAREST_NEIGHBOR up": resize("NEAREST_NEIGHBOR", double, up),
        "RESIZE_BILINEAR float32": lambda: build("RESIZE_BILINEAR", [f(*shape), double], f(*up), 2,
                                                 "ResizeBilinearOptions", HalfPixelCenters=True),
    }


def reductions(shape: Shape) -> dict[str, Model]:
    n, h, w, c = shape
    x = q(*shape)
    axes = constant([1, 2])
    pool = {"Padding": 1, "StrideW": 2, "StrideH": 2, "FilterWidth": 3, "FilterHeight": 3}
    pooled = (n, (h - 3) // 2 + 1, (w - 3) // 2 + 1, c)

    def reduced(name: str, made: Tensor, source: Tensor = x, along: Tensor = axes) -> Model:
        return lambda: build(name, [source, along], made, 2, "ReducerOptions", KeepDims=True)

    def softmax(*rows: int) -> Model:
        return lambda: build("SOFTMAX", [q(*rows)], q(*rows, **PROBABILITY), 2, "SoftmaxOptions", Beta=1.0)

    return {
        "SOFTMAX of one row": softmax(1, 1000 if h > 8 else 10), "SOFTMAX of rows": softmax(h * w, 91 if h > 8 else 10),
        "SOFTMAX float32": lambda: build("SOFTMAX", [f(h * w, c)], f(h * w, c), 1, "SoftmaxOptions", Beta=1.0),
        "LOG_SOFTMAX": lambda: build("LOG_SOFTMAX", [q(h * w, c)], q(h * w, c, scale=1 / 16, zero=127), 2,
                                     "LogSoftmaxOptions"),
        "LOG_SOFTMAX float32": lambda: build("LOG_SOFTMAX", [f(h * w, c)], f(h * w, c), 1, "LogSoftmaxOptions"),
        "L2_NORMALIZATION": lambda: build("L2_NORMALIZATION", [q(h * w, c)], q(h * w, c, scale=1 / 128, zero=0), 2,
                                          "L2NormOptions"),
        "L2_NORMALIZATION float32": lambda: build("L2_NORMALIZATION", [f(h * w, c)], f(h * w, c), 1, "L2NormOptions"),
        "MEAN": reduced("MEAN", q(n, 1, 1, c)), "MEAN of channels": reduced("MEAN", q(n, h, w, 1),
                                                                            along=constant([3])),
        "MEAN float32": reduced("MEAN", f(n, 1, 1, c), f(*shape)),
        "SUM": reduced("SUM", q(n, 1, 1, c, scale=9)), "REDUCE_MAX": reduced("REDUCE_MAX", q(n, 1, 1, c)),
        "SUM float32": reduced("SUM", f(n, 1, 1, c), f(*shape)),
        "REDUCE_MAX of channels": reduced("REDUCE_MAX", q(n, h, w, 1), along=constant([3])),
        "ARG_MAX": lambda: build("ARG_MAX", [x, constant(3)], f(n, h, w, dtype=np.int64), 2, "ArgMaxOptions",
                                 OutputType=4),
        "TOPK_V2": lambda: build("TOPK_V2", [q(h * w, c), constant(5)], [q(h * w, 5), f(h * w, 5, dtype=np.int32)], 2,
                                 "TopKV2Options"),
        "CUMSUM float32": lambda: build("CUMSUM", [f(h * w, c), constant(1)], f(h * w, c), 1, "CumsumOptions"),
        "MAX_POOL_2D": lambda: build("MAX_POOL_2D", [x], q(*pooled), 2, "Pool2DOptions", **pool),
        "AVERAGE_POOL_2D": lambda: build("AVERAGE_POOL_2D", [x], q(*pooled), 2, "Pool2DOptions", **pool),
        "MAX_POOL_2D float32": lambda: build("MAX_POOL_2D", [f(*shape)], f(*pooled), 1, "Pool2DOptions", **pool),
        "AVERAGE_POOL_2D float32": lambda: build("AVERAGE_POOL_2D", [f(*shape)], f(*pooled), 1, "Pool2DOptions",
                                                 **pool),
    }


def layers(shape: Shape) -> dict[str, Model]:
    n, h, w, c = shape
    h, w = (h, w) if h <= 8 else (h // 4, w // 4)
    x = q(n, h, w, c)
    window = {"Padding": 0, "StrideH": 1, "StrideW": 1}
    dilation = {"DilationHFactor": 1, "DilationWFactor": 1}
    left = q(4, h, c)
    right = q(4, c, h)

    def made() -> Tensor:
        return q(n, h, w, c, scale=2.0)

    def convolution(kernel: int) -> Model:
        return lambda: build("CONV_2D", [x, int8_constant(c, kernel, kernel, c, scale=0.02, scales=c), bias(c)],
                             made(), 3, "Conv2DOptions", **window, **dilation)

    def connected(rows: int, inputs: int) -> Model:
        return lambda: build("FULLY_CONNECTED", [q(rows, inputs), int8_constant(c, inputs, scale=0.02),
                                                 Tensor(0.05 * 0.02, 0, data=np.arange(c, dtype=np.int32))],
                             q(rows, c, scale=2.0), 4, "FullyConnectedOptions")

    return {
        "CONV_2D 1x1": convolution(1), "CONV_2D 3x3": convolution(3),
        "DEPTHWISE_CONV_2D": lambda: build("DEPTHWISE_CONV_2D",
                                           [x, int8_constant(1, 3, 3, c, scale=0.02, axis=3, scales=c), bias(c)],
                                           made(), 3, "DepthwiseConv2DOptions", **window, **dilation,
                                           DepthMultiplier=1),
        "TRANSPOSE_CONV": lambda: build("TRANSPOSE_CONV", [constant([n, 2 * h, 2 * w, c]),
                                                           int8_constant(c, 3, 3, c, scale=0.02, scales=c), x, bias(c)],
                                        q(n, 2 * h, 2 * w, c, scale=2.0), 3, "TransposeConvOptions", Padding=0,
                                        StrideH=2, StrideW=2),
        "FULLY_CONNECTED": connected(1, h * w * c // 4), "FULLY_CONNECTED of rows": connected(h * w, c),
        "BATCH_MATMUL": lambda: build("BATCH_MATMUL", [left, right], q(4, h, h, scale=0.4), 2, "BatchMatMulOptions"),
        "BATCH_MATMUL float32": lambda: build("BATCH_MATMUL", [f(4, h, c), f(4, c, h)], f(4, h, h), 1,
                                              "BatchMatMulOptions"),
    }


def detections(large: bool) -> dict[str, Model]:
    from tests.host.frontends.tflite.test_tflite_detection import detector
    boxes = 1917 if large else 40
    return {"DETECTION_POSTPROCESS": lambda: detector(boxes, 20, 1, max_detections=10, max_classes_per_detection=1,
                                                      use_regular_nms=False, detections_per_class=15)[0]}


def rows(large: bool) -> dict[str, Model]:
    shape = LARGE if large else SMALL
    return elementwise(shape) | moves(shape) | reductions(shape) | layers(shape) | detections(large)
