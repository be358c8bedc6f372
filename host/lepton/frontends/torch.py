"""PyTorch modules to int8 graphs by post-training quantization."""

from collections.abc import Callable, Iterable
from itertools import chain

import numpy as np
import torch

from lepton.graph import Graph, GraphError

from .check import check_graph
from .float_net import FloatNet
from .int8_graph import build_graph
from .ranges import METHODS, Observer
from .torch_lower import lower


def quantize(module: torch.nn.Module, calibration: Iterable, input_shape: tuple[int, ...] | None = None, *,
             ranges: str = "minmax", percentile: float = 99.99, progress: Callable[[int], None] | None = None,
             name: str = "") -> Graph:
    """An int8 graph that computes what the float `module` does, as nearly as 8 bits allow.

    module: in eval mode, on the CPU, one input.
    calibration: batches like the real inputs: float tensors or arrays (N, C, H, W) or (N, features), or tuples
        that start with one (a DataLoader will do). A few hundred images are enough.
    input_shape: (1, C, H, W) or (1, features), to be checked against the first batch.
    ranges: "minmax", "percentile" (cuts `percentile` off at both ends) or "mse" (least squared error): how
        the ranges of the activations follow from the calibration.
    progress: called after each batch with the number of batches done.

    Activations are asymmetric int8 per tensor; weights symmetric int8 in -127..127, per output channel for
    convolutions and per tensor for linear layers; biases int32 (TFLite's int8 specification). The graph's
    tensors are NHWC: an output (1, C, H, W) of the module is (1, H, W, C) in the graph.

    Raises GraphError for an operator or option that is not supported (the text says which are), and for
    calibration data that is missing, of another shape or not finite.
    """
    if ranges not in METHODS:
        raise GraphError(f"ranges must be one of {', '.join(METHODS)}, not {ranges!r}")
    if not 50 < percentile <= 100:
        raise GraphError(f"percentile must be above 50 and at most 100, not {percentile!r}")
    batches = iter(calibration)
    first = next(batches, None)
    if first is None:
        raise GraphError("calibration needs at least one batch")
    example = _batch(first)[:1]
    if input_shape is not None and tuple(input_shape) != tuple(example.shape):
        raise GraphError(f"input_shape {tuple(input_shape)} does not match the calibration's {tuple(example.shape)}")
    net = lower(module, example, name or type(module).__name__)
    observers = _calibrate(net, chain([first], batches), ranges != "minmax", progress)
    return check_graph(build_graph(net, {node: o.range(ranges, percentile) for node, o in observers.items()}))


def _batch(batch) -> torch.Tensor:
    batch = batch[0] if isinstance(batch, tuple | list) else batch
    tensor = torch.from_numpy(batch) if isinstance(batch, np.ndarray) else batch
    usable = isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.ndim in (2, 4)
    if not usable or not len(tensor):
        raise GraphError("a calibration batch must be a float tensor or array (N, channels, height, width) or "
                         "(N, features), "
                         f"not {getattr(tensor, 'dtype', type(tensor).__name__)} {tuple(getattr(tensor, 'shape', ()))}")
    return tensor.float()


def _calibrate(net: FloatNet, batches: Iterable, histogram: bool, progress) -> dict:
    observers = {node: Observer(node.name, histogram) for node in net.nodes}
    for done, batch in enumerate(batches, 1):
        x = _batch(batch)
        if tuple(x.shape[1:]) != net.nodes[0].shape[1:]:
            raise GraphError(f"calibration batch {done} has the shape {tuple(x.shape)}, the network's input is "
                             f"{net.nodes[0].shape}")
        net.run(x, lambda node, values: observers[node].add(values))
        if progress is not None:
            progress(done)
    return observers
