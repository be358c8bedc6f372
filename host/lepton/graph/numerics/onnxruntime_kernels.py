"""ONNX Runtime's own kernels for operators on floats.

Sums of floats, exponentials and the like are not the same from one implementation to the next; whoever wants the last
bit of ONNX Runtime's results must compute with its kernels. They are used for networks that come from ONNX where the
package is installed (extra `onnx`); elsewhere the operators' own arithmetic in numpy gives the same to a few units in
the last place. `LEPTON_ONNXRUNTIME=0` in the environment turns them off.
"""

import os
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ..core import Arithmetic, Call

SWITCH = "LEPTON_ONNXRUNTIME"  # environment
_OPSET = 21
_IR = 10
_SESSIONS = 256  # kept; one is an operator with its attributes and the types and shapes of its operands
# Weights stay operands: those of a quantized network come from a DequantizeLinear, which ONNX Runtime does not fold;
# it adds many channels of constant weights in another order (its NCHWc layout).
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_KEPT_BYTES = 1 << 14  # of constants in a session that is kept: 4 MiB in all
_SMALL = 1 << 20  # bytes of operands and result below which one thread is as fast as several

Attributes = tuple[tuple[str, Any], ...]


@cache
def _packages() -> tuple[Any, Any] | None:
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None
    return onnx, onnxruntime


def available() -> bool:
    return os.environ.get(SWITCH, "1") != "0" and _packages() is not None


def run(call: Call, operator: str, attributes: Attributes = (), values: Sequence[np.ndarray] | None = None,
        domain: str = "", opset: int = _OPSET, constants: Sequence[np.ndarray] = ()) -> np.ndarray | None:
    """The operator's first output for `values`, by default those of `call`: that must be what the caller returns,
    and later executions are that kernel's alone. `constants` are further operands of few bytes.

    None where the network is not from ONNX, the package is not there, or has no such kernel.
    """
    if call.arithmetic is not Arithmetic.FLOAT:
        return None
    arrays = call.values.items if values is None else values
    if values is None:
        count = len(arrays) if operator in _WEIGHTED else _variable(call)
        # Initializers as in the network's own session, which packs them, and may take another kernel for that.
        constants = [*(a for a in arrays[count:] if a is not None), *constants]
        arrays = arrays[:count]
    session, names = call.once("onnxruntime", lambda: _prepared(call, operator, attributes, arrays, domain, opset,
                                                                constants))
    if session is None:
        return None
    given = [i for i, a in enumerate(arrays) if a is not None]
    if values is None and given == [0]:
        call.continue_with(lambda operands: session.run(None, {"x0": operands[0]})[0])
    elif values is None:
        variable = [(names[i], i) for i in given]
        call.continue_with(lambda operands: session.run(None, {n: operands[i] for n, i in variable})[0])
    # ONNX Runtime itself copies what is not contiguous.
    result: np.ndarray = session.run(None, {names[i]: arrays[i] for i in given})[0]
    return result


def _variable(call: Call) -> int:
    """The number of operands before those at the end that are constants, or left out; the first always counts."""
    count = len(call.inputs.items)
    while count > 1 and call.inputs.items[count - 1] is None:
        count -= 1
    last = count
    while count > 1:
        tensor = call.inputs.items[count - 1]
        if tensor is None:  # a gap among constants: all stay operands
            return last
        if tensor.data is None:
            break
        count -= 1
    return count


def _prepared(call: Call, operator: str, attributes: Attributes, arrays: Sequence[np.ndarray | None], domain: str,
              opset: int, constants: Sequence[np.ndarray]) -> tuple[Any, list[str]]:
    """A session, None where there is none, and the names of its inputs."""
    given = [i for i, a in enumerate(arrays) if a is not None]
    some = arrays[:given[-1] + 1] if given else []
    types = tuple(None if a is None else (a.dtype.str, a.shape) for a in some)
    names = [f"x{i}" for i in range(len(some))]
    if not available():
        return None, names
    fixed = tuple((a.dtype.str, a.shape, a.tobytes()) for a in constants)
    # Sessions with much data are not kept beyond their use.
    make = _session if sum(a.nbytes for a in constants) < _KEPT_BYTES else _session.__wrapped__
    return make(operator, domain, opset, attributes, types, fixed, call.traffic < _SMALL), names


@lru_cache(maxsize=_SESSIONS)
def _session(operator: str, domain: str, opset: int, attributes: Attributes, types: tuple, constants: tuple,
             small: bool) -> Any:
    packages = _packages()
    assert packages is not None
    onnx, onnxruntime = packages
    helper = onnx.helper
    inputs = [helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(np.dtype(t[0])), t[1])
              for i, t in enumerate(types) if t is not None]
    fixed = [onnx.numpy_helper.from_array(np.frombuffer(data, dtype).reshape(shape), f"c{i}")
             for i, (dtype, shape, data) in enumerate(constants)]
    operands = [f"x{i}" if t is not None else "" for i, t in enumerate(types)]
    node = helper.make_node(operator, [*operands, *(c.name for c in fixed)], ["y"], domain=domain, **dict(attributes))
    graph = helper.make_graph([node], operator, inputs, [onnx.ValueInfoProto(name="y")], fixed)
    model = helper.make_model(graph, ir_version=_IR, opset_imports=[helper.make_opsetid("", opset),
                                                                    helper.make_opsetid("com.microsoft", 1)])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if small:
        options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # its exceptions have no common base; the numpy arithmetic is always there
        return None
