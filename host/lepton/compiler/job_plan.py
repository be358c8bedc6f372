"""A job's layers as commands: where everything is, the program, and how long it takes."""

from dataclasses import dataclass

from ..arch import Dma, Engine, Region, Stream
from ..arch.memory import MemoryTiming
from ..graph import GraphError
from .commands import Memory
from .encode import encode
from .layers import ChipLayer
from .lowering import Context
from .placement import Placement, Placer
from .schedule import schedule
from .semaphores import SemaphoreAllocator
from .timing import Prediction, predict

REGION_LIMIT = Dma.find("offset").maximum  # bytes; sizes and offsets of regions have as many bits


@dataclass(frozen=True)
class JobPlan:
    """The layers in the order of their commands, and what follows from it."""

    layers: list[ChipLayer]
    placement: Placement
    image: bytes
    streams: dict[Engine, Stream]
    prediction: Prediction


def plan_job(layers: list[ChipLayer], context: Context, outputs: list[str], memory: MemoryTiming) -> JobPlan:
    """Raises `LayerDoesNotFit` and `FieldOverflow`, and `GraphError` for a region that offsets do not reach."""
    config = context.config
    for layer in layers:
        layer.finishes = layer is layers[-1]
    placement = Placer(layers, config, list(context.inputs), outputs, context.constants).place()
    check_sizes(context.graph.name, placement.sizes)
    program = schedule(layers, placement, config, [*context.inputs, *context.constants], outputs)
    SemaphoreAllocator(config.lanes, {
        Memory.SCRATCHPAD: config.scratchpad_bytes, Memory.WEIGHTS: config.weight_bytes,
        Memory.SCRATCH: placement.sizes[Region.SCRATCH], Memory.OUTPUT: placement.sizes[Region.OUTPUT],
    }).run(program.commands)
    image, streams, records = encode(program, {layer.index: layer.name for layer in layers})
    check_sizes(context.graph.name, {Region.PROGRAM: len(image)})
    return JobPlan(layers, placement, image, streams, predict(program.commands, records, config, memory))


def check_sizes(name: str, sizes: dict[Region, int]) -> None:
    """Raise `GraphError` for a region that the commands' 32-bit offsets do not reach."""
    for region, size in sizes.items():
        if size > REGION_LIMIT:
            raise GraphError(f"network {name!r} needs {size} bytes in region {region.name}; a region has at most "
                             f"{REGION_LIMIT} bytes: use smaller images or split the network")
