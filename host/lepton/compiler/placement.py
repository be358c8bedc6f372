"""Which tensors stay in the scratchpad between layers, and the address of everything, on chip and in memory."""

from dataclasses import dataclass, field

from ..arch import ChipConfig, Region
from ..graph import GraphError
from .choice import choose, fixed_weight_bytes, smallest
from .image import Image
from .layers import ChipLayer
from .tiling import Streams, Tiling

MEMORY_ALIGNMENT = 64  # whole beats on every bus (`ChipConfig.bus_bytes` is at most 64)


class LayerDoesNotFit(GraphError):
    """No tiling of a layer, the one at `position`, fits the chip's memories."""

    def __init__(self, position: int, text: str):
        super().__init__(text)
        self.position = position


@dataclass(frozen=True)
class Place:
    """Where an activation is in memory."""

    region: Region
    offset: int


@dataclass
class Slots:
    """Scratchpad addresses of a layer's tile buffers."""

    source: list[int] = field(default_factory=list)
    output: list[int] = field(default_factory=list)
    residual: list[int] = field(default_factory=list)
    constants: int = 0


@dataclass
class Placement:
    """The outcome: tilings and tile buffers per layer, addresses of what is resident, places in memory."""

    tilings: list[Tiling]
    slots: list[Slots]
    resident: dict[str, int]  # buffer -> scratchpad address
    memory: dict[str, Place]  # buffer -> place in memory, for what travels
    sizes: dict[Region, int]  # of INPUT, OUTPUT and SCRATCH
    constants: bytes  # activations that are constant, from the beginning of region PROGRAM on
    kept: frozenset[str]  # buffers that are in memory too, since layers read weight tiles from there


@dataclass(eq=False)
class _Located:
    image: Image
    first: int  # layers that it lives through
    last: int
    outside: bool = False
    uses: int = 0  # as source or residual, not as weights
    made: bool = False

    @property
    def size(self) -> int:
        return self.image.buffer_bytes


@dataclass(frozen=True)
class _Item:
    """Something to be placed that lives from layer `first` to layer `last`."""

    key: object
    size: int
    first: int
    last: int


