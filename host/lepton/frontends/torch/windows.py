"""Options of convolutions, pools and interpolations, (y, x), of images (N, C, H, W) or rows (N, C, W)."""

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


def stated_scales(arguments: Arguments) -> tuple[float, float] | None:
    """The factors of an interpolation that the module states; where it states none, sizes decide."""
    if arguments.has("scale_factors"):
        factors = arguments.numbers("scale_factors")
    else:
        both = (arguments.optional_number("scales_h"), arguments.optional_number("scales_w"))
        factors = tuple(factor for factor in both if factor is not None)
    return (factors[0], factors[-1]) if factors else None
