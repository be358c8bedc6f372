"""Layers in another order, so that TENSOR computes while ROWS does.

Commands of both engines run at the same time where no data stand between them; a stream is in the order of the job's
layers. So layers that work head by head, or on channels that later layers read head by head, are cut to pieces
(`pieces`), and pieces are put in an order in which neither engine waits for the other where it need not:

- first what a piece of ROWS needs, then the piece, then what reads the piece before it;
- before that, whatever can begin at once, where all of these would have to wait.

Every piece comes behind those that write what it reads or writes, or read what it writes, as in the given order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..arch import ChipConfig
from .layers import ChipLayer
from .pieces import BufferPart, in_pieces, own_buffers, regions
from .tiling import ROWS_PASSES

# From the end of a layer to the arrival of what it stored as weight tiles of another: 640 cycles as `timing` has it for
# 128 pixels of 32 channels, of which four latencies of memory are 256.
_ROUND_TRIP = 700


@dataclass(eq=False)
class _ScheduledPiece:
    """A part of the layer at `position`, and the pieces that must come before it, by their places."""

    position: int
    layer: ChipLayer
    cycles: int
    before: set[int] = field(default_factory=set)
    tiles: set[int] = field(default_factory=set)  # those of them that make its weight tiles

    @property
    def rows(self) -> bool:
        """Whether it is for ROWS."""
        return self.layer.rows is not None


def overlapped(layers: list[ChipLayer], config: ChipConfig, fixed: set[str]) -> list[tuple[int, ChipLayer]]:
    """The layers of a job as pieces in a better order, each with the position of its layer; the layers as they are
    where nothing is to be gained. fixed: buffers that the host knows, or the program, by their names."""
    whole = list(enumerate(layers))
    parts = in_pieces(layers)
    if len(parts) == len(layers):
        return whole
    pieces = [_ScheduledPiece(position, layer, _cycles(layer, config)) for position, layer in parts]
    _add_dependencies(pieces)
    order = list(_in_time(pieces, _ranks(pieces)))
    return own_buffers([(pieces[i].position, pieces[i].layer) for i in order], fixed)


def _cycles(layer: ChipLayer, config: ChipConfig) -> int:
    """Roughly what a piece keeps its engine busy."""
    pixels = layer.output.height * layer.output.width
    if layer.rows is not None:
        return pixels * layer.source.blocks * ROWS_PASSES * config.lanes // max(config.row_lanes, 1)
    if layer.weighted:
        passes = layer.planes * sum(len(tiles) for tiles in layer.tiles) * layer.kernel[0] * layer.kernel[1]
        return passes * max(pixels, config.lanes)
    return layer.output.blocks * layer.kernel[0] * layer.kernel[1] * pixels


def _add_dependencies(pieces: list[_ScheduledPiece]) -> None:
    seen: dict[str, list[tuple[int, BufferPart, bool]]] = {}
    for place, piece in enumerate(pieces):
        own = list(regions(piece.layer))
        for region, writes in own:
            for other, earlier, wrote in seen.get(region.name, ()):
                if (writes or wrote) and region.meets(earlier):
                    piece.before.add(other)
                    if piece.layer.computed is not None and region.name == piece.layer.computed.image.name:
                        piece.tiles.add(other)
        for region, writes in own:
            seen.setdefault(region.name, []).append((place, region, writes))


def _ranks(pieces: list[_ScheduledPiece]) -> list[int]:
    """For each piece its place in the order in which they are wanted."""
    wanted: list[int] = []
    taken: set[int] = set()
    readers: dict[int, list[int]] = {}
    for place, piece in enumerate(pieces):
        for other in piece.before:
            readers.setdefault(other, []).append(place)

    def want(place: int) -> None:
        missing = [place]
        found: set[int] = set()
        while missing:
            one = missing.pop()
            if one not in found and one not in taken:
                found.add(one)
                missing += pieces[one].before
        taken.update(found)
        wanted.extend(sorted(found))

    last: int | None = None
    for place, piece in enumerate(pieces):
        if piece.rows:
            want(place)
            for reader in readers.get(last, ()) if last is not None else ():
                if not any(pieces[other].rows and other not in taken for other in pieces[reader].before):
                    want(reader)
            last = place
    for place in range(len(pieces)):
        want(place)
    ranks = [0] * len(pieces)
    for rank, place in enumerate(wanted):
        ranks[place] = rank
    return ranks


def _in_time(pieces: list[_ScheduledPiece], ranks: list[int]) -> Iterator[int]:
    """The pieces by when they can begin, and by rank where several can."""
    waiting = [set(piece.before) for piece in pieces]
    readers: list[list[int]] = [[] for _ in pieces]
    for place, piece in enumerate(pieces):
        for other in piece.before:
            readers[other].append(place)
    ready = {place: 0 for place, left in enumerate(waiting) if not left}  # when its operands are there
    ends = [0] * len(pieces)
    free = {False: 0, True: 0}  # when TENSOR, and ROWS, can begin another
    while ready:
        chosen = min(ready, key=lambda place: (max(ready[place], free[pieces[place].rows]), ranks[place]))
        piece = pieces[chosen]
        done = max(ready.pop(chosen), free[piece.rows]) + piece.cycles
        free[piece.rows] = done
        ends[chosen] = done
        yield chosen
        for reader in readers[chosen]:
            waiting[reader].discard(chosen)
            if not waiting[reader]:
                ready[reader] = max(ends[other] + _ROUND_TRIP * (other in pieces[reader].tiles)
                                    for other in pieces[reader].before)
