"""What the host's part of a network costs: MACs and bytes by hand, times of what really ran. No test asks how long."""

import lepton.device
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.graph import Arithmetic, Conv2D, Dequantize, Gather, Maximum, Tensor, Unary
from lepton.program import HostStep
from lepton.runtime import Session, costs

from tests.host.compiler.compiler_graphs import Builder, quantization, random_inputs


def mixed():
    """A convolution, a maximum of two tensors, a softmax: chip, host, host."""
    b = Builder((1, 4, 6, 8), 3)
    x = b.conv("image", 10, (1, 1))
    y = b.node(Maximum(), [x, b.max_pool(x, kernel=(4, 6))], (1, 4, 6, 10), same=True)
    return b.done(b.softmax(b.reshape(y, (1, 240))))


def test_a_report_has_the_time_of_every_step():
    model = compile_graph(mixed(), "tiny")
    with lepton.device.open("golden", config="tiny", memory_bytes=1 << 20) as device, Session(model, device) as session:
        report = session.run(random_inputs(mixed(), 1)).report
    assert [cost.step for cost in report.host] == list(range(len(model.steps)))
    by_op = {cost.op: cost for cost in report.host}
    assert by_op["Maximum"].bytes == 240 + 10 + 240 and by_op["Softmax"].bytes == 240 + 240
    moved = [cost for cost in report.host if cost.op == costs.LAYOUT]
    # 8 channels in 2 blocks of 4, 10 in 3; the pool as well
    assert sum(cost.bytes for cost in moved) == 4 * 6 * 8 + 4 * 6 * 12 + 12
    assert all(cost.seconds > 0 for cost in report.host)
    assert report.host_seconds == sum(cost.seconds for cost in report.host) < report.seconds


def test_measured_does_all_of_the_hosts_work_without_a_chip():
    model = compile_graph(mixed(), "tiny")
    found = costs.measured(model)
    assert [(c.op == costs.LAYOUT) != isinstance(s, HostStep) for c, s in zip(found, model.steps, strict=True)]
    placed = {row.step: row for row in model.placement if row.where == "host"}
    for cost in found:
        if cost.op != costs.LAYOUT:
            row = placed[cost.step]
            assert (cost.name, cost.op, cost.macs, cost.bytes) == (row.name, row.op, row.macs, row.bytes)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.float32, np.bool_])
def test_made_up_values_fit_every_kernel(dtype):
    values = costs.made_up((2, 3), dtype)
    assert values.shape == (2, 3) and values.dtype == dtype and np.isfinite(values.astype(float)).all()


def test_indices_and_reals_on_the_host_are_timed_too():
    b = Builder((1, 5, 4), 1)
    x = b.node(Dequantize(), ["image"], (1, 5, 4))
    b.graph.tensors["rows"] = Tensor("rows", (2,), np.dtype(np.int64))
    b.graph.inputs.append("rows")
    y = b.node(Gather(1), [b.node(Unary("log"), [x], (1, 5, 4)), "rows"], (1, 2, 4))
    for name in (x, "t1", y):
        b.graph.tensors[name] = Tensor(name, b.shape(name), np.dtype(np.float32))
    model = compile_graph(b.done(y), "tiny")
    assert [cost.op for cost in costs.measured(model)] == ["Dequantize", "Unary", "Gather"]


def test_macs_of_layers_on_the_host():
    """A batch is more than the chip takes, so the host computes the layers."""
    b = Builder((2, 5, 5, 6), 1)
    b.graph.arithmetic = Arithmetic.FLOAT
    weights = np.ones((4, 3, 3, 6), np.int8)
    b.graph.tensors["w"] = Tensor("w", weights.shape, weights.dtype, quantization(0.01), weights)
    graph = b.done(b.node(Conv2D(), ["image", "w"], (2, 3, 3, 4)))
    (cost,) = costs.measured(compile_graph(graph, "tiny"))
    assert (cost.op, cost.macs) == ("Conv2D", 2 * 3 * 3 * 4 * 3 * 3 * 6)
    assert cost.bytes == 2 * 5 * 5 * 6 + weights.size + 2 * 3 * 3 * 4
