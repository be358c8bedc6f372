"""The choice between the tilings of a layer that fit the memories, by their estimated cycles."""

from ..arch import ChipConfig
from .layers import ChipLayer
from .tiling import Streams, Tiling


def _halvings(extent: int) -> list[int]:
    """`extent`, half of it rounded up, and so on down to 1."""
    sizes: list[int] = []
    while extent > 1:
        sizes.append(extent)
        extent = -(-extent // 2)
    return [*sizes, 1]


def _even_splits(extent: int) -> list[int]:
    """The distinct sizes ceil(extent / n), largest first."""
    return sorted({-(-extent // n) for n in range(1, extent + 1)}, reverse=True)


def choose(layer: ChipLayer, config: ChipConfig, streams: Streams, budget: int, buffers: int = 2) -> Tiling | None:
    """The tiling with the least estimated cycles that fits `budget` scratchpad bytes, the accumulators and the weight
    memory; None if there is none. `buffers`: of each streamed tensor."""
    if fixed_weight_bytes(layer, config) > config.weight_bytes // 2:
        return None
    dot = layer.weighted
    if not dot:
        most = layer.output.blocks
    else:
        most = max(len(w) for w in layer.tiles) if streams.source else layer.source.blocks
    best: Tiling | None = None
    best_key: tuple[float, int] | None = None
    tried = 0
    one = layer.rows is not None or (dot and not streams.source)  # a row has all of its channels
    for blocks in [most] if one else _halvings(most):
        for columns in _halvings(layer.output.width):
            for rows in _even_splits(layer.output.height):
                if layer.rows is None and rows * columns * (1 if dot else blocks) > config.accumulator_rows:
                    continue
                tiling = Tiling(layer, config, streams, rows, columns, blocks, buffers)
                if tiling.bytes > budget:
                    continue
                tried += 1
                key = (tiling.cycles, tiling.tile_count)
                if best_key is None or key < best_key:
                    best = tiling
                    best_key = key
            if best is not None and columns * 2 <= best.columns:
                break  # narrower tiles read more columns twice: once half the width is no better, none is
    if best is not None:
        best.tried = tried
    return best


def fixed_weight_bytes(layer: ChipLayer, config: ChipConfig) -> int:
    """Weight memory that a layer needs at least at a time, of which there are two: a tile and its parameters, or all
    parameters of a layer without weights."""
    if layer.weights is None:
        return len(layer.params) * layer.param_words * config.lanes
    return (config.lanes + layer.param_words) * config.lanes


def smallest(layer: ChipLayer, config: ChipConfig, streams: Streams) -> int:
    """Scratchpad bytes of the smallest tiles, for error messages."""
    blocks = 1 if layer.rows is None else layer.output.blocks
    return Tiling(layer, config, streams, 1, 1, blocks, buffers=1).bytes
