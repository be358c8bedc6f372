"""Float ONNX networks to int8: ranges from calibration data, by ONNX Runtime's own quantizer."""

import contextlib
import io
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from lepton.graph import GraphError

from ..calibration import Calibration, calibration_inputs
from .node import attributes
from .reader import Shapes, Source, read_model
from .runtime import prepare
from .simplify import check_constants, plain_layers
from .worker import constants

METHODS = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile,
           "entropy": CalibrationMethod.Entropy}
PER_CHANNEL_OPSET = 13  # since which DequantizeLinear has an axis (ONNX's changelog of operators)
MOVEMENTS = {"Concat", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather"}
Progress = Callable[[int, int | None], None]


def quantize_onnx(source: Source, calibration: Calibration, *, method: str = "minmax", percentile: float = 99.99,
                  shapes: Shapes | None = None, progress: Progress | None = None) -> onnx.ModelProto:
    """A float network as a QDQ network: 8-bit activations, int8 weights with a scale for each output channel.

    Activations are uint8, which is what ONNX Runtime's x86 kernels take, so that it computes all layers with integers.

    `calibration` is the path of a .npy file (one input) or .npz file (an array for each input, by name), such arrays,
    or an iterable of inputs: arrays, dicts by input name, or tuples whose first items are the inputs (as data loaders
    give them, with labels behind). A longer first axis than the network's counts as several inputs. `method` says how
    ranges follow from the values seen: "minmax", "percentile" or "entropy". `progress` is called with the number of
    inputs done and of all, None where that is not known.

    Raises GraphError for a malformed network and for calibration data that do not fit it or are not finite.
    """
    if method not in METHODS:
        raise GraphError(f"the calibration method must be one of {', '.join(METHODS)}, not {method!r}")
    if not 50 < percentile <= 100:
        raise GraphError(f"the percentile must be above 50 and at most 100, not {percentile}")
    model, _ = read_model(source, shapes)
    if any(node.op_type in ("QuantizeLinear", "QLinearConv", "QLinearMatMul") for node in model.graph.node):
        raise GraphError("the network is quantized already; compile it without calibration data")
    for tensor in constants(model.graph):
        if tensor.data_type == onnx.TensorProto.FLOAT and np.isnan(onnx.numpy_helper.to_array(tensor)).any():
            raise GraphError(f"the constant {tensor.name!r} holds values that are not numbers")
    prepare(model)  # raises GraphError where ONNX Runtime refuses the network
    reader = _SampleReader(model, calibration, progress)
    model, per_channel = _per_channel(model)
    extra = {"ActivationSymmetric": False, "WeightSymmetric": True, "CalibPercentile": percentile}
    with tempfile.TemporaryDirectory(prefix="lepton") as folder:
        plain, prepared, quantized = (Path(folder, f"{name}.onnx") for name in ("plain", "prepared", "quantized"))
        onnx.save(model, plain)
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)  # advice on its own command line
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
                quant_pre_process(plain, prepared, skip_symbolic_shape=True)
                ready = onnx.load(prepared)
                plain_layers(ready.graph)
                left = _last_movements(ready.graph) + check_constants(ready.graph)
                onnx.save(ready, prepared)
                quantize_static(prepared, quantized, reader, quant_format=QuantFormat.QDQ, per_channel=per_channel,
                                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                                calibrate_method=METHODS[method], nodes_to_exclude=left,
                                extra_options=extra)
        except GraphError:
            raise
        except Exception as error:  # its exceptions have no common base
            if not reader.done:
                raise GraphError("there are no calibration data: at least one input is needed") from None
            raise GraphError(f"the network cannot be quantized: {str(error).strip() or type(error).__name__}") from None
        finally:
            logging.getLogger().setLevel(level)
        return onnx.load(quantized)


def _per_channel(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    """The model in an opset that knows scales for channels, and whether there is one."""
    version = max(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
    if any(node.op_type == "ConvTranspose" and attributes(node).get("group", 1) > 1 for node in model.graph.node):
        return model, False  # whose output channels are no axis of the weights
    if version >= PER_CHANNEL_OPSET:
        return model, True
    try:
        return onnx.version_converter.convert_version(model, PER_CHANNEL_OPSET), True
    except RuntimeError:  # an operator that the converter does not know
        return model, False


def _last_movements(graph: onnx.GraphProto) -> list[str]:
    """Names of the operators at the outputs that only join and move values.

    They stay float, so that each of the values joined keeps a scale of its own: in the scale of a detector's
    coordinates its probabilities would all be rounded to 0.
    """
    readers: dict[str, set[str]] = {value.name: set() for value in graph.output}
    left: set[str] = set()
    for node in reversed(graph.node):
        outside = {reader for name in node.output for reader in readers.get(name, ())} - left
        at_end = any(name in readers for name in node.output) and not outside
        if node.op_type in MOVEMENTS and at_end and node.name:
            left.add(node.name)
        for name in node.input:
            readers.setdefault(name, set()).add(node.name)
    return sorted(left)


class _SampleReader(CalibrationDataReader):
    """Hands one input after the other to the calibrator."""

    def __init__(self, model: onnx.ModelProto, calibration: Calibration, progress: Progress | None) -> None:
        inputs = {value.name: (tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim),
                               onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
                  for value in model.graph.input}
        self.feeds, self.total = calibration_inputs(calibration, inputs)
        self.progress = progress
        self.done = 0
        self.stdout = sys.stdout  # for `progress`, while the quantizer is kept quiet

    def get_next(self) -> dict[str, np.ndarray] | None:
        feeds = next(self.feeds, None)
        if feeds is not None:
            self.done += 1
            if self.progress is not None:
                with contextlib.redirect_stdout(self.stdout):
                    self.progress(self.done, self.total)
        return feeds
