"""Commands between scheduler and encoder, with the memory that each reads and writes."""

from dataclasses import dataclass, field
from enum import Enum

from ..arch import DmaOpcode, Engine, Region, Space
from .image import Image
from .tiling import Tile


class Memory(Enum):
    """The memories whose accesses must keep their order: those on the chip, and the regions that a job writes."""

    SCRATCHPAD = "scratchpad"
    WEIGHTS = "weights"
    OUTPUT = "OUTPUT"
    SCRATCH = "SCRATCH"


_WRITTEN_REGIONS = {Region.OUTPUT: Memory.OUTPUT, Region.SCRATCH: Memory.SCRATCH}


@dataclass(frozen=True)
class Access:
    """Bytes [start, stop) of a memory; both are multiples of the lane count."""

    where: Memory
    start: int
    stop: int


@dataclass(eq=False)
class Command:
    """One command. `fields` are those of its record but for `wait`, `post` and `fence`, which `semaphores` adds."""

    engine: Engine
    fields: dict[str, int]
    reads: list[Access]
    writes: list[Access]


@dataclass(frozen=True)
class WeightRows:
    """Rows of one LOAD to the weight memory: of `size` bytes, in up to three loops of (count, bytes between them in
    memory, bytes between them on chip)."""

    size: int
    loops: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Area:
    """Part of an activation in the scratchpad: blocks, rows and columns [start, stop), without gaps."""

    address: int
    blocks: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    pixel_bytes: int
    row_bytes: int
    inset: int = 0  # bytes before the first pixel that belong to the same rows
    block_step: int = 0  # bytes between blocks where the area has only some rows of them

    @property
    def block_bytes(self) -> int:
        return self.block_step or (self.rows[1] - self.rows[0]) * self.row_bytes

    def at(self, block: int, row: int, byte: int = 0) -> int:
        """Address of a row of a block, `byte` bytes to the right of the image's column 0; may be outside."""
        return (self.address + (block - self.blocks[0]) * self.block_bytes + (row - self.rows[0]) * self.row_bytes
                + byte - self.columns[0] * self.pixel_bytes)

    def accesses(self, blocks: tuple[int, int], rows: tuple[int, int]) -> list[Access]:
        """The bytes of whole rows; one run per block, or one for all where blocks are complete."""
        if rows == self.rows and not self.block_step:
            return [Access(Memory.SCRATCHPAD, self._row(blocks[0], rows[0]), self._row(blocks[1], rows[0]))]
        return [Access(Memory.SCRATCHPAD, self._row(b, rows[0]), self._row(b, rows[1])) for b in range(*blocks)]

    def _row(self, block: int, row: int) -> int:
        return self.at(block, row, self.columns[0] * self.pixel_bytes) - self.inset


def tile_area(address: int, blocks: tuple[int, int], tile: Tile, lanes: int) -> Area:
    """The area of a tile buffer that holds output or residual pixels of a tile."""
    return Area(address, blocks, tile.rows, tile.columns, lanes, (tile.columns[1] - tile.columns[0]) * lanes)


def transfer(opcode: DmaOpcode, layer: int, region: Region, offset: int, area: Area, part: Area,
             image: Image) -> Command:
    """LOAD or STORE of `part`'s blocks, rows and columns between its place in `area` and memory.

    `offset` is where `image`, the tensor, starts in the region.
    """
    memory_block = image.block_bytes
    memory_row = image.row_bytes
    memory_pixel = image.pixel_bytes
    b0, b1 = part.blocks
    r0, r1 = part.rows
    c0, c1 = part.columns
    columns = (c1 - c0) * part.pixel_bytes
    rows = r1 - r0
    blocks = b1 - b0
    if image.folded and part.columns == area.columns and area.row_bytes == memory_row:
        columns = area.row_bytes  # whole rows, with what follows the last pixel
    offset += b0 * memory_block + r0 * memory_row + c0 * memory_pixel
    local = area.at(b0, r0, c0 * part.pixel_bytes)
    # What is contiguous on both sides becomes one row.
    runs = [(rows, memory_row, area.row_bytes), (blocks, memory_block, area.block_bytes)]
    length = columns
    steps: list[tuple[int, int, int]] = []
    if memory_pixel != part.pixel_bytes:  # pixel by pixel
        length = part.pixel_bytes
        runs = [(c1 - c0, memory_pixel, part.pixel_bytes), *runs]
        columns = (c1 - c0 - 1) * memory_pixel + part.pixel_bytes
    for count, memory_step, local_step in runs:
        if count == 1:
            continue
        if not steps and length == memory_step == local_step:
            length *= count
        else:
            steps.append((count, memory_step, local_step))
    steps += [(1, 0, 0)] * (3 - len(steps))
    fields = {"opcode": opcode, "layer": layer, "region": region, "space": Space.SCRATCHPAD, "offset": offset,
              "local": local, "row_bytes": length}
    for i, (count, memory_step, local_step) in enumerate(steps, 1):
        fields |= {f"count{i}": count, f"mem_step{i}": memory_step, f"local_step{i}": local_step}
    chip = area.accesses(part.blocks, part.rows)
    contended = _WRITTEN_REGIONS.get(region)
    if contended is None:
        memory = []
    elif rows * memory_row == memory_block:
        memory = [Access(contended, offset, offset + (blocks - 1) * memory_block + (rows - 1) * memory_row + columns)]
    else:
        memory = [Access(contended, start, start + (rows - 1) * memory_row + columns)
                  for start in range(offset, offset + blocks * memory_block, memory_block)]
    if opcode == DmaOpcode.STORE:
        return Command(Engine.STORE, fields, chip, memory)
    return Command(Engine.LOAD, fields, memory, chip)


