"""ONNX Runtime's own kernels for operators on floats.

Sums of floats, exponentials and the like are not the same from one implementation to the next; who needs the last
bit of ONNX Runtime's results must compute with its kernels. They are used for networks that come from ONNX where the
package is installed (extra `onnx`); elsewhere the operators' own arithmetic in numpy gives the same to a few units in
the last place. `LEPTON_ONNXRUNTIME=0` in the environment turns them off.
"""

import os
from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..core import Arithmetic, Call, Kernel

SWITCH = "LEPTON_ONNXRUNTIME"  # environment
_OPSET = 21
_IR = 10
_SESSIONS = 256  # kept; one is an operator with its attributes and the types and shapes of its operands
_KEPT_BYTES = 1 << 14  # of constants in a session that is kept: 4 MiB in all
SMALL = 1 << 20  # bytes of operands and result below which one thread is as fast as several

_RESULTS = ["y"]
_FIRST = [("x0", 0)]  # inputs of a session that has the first operand alone, by name and position

Attributes = tuple[tuple[str, Any], ...]


class SessionOperand(NamedTuple):
    """Of a session: its type and, of one that is `loaded` with it, the elements."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    loaded: bool


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
        domain: str = "", opset: int = _OPSET, constants: Sequence[np.ndarray] = (),
        loaded: Collection[int] | None = None) -> np.ndarray | None:
    """The operator's first output for `values`, by default those of `call`: that must be what the caller returns,
    and later executions are that kernel's alone. `constants` are further operands of few bytes.

    `loaded` are the positions of operands of `call` that ONNX Runtime has when it loads the network, as initializers:
    it packs them, and may add in another order for that. By default these are the constants at the end.

    None where the network is not from ONNX, the package is not there, or has no such kernel.
    """
    if call.arithmetic is not Arithmetic.FLOAT:
        return None
    arrays = call.values.items if values is None else tuple(values)
    if values is not None:
        loaded = ()
    elif loaded is None:
        loaded = range(_variable(call), len(arrays))
    given = [(f"x{i}", i) for i, a in enumerate(arrays) if a is not None and i not in loaded]
    initializers = frozenset(loaded)
    session = call.once("onnxruntime", lambda: _prepared(call, operator, attributes, arrays, domain, opset, constants,
                                                         initializers))
    if session is None:
        return None
    if values is None and given == _FIRST:
        execute = session.run
        call.continue_with_first(lambda array: execute(_RESULTS, {"x0": array})[0])
    elif values is None:
        call.continue_with(_kernel(session, given))
    # ONNX Runtime itself copies what is not contiguous.
    result: np.ndarray = session.run(_RESULTS, {name: arrays[i] for name, i in given})[0]
    return result


def _kernel(session: Any, given: list[tuple[str, int]]) -> Kernel:
    """What executes the session with its inputs, by name and position."""
    execute = session.run
    if len(given) == 2:
        (first, i), (second, j) = given
        return lambda arrays: execute(_RESULTS, {first: arrays[i], second: arrays[j]})[0]
    return lambda arrays: execute(_RESULTS, {name: arrays[i] for name, i in given})[0]


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
              opset: int, constants: Sequence[np.ndarray], loaded: Collection[int]) -> Any:
    """A session, None where there is none."""
    if not available():
        return None
    operands = [None if a is None else _described(a, i in loaded) for i, a in enumerate(arrays)]
    while operands and operands[-1] is None:
        operands.pop()
    operands += [_described(a, True) for a in constants]
    # Sessions with much data are not kept beyond their use.
    size = sum(len(o.data) for o in operands if o is not None)
    make = _session if size < _KEPT_BYTES else _session.__wrapped__
    return make(operator, domain, opset, attributes, tuple(operands), call.traffic < SMALL)


def _described(array: np.ndarray, loaded: bool) -> SessionOperand:
    return SessionOperand(array.dtype.str, array.shape, array.tobytes() if loaded else b"", loaded)


@lru_cache(maxsize=_SESSIONS)
def _session(operator: str, domain: str, opset: int, attributes: Attributes,
             operands: tuple[SessionOperand | None, ...], small: bool) -> Any:
    packages = _packages()
    assert packages is not None
    onnx, onnxruntime = packages
    helper = onnx.helper
    names = [f"x{i}" if operand is not None else "" for i, operand in enumerate(operands)]
    inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(o.dtype)), o.shape)
              for name, o in zip(names, operands, strict=True) if o is not None and not o.loaded]
    fixed = [onnx.numpy_helper.from_array(np.frombuffer(o.data, o.dtype).reshape(o.shape), name)
             for name, o in zip(names, operands, strict=True) if o is not None and o.loaded]
    node = helper.make_node(operator, names, _RESULTS, domain=domain, **dict(attributes))
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
