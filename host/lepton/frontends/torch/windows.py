"""Options of convolutions and pools, (y, x), of images (N, C, H, W) or rows (N, C, W)."""

from lepton.graph import Pair

from .nodes import Arguments


def window(arguments: Arguments, name: str, rank: int, across: int) -> Pair:
    """The option `name`: one number for both axes, or one for each. Rows of rank 3 are images one pixel high: they
    have `across` for y."""
    values = arguments.integers(name)
    return pair(values) if rank == 4 else (across, pair(values)[1])


def pair(values: tuple[int, ...]) -> Pair:
    """One number stands for both."""
    return values[0], values[-1]
