"""Parts of transformers, quantized and compiled, next to PyTorch's own modules."""

from collections.abc import Callable

import lepton.device
import numpy as np
import torch
from lepton.compiler import compile_graph
from lepton.frontends.torch import convert, import_converted
from lepton.graph import interpret
from lepton.runtime import Session

EDGES = {"Quantize", "Dequantize", "Reshape"}  # of floats, where the network begins and ends


def as_one_job(module: torch.nn.Module, inputs: Callable[[], tuple[torch.Tensor, ...]], alike: float,
               on_host: frozenset[str] = frozenset()) -> None:
    """The module takes one job, with nothing on the host but its edges and `on_host`; results are within a step of
    the graph's, within 3 of PyTorch's int8 module (within one nearly everywhere), and their cosine to the float
    module's is at least `alike`.

    Softmax and normalizations of PyTorch are floats; the chip's are integer and differ by one step here and there.
    """
    torch.set_num_threads(1)
    converted, example = convert(module, [inputs() for _ in range(6)])
    graph = import_converted(converted, example if isinstance(example, tuple) else (example,), "part")
    model = compile_graph(graph, "tiny")
    assert {row.op for row in model.placement if row.where == "host"} <= EDGES | on_host
    assert sum(hasattr(step, "program") for step in model.steps) == 1
    values = inputs()
    feeds = {name: value.numpy() for name, value in zip(graph.inputs, values, strict=True)}
    with lepton.device.open("golden", config="tiny", check_races=True) as device, Session(model, device) as session:
        (made,) = session.run(feeds).outputs.values()
    step = np.diff(np.unique(made)).min()
    reference = interpret.evaluate(graph, feeds)[graph.outputs[0]]
    assert np.abs(made - reference).max() <= 1.01 * step and (made != reference).mean() <= 0.005
    with torch.no_grad():
        theirs = converted(*values).numpy()
        real = module(*values).numpy()
    assert np.abs(made - theirs).max() <= 3.01 * step and (np.abs(made - theirs) > 1.01 * step).mean() <= 0.01
    assert _cosine(made, real) >= alike


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
