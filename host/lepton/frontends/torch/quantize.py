"""From a float module, or a saved program, to a graph in one call."""

import copy
from collections.abc import Callable, Iterable
from itertools import chain
from os import PathLike
from pathlib import Path

import torch
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves
from torchao.quantization.pt2e import (
    allow_exported_model_train_eval,
    disable_fake_quant,
    disable_observer,
    enable_fake_quant,
)
from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e, prepare_qat_pt2e

from lepton.graph import Graph, GraphError

from ..calibration import load_calibration
from ..logs import quiet
from .attention import with_attention_products
from .batches import Calibration, batches, count, input_names, shapes
from .conversion import converted
from .decompose import decomposed
from .dense import with_linear_layers
from .failures import named
from .functional import STATES, functional, states_of
from .importer import import_converted
from .qdq import is_quantized
from .quantizer import LeptonQuantizer
from .recurrent import with_recurrent_steps
from .writes import functionalized

Progress = Callable[[int, int | None], None]

_VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)

_LONGEST = 300  # characters of torch's errors, which may repeat a whole file


def quantize(module: torch.nn.Module, calibration: Calibration, input_shape: tuple[int, ...] | None = None, *,
             quantizer: LeptonQuantizer | None = None, progress: Progress | None = None,
             name: str = "") -> Graph:
    """An int8 graph that computes what the float `module` does, as nearly as 8 bits allow.

    module: in eval mode, on the CPU; or a module that `prepare_qat` made, after its training.
    calibration: batches like the real inputs: float tensors or arrays (N, ...), or tuples that start with as many as
        the module has inputs (such as a DataLoader); or one array, or the path of a .npy or .npz file. A few hundred
        images are enough. For a trained module only the first is used, for its shape. For a module with state each
        batch is a stream: its inputs in their order, from the initial state on.
    input_shape: of the first input with its batch of 1, to be checked against the first batch.
    quantizer: how ranges are found; `LeptonQuantizer()` by default.
    progress: called after each example with the number of examples done, and of all, None where that is not known.

    The graph has the module's own inputs and outputs: float32, in PyTorch's layout, quantized at the edges.
    It computes what PyTorch's own converted graph does to within one step of each layer's scale, rounding apart
    (`Arithmetic.FLOAT`).

    Raises GraphError for a module that cannot be exported, an operator that neither chip nor host has, and for
    calibration data that is missing, of another shape or not finite.
    """
    int8, example = convert(module, calibration, input_shape, quantizer=quantizer, progress=progress)
    examples = example if isinstance(example, tuple) else (example,)
    return import_converted(int8, examples, name or type(module).__name__)


def convert(module: torch.nn.Module, calibration: Calibration, input_shape: tuple[int, ...] | None = None, *,
            quantizer: LeptonQuantizer | None = None,
            progress: Progress | None = None
            ) -> tuple[GraphModule, torch.Tensor | tuple[torch.Tensor, ...]]:
    """PyTorch's own quantized module, which `import_converted` reads, and an example: an input (1, ...) or a tuple.

    Arguments and errors are those of `quantize`.
    """
    rest = batches(calibration, input_names(module))
    first = next(rest, None)
    if first is None:
        raise GraphError("calibration needs at least one batch")
    examples = tuple(x[:1] for x in first)
    if input_shape is not None and tuple(input_shape) != tuple(examples[0].shape):
        raise GraphError(f"input_shape {tuple(input_shape)} does not match the calibration's "
                         f"{tuple(examples[0].shape)}")
    example = examples if len(examples) > 1 else examples[0]
    if isinstance(module, GraphModule) and module.meta.get("lepton_qat"):
        with named("copy the trained module"):  # convert_pt2e changes what it gets; the caller may train on
            trained = copy.deepcopy(module)
        trained.eval()
        trained.apply(disable_observer)
        return converted(trained), example
    prepared = _prepared(export_module(module, *examples), quantizer or LeptonQuantizer())
    return _ready(prepared, examples, chain([first], rest), progress, count(calibration)), example


def prepare_qat(module: torch.nn.Module, example: torch.Tensor,
                quantizer: LeptonQuantizer | None = None, *, frozen: bool = False) -> GraphModule:
    """A module to be trained with int8 rounding in its forward pass; then give it to `quantize`.

    module: in training mode, unless `frozen`.
    example: a float32 batch of at least 2; others may have other sizes.
    frozen: the module is set to eval mode; normalizations are folded into the layers before them and nothing is
        dropped, as in the int8 network. Otherwise both train, as in `module`.
    """
    batch = ({0: torch.export.Dim.AUTO},)  # training's batches, and 1 afterwards
    chosen = quantizer or LeptonQuantizer("moving_average")
    if frozen:
        module.eval()
    with named("trace the module (torch.export)"):
        program = torch.export.export(module, (example,), dynamic_shapes=batch)
        program = decomposed(program) if frozen else functionalized(program)
        exported = program.module(check_guards=False)
    if frozen:
        prepared = _prepared(functional(exported), chosen)
    else:
        with named("prepare the module for training"):
            prepared = prepare_qat_pt2e(exported, chosen)
    allow_exported_model_train_eval(prepared)
    prepared.meta["lepton_qat"] = True
    return prepared


