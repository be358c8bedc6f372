"""What a network computes on the golden device, byte by byte next to PyTorch's converted module."""

from dataclasses import dataclass

import lepton.device
import numpy as np
import torch
from lepton.compiler import compile_graph
from lepton.frontends.torch import convert, import_converted
from lepton.graph import Dequantize, Graph, Node, Op
from lepton.runtime import Session
from torch import nn


@dataclass(frozen=True)
class Comparison:
    """All outputs of a network over some inputs; `largest` is the largest difference in steps of the output's scale,
    0 where outputs are float."""

    graph: Graph
    values: int
    differing: int
    largest: float
    beyond: int  # values that differ by more than the tolerance, relative to the largest value
    on_host: tuple[str, ...]  # operators that the host computes, conversions at the edges left out

    @property
    def share(self) -> float:
        return self.differing / self.values


def leaves(value) -> list[np.ndarray]:
    """The tensors of a module's result, in their order."""
    return [leaf.numpy() for leaf in torch.utils._pytree.tree_leaves(value)]


def nodes_of(graph: Graph, kind: type[Op]) -> list[Node]:
    """The nodes of one operator, in order of execution."""
    return [node for node in graph.nodes if isinstance(node.op, kind)]


def output_steps(graph: Graph) -> list[float]:
    """The scales of the int8 values that become float, in order of execution."""
    return [float(graph.tensors[node.inputs[0]].scale) for node in nodes_of(graph, Dequantize)]


def compare(module: nn.Module, calibration, inputs, config: str = "tiny", tolerance: float = 0.0) -> Comparison:
    """Quantizes `module` with `calibration` and runs it on `inputs` (tensors, or tuples of them)."""
    converted, examples = convert(module, calibration)
    examples = examples if isinstance(examples, tuple) else (examples,)
    graph = import_converted(converted, examples, "compared")
    model = compile_graph(graph, config)
    step = max(output_steps(graph), default=0.0)
    values = differing = beyond = 0
    largest = 0.0
    with lepton.device.open("golden", config=model.config) as device, Session(model, device) as session:
        for given in inputs:
            given = given if isinstance(given, tuple) else (given,)
            with torch.no_grad():
                expected = leaves(converted(*(x.clone() for x in given)))
            named = dict(zip(graph.inputs, (x.numpy() for x in given), strict=True))
            got = session.run(named).outputs
            for name, theirs in zip(graph.outputs, expected, strict=True):
                ours = got[name]
                assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, (name, ours.shape, theirs.shape)
                values += theirs.size
                differing += int((ours != theirs).sum())
                away = np.abs(ours.astype(np.float64) - theirs)
                beyond += int((away > tolerance * max(1.0, float(np.abs(theirs).max(initial=0)))).sum())
                if step and theirs.size and theirs.dtype.kind == "f":
                    largest = max(largest, float(np.abs(ours - theirs).max()) / step)
    edges = {"Quantize", "Dequantize", "Transpose", "Reshape"}
    host = tuple(sorted({p.op for p in model.placement if p.where == "host"} - edges))
    return Comparison(graph, values, differing, largest, beyond, host)
