"""The entry: `compile_graph`."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby

import numpy as np

from ..arch import PRESETS, ChipConfig, ConfigError, Region
from ..arch.memory import DEFAULT, MemoryTiming
from ..graph import Graph, GraphError, Node, passes
from ..graph.verify import verify
from ..program import (
    Binding,
    ChipStep,
    CompiledModel,
    HostStep,
    LayerInfo,
    LayerPlan,
    Layout,
    Placed,
    StateInfo,
    TensorInfo,
    quantization_of,
)
from .chip_node import ChipJob, ChipNode
from .encode import FieldOverflow
from .images import Alias, image_of
from .job_plan import JobPlan, plan_job
from .layers import ChipLayer
from .lowering import Context, Lowering
from .lowering.rules import refusal
from .operands import between_host_operators, transposes_at_edges
from .overlap import overlapped
from .placement import LayerDoesNotFit
from .rule import NotOnChip
from .segments import segments, split
from .tiling import Tiling


class TooManyLayers(Exception):
    """A job has more layers than the chip keeps counters of; `layers` says how many each of its nodes takes."""

    def __init__(self, layers: list[int]):
        super().__init__(layers)
        self.layers = layers


def compile_graph(graph: Graph, config: str | ChipConfig = "base", *, input_type: str | None = None,
                  output_type: str | None = None, memory: MemoryTiming = DEFAULT,
                  observe: Callable[[str, Graph], None] | None = None) -> CompiledModel:
    """Compile a network for a chip, given by the name of a preset or a configuration.

    `memory`: for which cycles are predicted, and the quicker of two plans is chosen (`lepton.arch.memory`).
    `input_type` and `output_type`: "float32", "int8" or "uint8" inputs and outputs, where the network has others.
    What the chip does not take runs on the host; `CompiledModel.placement` says what runs where and why. `observe` is
    called with a name and the graph: "import", then each of the compiler's passes (`graph.passes`).
    Raises `GraphError` for what is malformed, naming operator and value, `ConfigError` for an unknown preset.
    """
    if isinstance(config, str):
        if config not in PRESETS:
            raise ConfigError(f"config must be one of {', '.join(PRESETS)} or a ChipConfig, not {config!r}")
        config = PRESETS[config]
    verify(graph)
    digest = source_hash(graph)
    if observe is not None:
        observe("import", graph)
    with passes.observed(observe):
        graph = passes.edge_types(graph, input_type, output_type)
        graph = passes.apply(graph, *passes.COMPILER)
    refused = {id(node): reason for node in graph.nodes if (reason := refusal(graph, node)) is not None}
    for node in between_host_operators(graph, set(refused)):
        refused[id(node)] = "the host has its operand and reads its result"
    refused |= transposes_at_edges(graph, set(refused))
    while True:
        model = CompiledModel(graph.name, config, digest, [_info(graph, name) for name in graph.caller_inputs],
                              [_info(graph, name) for name in graph.caller_outputs], states=_states(graph))
        waiting = segments(graph, refused, config)[::-1]
        found = []
        try:
            while waiting:
                segment = waiting.pop()
                try:
                    if segment.chip:
                        model.steps.append(_chip_step(graph, segment, model, memory))
                except TooManyLayers as error:
                    waiting += split(segment, error.layers, config.layer_slots, partial(_bytes, graph))[::-1]
                    continue
                found.append(segment)
                model.steps += [_host_step(graph, node) for node in segment.host]
            break
        except NotOnChip as error:  # the host takes these; what is around them may fall into other jobs
            refused |= {id(node): reason for node, reason in error.reasons}
    model.placement = _placement(graph, found, refused, model)
    return model


def source_hash(graph: Graph) -> str:
    """sha256 over everything in the graph that decides what it computes."""
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        digest.update(repr(values).encode() + b"\n")

    add(graph.name, graph.inputs, graph.outputs, graph.arithmetic.value)
    for name, tensor in graph.tensors.items():
        add(name, tuple(map(int, tensor.shape)), str(tensor.dtype))
        if tensor.quantization is not None:
            digest.update(tensor.quantization.scale.tobytes() + tensor.quantization.zero_point.tobytes())
            add(tensor.quantization.axis)
        if tensor.data is not None:
            digest.update(tensor.data.tobytes())
    for node in graph.nodes:
        add(type(node.op).__name__, asdict(node.op), node.inputs, node.outputs, node.name)
    for state in graph.states:
        add(state.name, state.read, state.written)
        digest.update(state.initial.tobytes())
    return digest.hexdigest()


def _bytes(graph: Graph, name: str) -> int:
    return int(np.prod(graph.tensors[name].shape, dtype=np.int64))


def _info(graph: Graph, name: str) -> TensorInfo:
    tensor = graph.tensors[name]
    return TensorInfo(name, tuple(map(int, tensor.shape)), np.dtype(tensor.dtype).name, *quantization_of(tensor))


def _states(graph: Graph) -> list[StateInfo]:
    return [StateInfo(replace(_info(graph, state.read), name=state.name), state.read, state.written, state.initial)
            for state in graph.states]


def _host_step(graph: Graph, node: Node) -> HostStep:
    inputs = tuple(graph.tensors[name] if name else None for name in node.inputs)
    return HostStep(node.name or node.outputs[0], node.op, graph.arithmetic, inputs, graph.tensors[node.outputs[0]])


def _chip_step(graph: Graph, segment: ChipJob, model: CompiledModel, memory: MemoryTiming) -> ChipStep:
    config = model.config
    lowering = Lowering(graph, config, segment)
    context = lowering.context
    layers: list[ChipLayer] = []
    owners: list[ChipNode] = []
    counts: list[int] = []
    failed: list[tuple[Node, str]] = []
    for chip in segment.chip:
        try:
            first = layers[-1].index + 1 if layers else 0
            made = lowering.layers(chip, first)
            layers += made
            owners += [chip] * len(made)
            counts.append(layers[-1].index + 1 - first if made else 0)
            if counts[-1] > config.layer_slots:
                raise NotOnChip((chip.node, f"it takes {counts[-1]} layers, and a job of the chip has at most "
                                            f"{config.layer_slots}"))
        except NotOnChip as error:
            failed += error.reasons
        except GraphError as error:
            failed.append((chip.node, str(error)))
    if failed:
        raise NotOnChip(*failed)
    if sum(counts) > config.layer_slots:
        raise TooManyLayers(counts)
    plan = _best_plan(layers, owners, context, segment, memory)
    step = len(model.steps)
    offsets = plan.placement.memory
    sizes = plan.placement.sizes
    _note_layers(plan, step, model)
    inputs = tuple(_binding(graph, source.tensor, offsets[name].offset, source.layout, source.table)
                   for name, source in context.inputs.items())
    outputs = tuple(_output_binding(context, alias, offsets[alias.tensor].offset) for alias in segment.aliases)
    return ChipStep(f"{graph.name}:{step}", plan.image, plan.streams, inputs, outputs, sizes[Region.INPUT],
                    sizes[Region.OUTPUT], sizes[Region.SCRATCH], round(plan.prediction.total, 1))


def _best_plan(layers: list[ChipLayer], owners: list[ChipNode], context: Context, segment: ChipJob,
               memory: MemoryTiming) -> JobPlan:
    """The plan of a job with its layers one after the other, or in pieces that overlap where that is faster. Raises
    `NotOnChip` for what fits in neither way."""
    def planned(order: list[tuple[int, ChipLayer]]) -> JobPlan:
        return plan_job([layer for _, layer in order], context, segment.outputs, memory)

    pieces = overlapped(layers, context.config, {*context.inputs, *context.constants, *segment.outputs})
    try:
        plan = planned(list(enumerate(layers)))
    except LayerDoesNotFit as error:
        raise NotOnChip((owners[error.position].node, str(error))) from error
    except FieldOverflow as error:
        owner = next(chip for chip, layer in zip(owners, layers, strict=True) if layer.index == error.layer)
        raise NotOnChip((owner.node, str(error))) from error
    if len(pieces) > len(layers):
        with suppress(LayerDoesNotFit, FieldOverflow):
            plan = min(plan, planned(pieces), key=lambda one: one.prediction.total)
    return plan


def _note_layers(plan: JobPlan, step: int, model: CompiledModel) -> None:
    """Adds the job's layers to the model's, those that share an index as one."""
    pairs = sorted(zip(plan.layers, plan.placement.tilings, strict=True), key=lambda pair: pair[0].index)
    for index, group in groupby(pairs, lambda pair: pair[0].index):
        parts = list(group)
        layer = parts[0][0]
        model.layers.append(LayerInfo(
            index, layer.name, layer.op, tuple(map(int, layer.input_shape)), tuple(map(int, layer.output_shape)),
            sum(part.macs for part, _ in parts), sum(part.weight_bytes for part, _ in parts), step,
            _plan([tiling for _, tiling in parts], plan.prediction.layers[index])))


def _binding(graph: Graph, tensor: str, offset: int, layout: Layout, table: bytes | None) -> Binding:
    return Binding(tensor, offset, layout, np.dtype(graph.tensors[tensor].dtype).name, table or b"")


def _output_binding(context: Context, alias: Alias, offset: int) -> Binding:
    """A tensor that the host reads, in the buffer of the chip's tensor that it is another shape of."""
    image = image_of(context.graph, alias.tensor)
    layout = context.blocked(alias.name, image, context.graph.tensors[alias.tensor].zero_point)
    return _binding(context.graph, alias.name, offset, layout, alias.table)


