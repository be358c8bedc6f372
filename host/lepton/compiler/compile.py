"""The entry: `compile_graph`."""

import hashlib
from dataclasses import asdict

from ..arch import PRESETS, ChipConfig, ConfigError, Region
from ..graph import Graph, Node
from .commands import Memory
from .encode import encode
from .lowering import Lowering
from .model import Binding, ChipStep, CompiledModel, HostStep, LayerInfo, TensorInfo, quantization_of
from .passes import Segment, segments
from .placement import Placer
from .schedule import schedule
from .semaphores import Semaphores
from .verify import verify


def compile_graph(graph: Graph, config: str | ChipConfig = "base") -> CompiledModel:
    """Compile a network for a chip, given by the name of a preset or a configuration.

    Raises `GraphError` for what is malformed, not supported or does not fit, naming operator, value and limit,
    `ConfigError` for an unknown preset.
    """
    if isinstance(config, str):
        if config not in PRESETS:
            raise ConfigError(f"config must be one of {', '.join(PRESETS)} or a ChipConfig, not {config!r}")
        config = PRESETS[config]
    verify(graph)
    model = CompiledModel(graph.name, config, source_hash(graph), [_info(graph, name) for name in graph.inputs],
                          [_info(graph, name) for name in graph.outputs])
    for segment in segments(graph):
        if segment.chip:
            model.steps.append(_chip_step(graph, segment, model))
        model.steps += [_host_step(graph, node) for node in segment.host]
    return model


def source_hash(graph: Graph) -> str:
    """sha256 over everything in the graph that decides what it computes."""
    digest = hashlib.sha256()

    def add(*values) -> None:
        digest.update(repr(values).encode() + b"\n")

    add(graph.name, graph.inputs, graph.outputs)
    for name, tensor in graph.tensors.items():
        add(name, tuple(map(int, tensor.shape)), str(tensor.dtype))
        if tensor.quantization is not None:
            digest.update(tensor.quantization.scale.tobytes() + tensor.quantization.zero_point.tobytes())
            add(tensor.quantization.axis)
        if tensor.data is not None:
            digest.update(tensor.data.tobytes())
    for node in graph.nodes:
        add(type(node.op).__name__, asdict(node.op), node.inputs, node.outputs, node.name)
    return digest.hexdigest()


def _info(graph: Graph, name: str) -> TensorInfo:
    tensor = graph.tensors[name]
    return TensorInfo(name, tuple(map(int, tensor.shape)), "int8", *quantization_of(tensor))


def _host_step(graph: Graph, node: Node) -> HostStep:
    name = node.name or node.outputs[0]
    return HostStep(name, node.op, (_info(graph, node.inputs[0]),), (_info(graph, node.outputs[0]),))


def _chip_step(graph: Graph, segment: Segment, model: CompiledModel) -> ChipStep:
    config = model.config
    lowering = Lowering(graph, config, segment.inputs)
    first = len(model.layers)
    layers = [lowering.layer(node, first + i) for i, node in enumerate(segment.chip)]
    placement = Placer(layers, config, list(lowering.inputs), segment.outputs).place()
    program = schedule(layers, placement, config, list(lowering.inputs), segment.outputs)
    Semaphores(config.lanes, {
        Memory.SCRATCHPAD: config.scratchpad_bytes, Memory.WEIGHTS: config.weight_bytes,
        Memory.SCRATCH: placement.sizes[Region.SCRATCH], Memory.OUTPUT: placement.sizes[Region.OUTPUT],
    }).run(program.commands)
    image, streams = encode(program, {layer.index: layer.name for layer in layers})
    step, offsets, sizes = len(model.steps), placement.memory, placement.sizes
    model.layers += [
        LayerInfo(layer.index, layer.name, layer.op, tuple(map(int, layer.input_shape)),
                  tuple(map(int, layer.output_shape)), layer.macs, layer.weight_bytes, step) for layer in layers]
    inputs = tuple(Binding(tensor, offsets[name].offset, layout) for name, (tensor, layout) in lowering.inputs.items())
    outputs = tuple(Binding(name, offsets[name].offset, lowering.blocked(name)) for name in segment.outputs)
    return ChipStep(f"{graph.name}:{step}", image, streams, inputs, outputs, sizes[Region.INPUT], sizes[Region.OUTPUT],
                    sizes[Region.SCRATCH])
