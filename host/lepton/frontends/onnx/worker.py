"""The C++ libraries that read a model from an untrusted source: ONNX's shape inference and ONNX Runtime's optimizer.

Both abort the process on some malformed models, and could be made to compute for very long or to take all memory. So
this file runs as a process of its own (`isolated`), with limits, and imports nothing from Lepton. Requests come on
standard input, answers go to standard output. Each is a length of 8 bytes and as many bytes of content; an answer's
content is b"+" and the model, or b"-" and the reason why there is none.
"""

import contextlib
import os
import re
import resource
import struct
import sys
import tempfile
from math import prod
from pathlib import Path

import onnx
import onnxruntime

MEMORY = 16 << 30  # bytes of address space: eight copies of the largest model, as protobuf allows 2 GiB for a file
LARGEST_TENSOR = 1 << 28  # elements: 1 GiB of float32; more would exhaust the memory of the machine that compiles
MOST_DIMENSIONS = 8  # window attention, the deepest reshape in use, has 6
LENGTH = struct.Struct("<Q")
# The doc_string of a Resize that ONNX Runtime runs with channels last: with an integer kernel
# (onnxruntime/core/providers/cpu/tensor/upsample.h, NhwcUpsampleBilinearInteger).
CHANNELS_LAST = "channels last"
# Fusions of float operators that change no number, and whose parts are easier to take one by one.
KEPT_APART = ["ConvActivationFusion", "ConvAddActivationFusion", "GemmActivationFusion", "MatMulScaleFusion",
              "MatmulTransposeFusion", "TransposeOptimizer"]


LONGEST = 300  # characters of a library's error; longer ones repeat names that the model makes up
# "[ONNXRuntimeError] : 1 : FAIL : ", and "/onnxruntime_src/.../graph.cc:1471 onnxruntime::Graph::Graph(...) "
_STATUS = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |Exception during initialization: ")
_OF_SOURCE = re.compile(r"\S+\.(?:cc|h):\d+ (?:[\w:<>~&*,\[\] ]*?\w\((?:[^()]|\([^()]*\))*\)(?: const)?|[\w:]+) ")


class Refused(ValueError):
    """The model cannot be used; the text says why."""


def session_options(level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4  # fatal: errors come as exceptions
    options.intra_op_num_threads = 1  # results do not depend on the number of cores
    options.inter_op_num_threads = 1
    return options


def constants(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Initializers, and tensors in attributes."""
    return [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]


def prepare(data: bytes) -> bytes:
    """The model as ONNX Runtime's default options run it on a CPU, less the layouts it chooses for the machine."""
    _check_sizes(onnx.load_model_from_string(data))
    prepared = _optimized(data, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    model = onnx.load_model_from_string(prepared)
    interpolating = [node for node in model.graph.node if node.op_type == "Resize" and node.output and any(
        a.name == "mode" and a.s == b"linear" for a in node.attribute)]
    if not interpolating:
        return prepared
    with_layouts = onnx.load_model_from_string(_optimized(data, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL))
    # Where the layout was changed, other constants hold the sizes or scales.
    kept = {(node.name, *node.input[1:]) for node in with_layouts.graph.node if node.op_type == "Resize"}
    for node in interpolating:
        node.doc_string = "" if (node.name, *node.input[1:]) in kept else CHANNELS_LAST
    return model.SerializeToString()


def _optimized(data: bytes, level: onnxruntime.GraphOptimizationLevel) -> bytes:
    options = session_options(level)
    with tempfile.TemporaryDirectory(prefix="lepton") as folder:
        path = Path(folder, "optimized.onnx")
        options.optimized_model_filepath = str(path)
        try:
            with contextlib.redirect_stdout(None):  # it reports some errors there
                onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"],
                                             disabled_optimizers=KEPT_APART)
            return path.read_bytes()
        except Exception as error:  # its exceptions have no common base
            raise Refused(f"ONNX Runtime cannot load the model: {plain(str(error)) or type(error).__name__}") from None


def plain(text: str) -> str:
    """The first line of ONNX Runtime's error, at most `LONGEST` characters, less what only its authors need: its
    status, and the places in its source code."""
    lines = text.strip().splitlines()
    first = _OF_SOURCE.sub("", _STATUS.sub("", lines[0] if lines else "")).strip()
    return first if len(first) <= LONGEST else f"{first[:LONGEST]}..."


def _check_sizes(model: onnx.ModelProto) -> None:
    """Refuses broken constants, and tensors that the model's own operators would make huge."""
    try:
        for tensor in constants(model.graph):
            onnx.checker.check_tensor(tensor)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:
        raise Refused(f"the model is malformed: {plain(str(error))}") from None
    for value in [*inferred.value_info, *inferred.output]:
        extents = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
        if any(extent < 0 for extent in extents) or prod(extents) > LARGEST_TENSOR or len(extents) > MOST_DIMENSIONS:
            raise Refused(f"tensor {value.name!r} of shape {tuple(extents)} is too large: at most {LARGEST_TENSOR} "
                          f"elements in {MOST_DIMENSIONS} dimensions are supported")


def _limit_memory() -> None:
    """At most `MEMORY`; less where the user or a batch system allows less, since a hard limit cannot be raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def serve() -> None:
    """Answers requests until standard input ends."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    _limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while header := requests.read(LENGTH.size):
        data = requests.read(*LENGTH.unpack(header))
        try:
            answer = b"+" + prepare(data)
        except Refused as error:
            answer = b"-" + str(error).encode(errors="replace")
        except Exception as error:
            text = f"the model is malformed: {type(error).__name__}: {plain(str(error))}"
            answer = b"-" + text.encode(errors="replace")
        answers.write(LENGTH.pack(len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    serve()
