"""The backend of `torch.compile(module, backend="lepton")`.

    fast = torch.compile(converted, backend="lepton")                                       # of convert_pt2e
    fast = torch.compile(module, backend="lepton", options={"calibration": images, "device": "rtl"})

A graph that PT2E has quantized, or that the options' calibration data quantize, runs on a device; what is float in it
runs on the host. Other graphs, and those with gradients, run as PyTorch runs them: `fallbacks` says which, and why.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiler import compile_graph
from .deployment import Deployment, chosen_config
from .graph import Graph, GraphError

if TYPE_CHECKING:
    import torch

OPTIONS = ("calibration", "device", "config")


@dataclass(frozen=True)
class Fallback:
    """A graph that PyTorch computes, by the names of its outputs' operators, and the reason."""

    graph: str
    reason: str


fallbacks: list[Fallback] = []


def backend(module: "torch.fx.GraphModule", examples: "Sequence[torch.Tensor]", *,
            options: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """What computes a graph that torch.compile has found. Raises ValueError for an unknown option."""
    import torch

    chosen = dict(options or {})
    if unknown := [name for name in chosen if name not in OPTIONS]:
        raise ValueError(f"options of the backend 'lepton' must be among {', '.join(OPTIONS)}, not {unknown[0]!r}")
    try:
        if torch.is_grad_enabled() and any(isinstance(x, torch.Tensor) and x.requires_grad for x in examples):
            raise GraphError("gradients are asked for; run it in torch.no_grad() or torch.inference_mode()")
        frozen, free = _frozen(module, examples)
        graph = _graph(frozen, tuple(examples[i] for i in free), chosen.get("calibration"))
        config = chosen_config(chosen.get("config"), chosen.get("device"))
        return _DeployedModule(Deployment(compile_graph(graph, config), chosen.get("device")), free, module)
    except GraphError as error:
        fallbacks.append(Fallback(str(next(reversed(module.graph.nodes)).args), str(error)))
        warnings.warn(f"backend 'lepton': PyTorch computes a graph of {len(module.graph.nodes)} nodes: {error}",
                      UserWarning, stacklevel=2)
        return module.forward


def _frozen(module: "torch.fx.GraphModule", examples: "Sequence[torch.Tensor]"
            ) -> "tuple[torch.fx.GraphModule, list[int]]":
    """The graph with parameters and buffers as its own, and the places of the inputs that are left.

    torch.compile hands weights over as inputs; what stands for one says so by its source.
    """
    import copy

    import torch

    graph = copy.deepcopy(module.graph)
    attributes = dict(module.named_parameters()) | dict(module.named_buffers())
    root = torch.nn.Module()
    for name, child in module.named_children():
        root.add_module(name, child)
    for name, value in attributes.items():
        if "." not in name:
            root.register_buffer(name, value.detach())
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor) and name not in attributes:
            root.register_buffer(name, value.detach())
    free = []
    for position, node in enumerate([n for n in graph.nodes if n.op == "placeholder"]):
        example = examples[position]
        if not isinstance(example, torch.Tensor):
            raise GraphError(f"input {node.name!r} is no tensor but {type(example).__name__}: shapes must be fixed; "
                             "call torch.compile(..., dynamic=False)")
        if not (isinstance(example, torch.nn.Parameter) or _is_static(node)):
            free.append(position)
            continue
        attribute = f"weight_{position}"
        root.register_buffer(attribute, example.detach().clone())
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.get_attr(attribute))
        graph.erase_node(node)
    if not free:
        raise GraphError("it has no inputs besides weights")
    return torch.fx.GraphModule(root, graph), free


def _is_static(node: "torch.fx.Node") -> bool:
    """Whether torch.compile says that an input is a parameter or buffer of the module."""
    return "_dynamo_static_input_type" in (node.meta.get("tensor_dict") or {})


def _graph(module: "torch.fx.GraphModule", inputs: "tuple[torch.Tensor, ...]", calibration: Any) -> Graph:
    """The int8 graph of a module that PT2E has converted, or of a float one with calibration data."""
    from .frontends.torch import import_converted, quantize
    from .frontends.torch.quantize import export_module

    module.eval()
    exported = export_module(module, *inputs)
    if _is_quantized(exported):
        return import_converted(exported, inputs, "compiled")
    if calibration is None:
        raise GraphError("it is not quantized; convert it with torchao's PT2E, or give calibration data: "
                         "options={'calibration': images}")
    return quantize(module, calibration, tuple(inputs[0].shape) if len(inputs) == 1 else None, name="compiled")


def _is_quantized(module: "torch.fx.GraphModule") -> bool:
    from .frontends.torch.qdq import is_quantized

    return is_quantized(module)


class _DeployedModule:
    """A deployed graph as a function of all inputs that torch.compile gives, weights included."""

    def __init__(self, deployment: Deployment, free: list[int], module: "torch.fx.GraphModule") -> None:
        self.deployment = deployment
        self._free = free
        self._module = module

    def __call__(self, *arguments: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
        import torch

        arrays = [np.ascontiguousarray(arguments[i].detach().cpu().numpy()) for i in self._free]
        model = self.deployment.model
        made = self.deployment.run({info.name: array for info, array in zip(model.inputs, arrays, strict=True)})
        return tuple(torch.from_numpy(made.outputs[info.name]) for info in model.outputs)