def _plan(tilings: list[Tiling], cycles: float) -> LayerPlan:
    """The plan of a layer, or of several that share its index: then the first one's tiles, and sums of the others."""
    tiling = tilings[0]
    streams = tuple(name for name in ("source", "output", "residual") if getattr(tiling.streams, name))
    compute, read, weights = (round(float(sum(costs)), 1) for costs in zip(*(t.costs for t in tilings), strict=True))
    return LayerPlan((tiling.rows, tiling.columns, tiling.blocks), sum(t.tile_count for t in tilings), streams,
                     round(cycles, 1), compute, read, weights, tiling.tried)


def _placement(graph: Graph, found: list[ChipJob], refused: dict[int, str], model: CompiledModel) -> list[Placed]:
    """Where each node of the graph went, in the graph's order."""
    where: dict[int, tuple[str, int]] = {}
    step = 0
    for segment in found:
        where.update({id(node): ("chip", step) for chip in segment.chip for node in chip.nodes})
        step += bool(segment.chip)
        for node in segment.host:
            where[id(node)] = ("host", step)
            step += 1
    assert step == len(model.steps)
    rows = []
    for node in graph.nodes:
        signature = graph.signature(node)
        place, step = where.get(id(node), ("free", -1))
        reason = refused.get(id(node), "only the host reads its result") if place == "host" else ""
        rows.append(Placed(node.name or node.outputs[0], type(node.op).__name__, place, reason,
                           node.op.macs(signature), signature.traffic, step))
    return rows
