"""The order in which a layer's tiles and output blocks are computed."""

from dataclasses import replace
from itertools import pairwise

from ..arch import ChipConfig
from .tiling import Tile, Tiling
from .weights import WeightSource

# Parts of a job's last tile. Of n parts, 1/n of the tile is left to store after the last command: four hide three
# quarters of that time, and further ones hide little more for a command each.
_LAST_PARTS = 4


def block_groups(tiling: Tiling, weights: WeightSource, config: ChipConfig) -> list[list[int]]:
    """Output blocks whose weights are used for one tile after the other before the next group's are loaded.

    With the source on chip weights travel once, so each block is a group. A streamed source travels once per
    group, weights once per tile unless the group stays in the weight memory: the cheaper is taken.
    """
    blocks = list(range(len(tiling.block_groups)))
    if not tiling.dot or not tiling.streams.source or not tiling.source_loads_once:
        return [[b] for b in blocks]
    tiles = len(tiling.tiles)
    if weights.size <= config.weight_bytes or tiles == 1:
        return [blocks]
    groups: list[list[int]] = [[]]
    held: set[int] = set()  # batches of the group
    size = 0
    for ob in blocks:
        batches = {weights.units[ob, i].batch for i in range(len(tiling.boxes[ob]))} - held
        more = sum(weights.batches[b].size for b in batches)
        if groups[-1] and size + more > config.weight_bytes // 2:  # the other half takes the next group's
            groups.append([])
            held = set()
            size = 0
        groups[-1].append(ob)
        held |= batches
        size += more
    source = tiling.layer.source.size
    if len(groups) * source + weights.size < source + tiles * weights.size:
        return groups
    return [blocks]


def last_parts(tiling: Tiling, tile: Tile, config: ChipConfig) -> list[Tile]:
    """The last tile of a job, in parts: less is left to store after the last of them."""
    if tiling.layer.window or tiling.streams.source or tiling.streams.residual:
        return [tile]
    rows, columns = (stop - start for start, stop in (tile.rows, tile.columns))
    along_rows = rows > 1
    extent = rows if along_rows else columns
    count = min(extent, tile.pixels // config.lanes, _LAST_PARTS)  # a part hides the load of the next weight tile
    if count < 2:
        return [tile]
    start = tile.rows[0] if along_rows else tile.columns[0]
    cuts = [start + extent * i // count for i in range(count + 1)]
    return [replace(tile, rows=span) if along_rows else replace(tile, columns=span) for span in pairwise(cuts)]
