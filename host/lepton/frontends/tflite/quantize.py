"""Float TFLite networks to int8: ranges from calibration data, by Google's AI Edge Quantizer.

It runs the float network in LiteRT, takes the least and largest value of every tensor, and writes a file as TFLite's
specification of 8-bit quantization asks: int8 activations with a scale and zero point, symmetric int8 weights with a
scale for each output channel, int32 biases. Operators that it does not quantize stay float, between DEQUANTIZE and
QUANTIZE, and run on the host.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from types import SimpleNamespace

from lepton.graph import Graph, GraphError

from ..calibration import Calibration, calibration_inputs
from .importer import float_layer, import_tflite
from .plain_float import SIGNATURE, input_name, plain_float, rename_outputs
from .reader import read_tflite
from .tensors import DTYPES, unique_names

Progress = Callable[[int, int | None], None]


def quantize_tflite(source: str | PathLike | bytes, calibration: Calibration, *, signature: str | None = None,
                    progress: Progress | None = None) -> bytes:
    """The file of a float32, float16 or dynamic-range network as one of an int8 network.

    `calibration` is the path of a .npy file (one input) or .npz file (an array for each input, by name), such arrays,
    or an iterable of inputs: arrays, dicts by input name, or tuples in the order of the inputs. A longer first axis
    than the network's counts as several inputs. `progress` is called with the number of inputs done and of all, None
    where that is not known. What `import_tflite` makes of the result equals LiteRT's reference kernels on it byte for
    byte; how close that is to the float network depends on the calibration data.

    Raises GraphError for a malformed file, a network that is int8 already, and calibration data that do not fit;
    OSError where a file cannot be read; ModuleNotFoundError where the extra `tflite-float` is not installed.
    """
    data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else Path(source).read_bytes()
    raw = read_tflite(data, signature)
    if float_layer(raw) is None:
        raise GraphError("the network is quantized already; compile it without calibration data")
    if any(operator.name == "VAR_HANDLE" for operator in raw.operators):
        raise GraphError("a float network with variables cannot be quantized here; convert it with full integer "
                         "quantization, to int8 with int32 biases")
    names = unique_names(raw.tensors)
    unknown = [names[i] for i in raw.inputs if raw.tensors[i].dtype not in DTYPES]
    if unknown:
        raise GraphError(f"the network's input {unknown[0]!r} has a data type that is not supported")
    inputs = {names[i]: (raw.tensors[i].shape, DTYPES[raw.tensors[i].dtype]) for i in raw.inputs}
    tools = _load()
    feeds, _ = calibration_inputs(calibration, inputs)
    taken = [{input_name(position): feed[name] for position, name in enumerate(inputs)} for feed in feeds]
    if not taken:
        raise GraphError("there are no calibration data: at least one input is needed")
    counted = _Counted(taken, progress)
    plain = plain_float(tools.schema, data, signature, names)
    try:
        with _quiet():
            quantizer = tools.quantizer.Quantizer(bytearray(plain), tools.recipe.static_wi8_ai8())
            for edge in (tools.recipe.TFLOperationName.INPUT, tools.recipe.TFLOperationName.OUTPUT):  # stay float32
                quantizer.update_quantization_recipe(".*", edge,
                                                     algorithm_key=tools.recipe.AlgorithmName.NO_QUANTIZE)
            ranges = quantizer.calibrate({SIGNATURE: counted}, num_threads=1)
            made = bytes(quantizer.quantize(ranges, enable_progress_report=False).quantized_model)
    except Exception as error:  # its exceptions have no common base
        text = str(error).strip() or type(error).__name__
        raise GraphError(f"the network cannot be quantized: {text}") from None
    return rename_outputs(tools.schema, made, [names[i] for i in raw.outputs])


class _Counted:
    """Calibration inputs that are counted while the quantizer goes through them; it looks at their number first."""

    def __init__(self, feeds: list[dict], progress: Progress | None) -> None:
        self.feeds = feeds
        self.progress = progress
        self.started = False
        self.stdout = sys.stdout  # for `progress`, while the quantizer is kept quiet

    def __iter__(self) -> Iterator[dict]:
        counts = self.started
        self.started = True
        for done, feed in enumerate(self.feeds, 1):
            yield feed
            if counts and self.progress is not None:
                with contextlib.redirect_stdout(self.stdout):
                    self.progress(done, len(self.feeds))


def load_tflite(path: str | PathLike, calibration: Calibration | None = None,
                progress: Progress | None = None) -> Graph:
    """`import_tflite` for the command line: with `calibration`, a float network is quantized first."""
    if calibration is None:
        return import_tflite(path)
    return import_tflite(quantize_tflite(path, calibration, progress=progress), Path(path).stem)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the log messages of the quantizer and of LiteRT."""
    import logging  # on demand, as reading a file needs none of it

    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), \
                warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().setLevel(level)


def _load() -> SimpleNamespace:
    """The quantizer's modules. Raises ModuleNotFoundError with the remedy where the extra is not installed."""
    try:
        with _quiet():
            from ai_edge_litert import schema_py_generated as schema
            from ai_edge_quantizer import quantizer, recipe
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"float TFLite networks need the package {error.name!r}, which is not installed: "
            "pip install 'lepton-chip[tflite-float]'", name=error.name) from error
    return SimpleNamespace(schema=schema, quantizer=quantizer, recipe=recipe)
