"""Graphs of the CMSIS-NN test vectors (../shared/data/cmsis_nn): one operator, its inputs and expected output each.

The vectors come from TFLite Micro's reference kernels. They state multipliers and shifts rather than scales, so the
graphs get the scales that belong to them. The compiler rounds these to float32, as files hold scales, so the last bits
of a multiplier may differ from the stated ones; the expected outputs must come out all the same.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lepton.graph import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MatMul,
    Maximum,
    MaxPool2D,
    Minimum,
    Mul,
    Node,
    Pad,
    Quantization,
    Softmax,
    Tensor,
    Transpose,
    TransposeConv2D,
)

FOLDER = Path(__file__).parents[3] / "shared/data/cmsis_nn"

# What the operator list does not cover, or the file does not tell.
NOT_COVERED = {
    "transpose_": "the file states neither shape nor order",
    "ds_cnn_": "a whole network; ../shared/data/kws has the same one with its graph",
}


@dataclass
class Case:
    graph: Graph
    inputs: list[np.ndarray]
    expected: np.ndarray


class _Builder:
    def __init__(self, name: str, data, config: dict):
        self.data = data
        self.config = config
        self.graph = Graph(name)
        self.inputs = []

    def quantization(self, scale=1.0, zero=0, axis=None) -> Quantization:
        scale = np.atleast_1d(np.asarray(scale, np.float64))
        return Quantization(scale, np.full(scale.shape, zero, np.int32), axis)

    def input(self, name: str, shape, offset: int, scale=1.0) -> str:
        self.inputs.append(self.data[name].reshape(shape))
        self.graph.tensors[name] = Tensor(name, tuple(shape), np.dtype(np.int8), self.quantization(scale, -offset))
        self.graph.inputs.append(name)
        return name

    def constant(self, name: str, shape, q: Quantization) -> str:
        data = self.data[name].reshape(shape)
        self.graph.tensors[name] = Tensor(name, data.shape, data.dtype, q, data)
        return name

    def turned(self, name: str) -> str:
        x = self.graph.tensors[name]
        output = f"{name}_turned"
        self.graph.tensors[output] = Tensor(output, (*x.shape[:2], x.shape[3], x.shape[2]), x.dtype, x.quantization)
        self.graph.nodes.append(Node(Transpose((0, 1, 3, 2)), [name], [output], output))
        return output

    def bias(self, name: str, count: int) -> str:
        if name not in self.data.files or not self.data[name].size:
            return ""
        return self.constant(name, (count,), self.quantization())

    def done(self, op, inputs, shape, offset: int, expected: str, scale=1.0) -> Case:
        self.graph.tensors["y"] = Tensor("y", tuple(shape), np.dtype(np.int8), self.quantization(scale, offset))
        self.graph.nodes.append(Node(op, inputs, ["y"], self.graph.name))
        self.graph.outputs = ["y"]
        return Case(self.graph, self.inputs, self.data[expected].reshape(shape))

    @property
    def clamp(self) -> tuple[int, int]:
        c = self.config
        keys = ("OUT_ACTIVATION_MIN", "OUT_ACTIVATION_MAX") if "OUT_ACTIVATION_MIN" in c else (
            "ACTIVATION_MIN", "ACTIVATION_MAX")
        return c[keys[0]], c[keys[1]]


def _scale(multiplier, shift):
    return np.asarray(multiplier, np.float64) * 2.0 ** (np.asarray(shift, np.float64) - 31)


def _pads(c, filters=("FILTER_Y", "FILTER_X")):
    found = []
    for axis, key in (("Y", filters[0]), ("X", filters[1])):
        side = {"Y": "H", "X": "W"}[axis]
        span = (c[key] - 1) * c[f"DILATION_{axis}"] + 1
        before = c[f"PAD_{axis}"]
        after = (c[f"OUTPUT_{side}"] - 1) * c[f"STRIDE_{axis}"] + span - c[f"INPUT_{side}"] - before
        found.append((before, max(after, 0)))
    return tuple(found)


def _convolution(b: _Builder) -> Case:
    c = b.config
    d = b.data
    outputs = c["OUT_CH"]
    channels = c["IN_CH"]
    x = b.input("input", (c["INPUT_BATCHES"], c["INPUT_H"], c["INPUT_W"], channels), c["INPUT_OFFSET"])
    shape = (c["INPUT_BATCHES"], c["OUTPUT_H"], c["OUTPUT_W"], outputs)
    scale = _scale(d["output_mult"], d["output_shift"])
    kernel = (c["FILTER_Y"], c["FILTER_X"])
    window = ((c["STRIDE_Y"], c["STRIDE_X"]), (c["DILATION_Y"], c["DILATION_X"]))
    if "PAD_X_WITH_OFFSET" in c:
        weights = b.constant("weights", (outputs, *kernel, channels), b.quantization(scale, axis=0))
        op = TransposeConv2D(shape[1:3], window[0], ((c["PAD_Y"], c["PAD_Y"]), (c["PAD_X"], c["PAD_X"])), b.clamp)
    elif "CH_MULT" in c:
        weights = b.constant("weights", (1, *kernel, outputs), b.quantization(scale, axis=3))
        op = DepthwiseConv2D(*window, _pads(c), c["CH_MULT"], b.clamp)
    else:
        per_group = d["weights"].size // (outputs * kernel[0] * kernel[1])
        weights = b.constant("weights", (outputs, *kernel, per_group), b.quantization(scale, axis=0))
        op = Conv2D(*window, _pads(c), channels // per_group, b.clamp)
    return b.done(op, [x, weights, b.bias("biases", outputs)], shape, c["OUTPUT_OFFSET"], "output_ref")


def _fully_connected(b: _Builder) -> Case:
    c = b.config
    d = b.data
    rows = c["INPUT_BATCHES"]
    depth = c["ACCUMULATION_DEPTH"]
    outputs = d["weights"].size // depth
    x = b.input("input", (rows, depth), c["INPUT_OFFSET"])
    if "OUTPUT_MULTIPLIER" in c:
        q = b.quantization(_scale(c["OUTPUT_MULTIPLIER"], c["OUTPUT_SHIFT"]), -c.get("FILTER_OFFSET", 0))
    else:
        q = b.quantization(_scale(d["output_multiplier"], d["output_shift"]), axis=0)
    weights = b.constant("weights", (outputs, depth), q)
    bias = b.bias("biases" if "biases" in d.files else "bias", outputs)
    return b.done(FullyConnected(b.clamp), [x, weights, bias], (rows, outputs), c["OUTPUT_OFFSET"],
                  "output_ref" if "output_ref" in d.files else "output")


def _pool(b: _Builder) -> Case:
    c = b.config
    x = b.input("input_tensor", (c["BATCH_SIZE"], c["INPUT_H"], c["INPUT_W"], c["INPUT_C"]), 0)
    pads = []
    for side in "HW":
        after = (c[f"OUTPUT_{side}"] - 1) * c[f"STRIDE_{side}"] + c[f"FILTER_{side}"] - c[f"INPUT_{side}"]
        pads.append((c[f"PADDING_{side}"], max(after - c[f"PADDING_{side}"], 0)))
    kind = MaxPool2D if b.graph.name.startswith("max") else AveragePool2D
    op = kind((c["FILTER_H"], c["FILTER_W"]), (c["STRIDE_H"], c["STRIDE_W"]), tuple(pads), b.clamp)
    return b.done(op, [x], (c["BATCH_SIZE"], c["OUTPUT_H"], c["OUTPUT_W"], c["OUTPUT_C"]), 0, "output")


def _extremum(b: _Builder) -> Case:
    c = b.config
    names = [b.input(f"input_tensor_{i}", [c[f"{axis}_{i}"] for axis in ("BATCH", "HEIGHT", "WIDTH", "CHANNEL")], 0)
             for i in (1, 2)]
    shape = [c[f"OUTPUT_{axis}"] for axis in ("BATCH", "HEIGHT", "WIDTH", "CHANNEL")]
    return b.done(Maximum() if c["LAYER_TYPE"] == "maximum" else Minimum(), names, shape, 0, "output")


def _sum_or_product(b: _Builder) -> Case:
    c = b.config
    names = [b.input(f"input{i}", (c["DST_SIZE"],), c[f"INPUT{i}_OFFSET"]) for i in (1, 2)]
    if "LEFT_SHIFT" in c:  # twice the largest scale, and the result of that
        assert (c["LEFT_SHIFT"], c["INPUT1_MULT"], c["INPUT2_MULT"], c["INPUT1_SHIFT"]) == (20, 1 << 30, 1 << 30, 0)
        op = Add(b.clamp)
        scale = 2 / 2**20 / _scale(c["OUTPUT_MULT"], c["OUTPUT_SHIFT"])
    else:
        op = Mul(b.clamp)
        scale = 1 / _scale(c["OUTPUT_MULT"], c["OUTPUT_SHIFT"])
    return b.done(op, names, (c["DST_SIZE"],), c["OUTPUT_OFFSET"], "output_ref", float(scale))


def _matrix_product(b: _Builder) -> Case:
    c = b.config
    lhs = [c[f"LHS_{n}"] for n in ("BATCH", "HEIGHT", "ROWS", "COLS")]
    rhs = [c[f"RHS_{n}"] for n in ("BATCH", "HEIGHT", "ROWS", "COLS")]
    scale = _scale(c["OUTPUT_MULTIPLIER"], c["OUTPUT_SHIFT"])
    names = [b.input("lhs_input_tensor", lhs, c["LHS_OFFSET"], scale),
             b.input("rhs_input_tensor", rhs, c["RHS_OFFSET"])]
    names = [b.turned(name) if c[adjoint] else name for name, adjoint in zip(names, ("ADJ_X", "ADJ_Y"), strict=True)]
    shape = [c[f"OUTPUT_{n}"] for n in ("BATCH", "HEIGHT", "ROWS", "COLS")]
    return b.done(MatMul(b.clamp), names, shape, c["OUTPUT_OFFSET"], "output")


def _pad(b: _Builder) -> Case:
    c = b.config
    shape = [c[f"INPUT_{a}"] for a in "NHWC"]
    widths = tuple((c[f"PRE_PAD_{a}"], c[f"POST_PAD_{a}"]) for a in "NHWC")
    made = [n + sum(w) for n, w in zip(shape, widths, strict=True)]
    return b.done(Pad(widths, c["PAD_VALUE"]), [b.input("input_tensor", shape, 0)], made, 0, "output")


def _softmax(b: _Builder) -> Case:
    c = b.config
    scale = float(_scale(c["INPUT_MULT"], c["INPUT_LEFT_SHIFT"]) / 2**26)  # of Q5.26
    x = b.input("input", (c["NUM_ROWS"], c["ROW_SIZE"]), 0, scale)
    return b.done(Softmax(), [x], (c["NUM_ROWS"], c["ROW_SIZE"]), -128, "output_ref", 1 / 256)


def files() -> list[Path]:
    return sorted(FOLDER.glob("*.npz"))


def covered(path: Path) -> bool:
    if path.name.startswith("transpose_conv"):
        return True
    return not any(path.name.startswith(prefix) for prefix in NOT_COVERED)


def load(path: Path) -> Case:
    """The case in a file; raises KeyError for one that `covered` says is not."""
    data = np.load(path, allow_pickle=False)
    raw = data["config"]
    config = json.loads(str(raw) if raw.dtype.kind == "U" else bytes(raw).decode())
    b = _Builder(path.stem, data, config)
    name = path.stem
    prefixes = {"max": _extremum, "min": _extremum, "batch_matmul": _matrix_product, "pad": _pad, "softmax": _softmax,
                "add": _sum_or_product, "mul": _sum_or_product, "fc": _fully_connected,
                "fully": _fully_connected, "avgpooling": _pool, "maxpooling": _pool}
    build = next((prefixes[p] for p in sorted(prefixes, key=len, reverse=True) if name.startswith(p)), _convolution)
    return build(b)