def _first_fit(items: list[_Item], alignment: int) -> dict[object, int]:
    """An address for each item so that none that live at the same time overlap; the largest are placed first."""
    placed: list[tuple[int, _Item]] = []
    for item in sorted(items, key=lambda i: (-i.size, i.first)):
        address = 0
        for other, taken in sorted(placed, key=lambda p: p[0]):
            if taken.first <= item.last and item.first <= taken.last and address + item.size > other:
                address = max(address, -(-(other + taken.size) // alignment) * alignment)
        placed.append((address, item))
    return {item.key: address for address, item in placed}


class Placer:
    """Decides for the layers of one job. What does not fit the scratchpad passes through memory: one resident tensor
    after the other is given up until every layer has room for its tiles."""

    def __init__(self, layers: list[ChipLayer], config: ChipConfig, inputs: list[str], outputs: list[str],
                 constants: dict[str, bytes]):
        self.layers = layers
        self.config = config
        self.inputs = inputs
        self.outputs = outputs
        self.constants = constants
        self.buffers: dict[str, _Located] = {}
        for position, layer in enumerate(layers):
            for image in (layer.source, layer.residual):
                if image is not None:
                    buffer = self.buffers.setdefault(image.name, _Located(image, position, position, outside=True))
                    buffer.last = position
                    buffer.uses += 1
            if layer.computed is not None:
                tiles = layer.computed.image
                self.buffers.setdefault(tiles.name, _Located(tiles, position, position, outside=True)).last = position
            buffer = self.buffers.setdefault(layer.output.name, _Located(layer.output, position, position))
            buffer.last = position  # others may have written other blocks
            buffer.made = True
        # ROWS may still read while layers behind compute: its memory is free when a layer reads its results.
        self.ends = [self._end(position) for position in range(len(layers))]
        for position, end in enumerate(self.ends):
            buffer = self.buffers[layers[position].source.name]
            buffer.last = max(buffer.last, end)
        # What several layers write pixel by pixel (`Image.every`) is stored in the same way, from tile buffers.
        scattered = {layer.output.name for layer in layers if layer.output.block_step} & set(outputs)
        scattered |= {layer.output.name for layer in layers if layer.output.channels}  # packed only in memory
        self.kept = frozenset(layer.computed.image.name for layer in layers if layer.computed is not None)
        self.resident = {name for name, b in self.buffers.items()
                         if b.size <= config.scratchpad_bytes and name not in scattered and (b.uses or b.made)}

    def _end(self, position: int) -> int:
        """The last position at which a layer may still compute."""
        layer = self.layers[position]
        if layer.rows is None:
            return position
        readers = (later for later in range(position + 1, len(self.layers))
                   if layer.output.name in {image.name for image in self.layers[later].read})
        return next(readers, position + 1) - 1

    def place(self) -> Placement:
        """Raises `LayerDoesNotFit`."""
        while True:
            tilings = self._tile()
            addresses = self._scratchpad(tilings)
            if addresses is not None:
                break
        slots = [self._slots(tiling, addresses.get(position, 0)) for position, tiling in enumerate(tilings)]
        memory, sizes = self._memory()
        constants = bytearray()
        for name, data in self.constants.items():
            constants += bytes(-len(constants) % MEMORY_ALIGNMENT)
            memory[name] = Place(Region.PROGRAM, len(constants))
            constants += data
        return Placement(tilings, slots, {name: addresses[name] for name in self.resident}, memory, sizes,
                         bytes(constants), self.kept)

    def _streams(self, layer: ChipLayer) -> Streams:
        return Streams(layer.source.name not in self.resident, layer.output.name not in self.resident,
                       layer.residual is not None and layer.residual.name not in self.resident)

    def _alive(self, position: int) -> list[str]:
        return [name for name in self.buffers
                if name in self.resident and self.buffers[name].first <= position <= self.buffers[name].last]

    def _tile(self) -> list[Tiling]:
        """Tilings for all layers; resident tensors are given up where there is no room for reasonable tiles."""
        position = 0
        tilings: list[Tiling] = []
        while position < len(self.layers):
            layer = self.layers[position]
            alive = self._alive(position)
            room = self.config.scratchpad_bytes - sum(self.buffers[name].size for name in alive)
            streams = self._streams(layer)
            tiling = choose(layer, self.config, streams, room) if room >= 0 else None
            if tiling is None and not alive:
                tiling = choose(layer, self.config, streams, room, buffers=1)
            if tiling is not None and (self._reasonable(tiling) or not alive):
                tilings.append(tiling)
                position += 1
                continue
            if not alive:
                self._fail(position, layer)
            self._demote(alive, position)
            # Earlier layers may have more room now, and other streams: start again.
            position = 0
            tilings = []
        return tilings

    def _reasonable(self, tiling: Tiling) -> bool:
        """True where tiles are so large that weights enter the array behind the pixels, in a cycle for each lane: twice
        as many pixels as lanes. With everything resident tiles are as large as the chip allows."""
        plane = tiling.layer.output.height * tiling.layer.output.width
        enough = min(plane, 2 * self.config.lanes, self.config.accumulator_rows // 2)
        return tiling.bytes == 0 or tiling.rows * tiling.columns >= enough

    def _demote(self, alive: list[str], position: int) -> None:
        """Give up one resident tensor: first those that layers only read as weights, then those that the host sends and
        one layer reads, then the largest."""
        def worth(name: str) -> tuple[bool, bool, int, str]:
            buffer = self.buffers[name]
            return (name not in self.kept or buffer.uses > 0, not (buffer.outside and buffer.uses == 1), -buffer.size,
                    name)
        self.resident.remove(min(alive, key=worth))

    def _fail(self, position: int, layer: ChipLayer) -> None:
        streams = self._streams(layer)
        raise LayerDoesNotFit(
            position,
            f"layer {layer.name!r} ({layer.op}, {layer.input_shape} to {layer.output_shape}) does not fit chip "
            f"{self.config.name!r}: its smallest tiles need {smallest(layer, self.config, streams)} bytes and the "
            f"scratchpad has {self.config.scratchpad_bytes}; its parameters with one tile of weights need "
            f"{fixed_weight_bytes(layer, self.config)} bytes and half of the weight memory has "
            f"{self.config.weight_bytes // 2}; compile for a larger configuration")

    def _scratchpad(self, tilings: list[Tiling]) -> dict[object, int] | None:
        """Addresses of resident tensors (by name) and tile buffers (by layer); None after another demotion."""
        items = [_Item(name, self.buffers[name].size, self.buffers[name].first, self.buffers[name].last)
                 for name in sorted(self.resident)]
        items += [_Item(position, t.bytes, position, self.ends[position])
                  for position, t in enumerate(tilings) if t.bytes]
        addresses = _first_fit(items, self.config.lanes)
        for item in items:
            if addresses[item.key] + item.size > self.config.scratchpad_bytes:
                # There is room in total, but not in one piece.
                candidates = {n for p in range(item.first, item.last + 1) for n in self._alive(p)}
                if candidates:
                    self._demote(sorted(candidates), item.first)
                else:  # tile buffers that ROWS would keep longer
                    self.ends = list(range(len(self.layers)))
                return None
        return addresses

    @staticmethod
    def _slots(tiling: Tiling, address: int) -> Slots:
        slots = Slots()
        sizes = tiling.source_bytes, tiling.output_bytes, tiling.residual_bytes
        for addresses, count, size in zip((slots.source, slots.output, slots.residual), tiling.slots, sizes,
                                          strict=True):
            for _ in range(count):
                addresses.append(address)
                address += size
        slots.constants = address
        return slots

    def _memory(self) -> tuple[dict[str, Place], dict[Region, int]]:
        """Inputs and outputs in their regions one after the other, spilled and kept tensors in SCRATCH by lifetime."""
        memory: dict[str, Place] = {}
        sizes = {Region.INPUT: 0, Region.OUTPUT: 0, Region.SCRATCH: 0}
        for region, names in ((Region.INPUT, self.inputs), (Region.OUTPUT, self.outputs)):
            for name in names:
                memory[name] = Place(region, sizes[region])
                end = sizes[region] + self.buffers[name].size
                sizes[region] = -(-end // MEMORY_ALIGNMENT) * MEMORY_ALIGNMENT
        spilled = [_Item(name, b.size, b.first, b.last) for name, b in self.buffers.items()
                   if (name not in self.resident or name in self.kept) and name not in memory
                   and name not in self.constants]
        for key, offset in _first_fit(spilled, MEMORY_ALIGNMENT).items():
            name = str(key)
            memory[name] = Place(Region.SCRATCH, offset)
            sizes[Region.SCRATCH] = max(sizes[Region.SCRATCH], offset + self.buffers[name].size)
        return memory, sizes