def packed_transfers(opcode: DmaOpcode, layer: int, region: Region, offset: int, part: Area,
                     image: Image) -> list[Command]:
    """LOADs or STOREs of the area `part` of an image whose pixels have `image.channels` bytes in memory.

    `offset` is where the tensor starts in the region.
    """
    lanes = part.pixel_bytes
    channels = image.channels
    b0, b1 = part.blocks
    r0, r1 = part.rows
    c0, c1 = part.columns
    if image.height == image.width == 1:  # one run of bytes
        runs = [(b0, b1, min(b1 * lanes, channels) - b0 * lanes)]
    else:
        runs = [(b, b + 1, min((b + 1) * lanes, channels) - b * lanes) for b in range(b0, b1)]
    commands = []
    for first, stop, size in runs:
        start = offset + (r0 * image.width + c0) * channels + first * lanes
        fields = {
            "opcode": opcode, "layer": layer, "region": region, "space": Space.SCRATCHPAD, "offset": start,
            "local": part.at(first, r0, c0 * lanes), "row_bytes": size,
            "count1": c1 - c0, "mem_step1": channels, "local_step1": lanes,
            "count2": r1 - r0, "mem_step2": image.width * channels, "local_step2": part.row_bytes,
            "count3": 1,
        }
        chip = part.accesses((first, stop), part.rows)
        end = start + ((r1 - r0 - 1) * image.width + c1 - c0 - 1) * channels + size
        contended = _WRITTEN_REGIONS.get(region)
        memory = [] if contended is None else [Access(contended, start, end)]
        if opcode == DmaOpcode.STORE:
            commands.append(Command(Engine.STORE, fields, chip, memory))
        else:
            commands.append(Command(Engine.LOAD, fields, memory, chip))
    return commands


def weight_transfer(layer: int, region: Region, offset: int, address: int, rows: "WeightRows") -> Command:
    """LOAD of rows that begin at `offset` of a region to the weight memory, the first of them to byte `address`."""
    fields = {"opcode": DmaOpcode.LOAD, "layer": layer, "region": region, "space": Space.WEIGHTS,
              "offset": offset, "local": address, "row_bytes": rows.size, "count1": 1, "count2": 1, "count3": 1}
    read = rows.size
    written = rows.size
    for i, (count, memory_step, local_step) in enumerate(rows.loops, 1):
        fields |= {f"count{i}": count, f"mem_step{i}": memory_step, f"local_step{i}": local_step}
        read += (count - 1) * memory_step
        written += (count - 1) * local_step
    contended = _WRITTEN_REGIONS.get(region)
    memory = [] if contended is None else [Access(contended, offset, offset + read)]
    return Command(Engine.LOAD, fields, memory, [Access(Memory.WEIGHTS, address, address + written)])


def constant_transfer(layer: int, offset: int, address: int, size: int) -> Command:
    """LOAD of constants at `offset` in region PROGRAM to byte `address` of the scratchpad."""
    command = weight_transfer(layer, Region.PROGRAM, offset, address, WeightRows(size))
    command.fields["space"] = Space.SCRATCHPAD
    command.writes[:] = [Access(Memory.SCRATCHPAD, address, address + size)]
    return command


@dataclass
class CommandSequence:
    """The commands of a job in the order of a sequential execution, and its constants."""

    commands: list[Command] = field(default_factory=list)
    constants: bytearray = field(default_factory=bytearray)
