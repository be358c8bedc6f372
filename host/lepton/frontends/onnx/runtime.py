"""What ONNX Runtime makes of a model, and what one of its operators computes.

ONNX Runtime rewrites a network before it runs it: quantize/dequantize pairs around an operator become one integer
kernel, constants are folded, activations move into the quantization. The result depends on those choices, so the
import starts from the graph as ONNX Runtime will run it.
"""

from functools import lru_cache

import numpy as np
import onnx
import onnxruntime

from lepton.graph import GraphError

from .isolated import SHARED
from .restoring import restore
from .worker import session_options

NEWEST_IR = 10  # of the models made here: the one of onnx 1.16, which every supported ONNX Runtime reads


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` as ONNX Runtime runs it (`worker.prepare`), but for what it takes apart only for want of a kernel.

    Raises GraphError when it refuses the model.
    """
    prepared = onnx.load_model_from_string(SHARED.prepare(model.SerializeToString()))
    restore(model, prepared)
    return prepared


def evaluate(node: onnx.NodeProto, inputs: list[np.ndarray | None], opsets: tuple[tuple[str, int], ...],
             output: int = 0) -> np.ndarray:
    """One output of an operator as ONNX Runtime computes it; None is an input left out."""
    attributes = sorted(node.attribute, key=lambda a: a.name)
    feeds = {f"x{i}": array for i, array in enumerate(inputs) if array is not None}
    names = tuple("" if array is None else f"x{i}" for i, array in enumerate(inputs))
    types = tuple((name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for name, a in feeds.items())
    outputs = ["y" if i == output else f"y{i}" if name else "" for i, name in enumerate(node.output)]
    key = onnx.NodeProto(op_type=node.op_type, domain=node.domain, input=names, output=outputs, attribute=attributes)
    try:
        result = _session(key.SerializeToString(deterministic=True), types, opsets).run(["y"], feeds)[0]
    except Exception as error:
        raise GraphError(f"{node.op_type} {node.name or node.output[0]!r}: ONNX Runtime cannot compute it: "
                         f"{str(error).strip().splitlines()[0]}") from None
    if not isinstance(result, np.ndarray):
        raise GraphError(f"{node.op_type} {node.name or node.output[0]!r}: sequences and optional values are not "
                         "supported")
    return result


@lru_cache(maxsize=256)
def _session(node: bytes, types: tuple, opsets: tuple) -> onnxruntime.InferenceSession:
    graph = onnx.helper.make_graph(
        [onnx.NodeProto.FromString(node)], "one", [onnx.helper.make_tensor_value_info(*t) for t in types],
        [onnx.ValueInfoProto(name="y")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(*o) for o in opsets],
                                   ir_version=NEWEST_IR)
    return onnxruntime.InferenceSession(model.SerializeToString(),
                                        session_options(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL),
                                        providers=["CPUExecutionProvider"])
