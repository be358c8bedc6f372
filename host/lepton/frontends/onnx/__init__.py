"""ONNX networks: QDQ and QOperator models as ONNX Runtime computes them, float models after calibration.

    file ── reader ──> model of fixed shapes ── worker: ONNX Runtime's optimizer ──> model as ONNX Runtime runs it
                                                (a process of its own: isolated)              │
    quantities: scale and zero point of each 8-bit value <────────────────────────────────────┤
                                                                                              v
    importer: inputs, operators in their order, outputs                                       graph
      ├─ all operands constant: runtime.evaluate folds the operator (weights, shapes)
      └─ table: one line for each operator ──> its converter, which reads attributes (node) and emits
           tabulate      functions of one 8-bit value: a table of 256 results
           layers        dequantize, layer, quantize: waits for the quantize, then one integer operator
           convolutions, products          ... ONNX Runtime's own integer layers (QLinearConv, QGemm)
           dynamic       scales that the network computes: exact sums on the host
           floating      a layer that nothing quantizes: float32 on the host
           elementwise, logic, normalizations, pools, resizing, indexing, shapes, moving, joining: the others

    state: what is known of each ONNX value (values), and the tensors that values become

A value is a `Constant`, a tensor (`Computed`), a function of an int8 tensor (`Tabulated`), a layer that waits for its
quantization (`Pending`), or several tabulated parts (`Joined`). A converter asks for the form that it needs: `host`,
the tensor in ONNX's own type, or `codes`, the int8 tensor. `calibrate` quantizes float networks with ONNX Runtime's
quantizer, in the forms that `simplify` makes.
"""

from .convert import import_onnx, load_onnx

__all__ = ["import_onnx", "load_onnx", "quantize_onnx"]


def __getattr__(name: str) -> object:
    if name == "quantize_onnx":  # imports ONNX Runtime's quantizer, which only float networks need
        from .calibrate import quantize_onnx

        return quantize_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