def export_module(module: torch.nn.Module, *examples: torch.Tensor) -> GraphModule:
    """The module as a torch.fx graph of ATen operators. Raises GraphError where torch.export cannot trace it."""
    if module.training:
        raise GraphError("the module is in training mode: call module.eval() first")
    parameters = dict(module.named_parameters())
    for name, value in module.state_dict().items():
        # -inf in a buffer is a mask of attention.
        if isinstance(value, torch.Tensor) and not (
                torch.isfinite(value) | (torch.isneginf(value) if name not in parameters else False)).all():
            raise GraphError(f"{name} of the module holds values that are not finite")
    with torch.no_grad(), named("trace the module (torch.export)"):
        exported = decomposed(torch.export.export(module, examples)).module()
    return functional(exported, states=True)


def load_pt2(path: str | PathLike, calibration: Calibration | None = None, *,
             progress: Progress | None = None) -> Graph:
    """The graph of a program that torch.export.save wrote: converted by PT2E, or float with `calibration` data
    (as for `quantize`; a .npz file has the names of the program's inputs).

    A .pt2 file can hold pickled objects: load only files from people you trust. Raises GraphError for a file that
    cannot be read and for what `quantize` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with quiet():
            program = torch.export.load(path)
    except Exception as error:  # the loader raises whatever the damage leads to
        text = (str(error).strip().splitlines() or [""])[0][:_LONGEST]
        raise GraphError(f"{path} cannot be read as a torch.export program, as torch.export.save writes it: "
                         f"{type(error).__name__}: {text}") from None
    with named(f"read the program {path}"):
        module = program.module()
    examples = program.example_inputs[0] if program.example_inputs else None
    if examples is None:
        raise GraphError(f"{path} has no example inputs: save it with the inputs it was exported with")
    if is_quantized(module):
        return import_converted(module, examples, path.stem)
    if calibration is None:
        raise GraphError(f"{path} is a float program: give calibration data (--calibration images.npy), or save what "
                         "convert_pt2e made")
    with named(f"read the program {path}"):
        module = functional(decomposed(program).module(), states=True)
    prepared = _prepared(module, LeptonQuantizer())
    if isinstance(calibration, str | PathLike):
        calibration = load_calibration(Path(calibration))
    names = input_names(module)
    names = names[:len(names) - len(states_of(module))]
    ready = _ready(prepared, examples, batches(calibration, names), progress, count(calibration))
    return import_converted(ready, examples, path.stem)


def _prepared(module: GraphModule, quantizer: LeptonQuantizer) -> GraphModule:
    # A view needs the strides of the value before it, and PT2E makes contiguous values of permuted ones.
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target in _VIEWS:
            node.target = torch.ops.aten.reshape.default
    with_recurrent_steps(module)
    with_linear_layers(module)
    with_attention_products(module)
    with named("prepare the module for quantization"):
        prepared = prepare_pt2e(module, quantizer)
    prepared.meta[STATES] = states_of(module)
    return prepared


def _ready(prepared: GraphModule, examples: tuple[torch.Tensor, ...], given: Iterable[tuple[torch.Tensor, ...]],
           progress: Progress | None, total: int | None) -> GraphModule:
    """Calibrates one example at a time: the exported program has their batch. Each batch is a stream of a network with
    state, from its initial values on."""
    prepared.apply(disable_fake_quant)
    seen = 0
    for batch, inputs in enumerate(given, 1):
        if any(x.shape[1:] != example.shape[1:] or len(x) % len(example)
               for x, example in zip(inputs, examples, strict=True)):
            raise GraphError(f"calibration batch {batch} has the shape {shapes(inputs)}, the network's input is "
                             f"{shapes(examples)}")
        kept = [state.initial for state in states_of(prepared)]
        for one in zip(*(x.split(len(example)) for x, example in zip(inputs, examples, strict=True)), strict=True):
            kept = _observe(prepared, one, kept, batch)
            if not seen:
                _keep_weights(prepared)
            seen += len(examples[0])
            if progress is not None:
                progress(seen, total)
    if not seen:
        raise GraphError("calibration needs at least one batch")
    prepared.apply(enable_fake_quant)
    return converted(prepared)


def _observe(prepared: GraphModule, inputs: tuple[torch.Tensor, ...], states: list[torch.Tensor],
             batch: int) -> list[torch.Tensor]:
    """Runs the module once; the new values of its states."""
    with torch.no_grad(), named(f"run the module on calibration batch {batch}"):
        outputs = tree_leaves(prepared(*inputs, *states))
    if not all(torch.isfinite(value).all() for value in outputs if isinstance(value, torch.Tensor)):
        raise GraphError(f"calibration batch {batch} computes values that are not finite")
    return outputs[len(outputs) - len(states):]


def _keep_weights(prepared: GraphModule) -> None:
    """Weights are the same for every example: they are observed once, which halves the time."""
    for node in prepared.graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if isinstance(source, Node) and source.op == "get_attr":
            prepared.get_submodule(str(node.target)).apply(disable_observer)
