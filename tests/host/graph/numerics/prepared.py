"""Compares steps that are prepared to run often with the code in numpy, which is the definition."""

import numpy as np
from lepton.graph import Quantization, Tensor, interpret
from lepton.graph.core import OperandList
from lepton.graph.numerics import compiled

INT8 = np.dtype(np.int8)
FLOAT32 = np.dtype(np.float32)
SCALES = (1e-6, 1e-3, 0.0371, 0.25, 0.5, 1.0, 7.3, 300.0)


def tensor(name, shape, scale=None, zero=0, dtype=INT8, data=None, axis=None):
    scale = None if scale is None else np.atleast_1d(np.asarray(scale, np.float32))
    q = None if scale is None else Quantization(scale, np.full(len(scale), zero, np.int32), axis)
    return Tensor(name, tuple(shape), np.dtype(dtype), q, data)


def integers(random, shape, dtype=INT8):
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, shape, dtype, endpoint=True)


def floats(random, shape):
    values = random.normal(0, 3, shape).astype(np.float32)
    values.reshape(-1)[::7] = 0
    values.reshape(-1)[::5] = np.rint(values.reshape(-1)[::5])  # equal ones
    return values


def same(monkeypatch, op, arithmetic, inputs, output, *executions):
    """Each execution with what the first one prepared."""
    kernel = interpret.prepare(op, arithmetic, inputs, output, often=True)
    for values in executions:
        monkeypatch.setenv(compiled.SWITCH, "0")
        wanted = interpret.compute(op, arithmetic, inputs, values, output)
        monkeypatch.setenv(compiled.SWITCH, "1")
        for found in [kernel(values), kernel(values)]:  # the first one may leave another kernel for the second
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_array_equal(found, wanted)
            assert found.flags.c_contiguous


def infer(op, inputs):
    return op.infer(OperandList(inputs))


def one(random, op, arithmetic, x, dtype=INT8, scale=None, zero=0):
    """Inputs and output of an operator of `x` alone; its scales are random where there are any."""
    quantized = np.dtype(dtype) == INT8
    scaled = random.choice(SCALES) if quantized else None
    inputs = [tensor("x", x.shape, scaled, int(random.integers(-128, 128)), dtype)]
    shape, made = infer(op, inputs)
    keeps = op.keeps_quantization and quantized
    if keeps:
        output = Tensor("y", shape, made, inputs[0].quantization)
    else:
        output = tensor("y", shape, scale if scale is not None or made != INT8 else random.choice(SCALES), zero, made)
    return inputs, output
