"""Integers for the tail's sums and products that give the same byte as a framework, for every pair of int8.

There are 65 536 pairs, so a function of two int8 is given as its table, and what the chip would compute with some
parameters is compared with all of it. Frameworks that add in float32 round after every
operation; the chip, in `Rounding.FLOAT`, computes one exact sum

    rint(a * A + b * B + C),    a and b less their zero points

and rounds once. The table says on which side of each half a sum must be: two linear inequalities in A, B and C for
each pair. The ratios of the scales nearly satisfy them; some fail because float32 rounded a sum across a half, and hold
when A, B and C are moved by less than the last place of a float32. A product, rint(a * b * A), has one coefficient:
each pair limits it to an interval.
"""

import math

import numpy as np

from ..arch import Rounding
from ..graph import GraphError
from ..graph.numerics.fixedpoint import quantize_multiplier, rounding_divide, saturating_doubling_high_multiply
from ..graph.numerics.requantize import add_parameters

_BYTES = np.arange(-128, 128, dtype=np.int64)
_INPUT_FRACTION = 11  # fraction bits of a sum whose `add_shift_o` is 0
# Inequalities within this of their limit may fail when the coefficients move by a last place of float32: 2**-24 of
# them, times values of up to 2**9, with 5 bits to spare.
_CLOSE = 2.0**-10
_STEPS = 4000  # of the relaxation; what can be solved is solved in a few hundred


def chip_table(fields: dict[str, int], rounding: Rounding) -> np.ndarray:
    """What the tail makes of every pair: int8 (256, 256), [own value + 128, residual + 128].

    `fields`: the add_* fields of the TENSOR command (see `lepton.arch.commands`).
    """
    a = (_BYTES - fields["add_zero_a"])[:, None]
    b = (_BYTES - fields["add_zero_b"])[None, :]
    if fields.get("multiply"):
        if rounding is Rounding.FLOAT:
            y = _half_to_even(a * b * fields["add_mult_o"] >> fields["add_shift_o"])
        else:
            y = _rescaled(a * b, fields, "o")
    elif rounding is Rounding.FLOAT:
        scaled_a, scaled_b = (d * fields[f"add_mult_{n}"] >> fields[f"add_shift_{n}"] for n, d in (("a", a), ("b", b)))
        total = scaled_a + scaled_b + fields["add_mult_o"]
        y = _half_to_even(total << 20 >> fields["add_shift_o"])
    else:
        y = _rescaled(_rescaled(a << 20, fields, "a") + _rescaled(b << 20, fields, "b"), fields, "o")
    return np.clip(y + fields["add_zero_o"], fields["add_min"], fields["add_max"]).astype(np.int8)


def _half_to_even(scaled: np.ndarray) -> np.ndarray:
    """`scaled` / 2**31, rounded half to even."""
    whole = scaled >> 31
    return whole + ((scaled & (1 << 31) - 1) + (whole & 1) > 1 << 30)


def _rescaled(x: np.ndarray, fields: dict[str, int], name: str) -> np.ndarray:
    return rounding_divide(saturating_doubling_high_multiply(x, np.int64(fields[f"add_mult_{name}"])),
                           fields[f"add_shift_{name}"])


def fit_fixed(table: np.ndarray, scales: tuple[float, float, float], zeros: tuple[int, int, int],
              signs: tuple[int, int] = (1, 1)) -> dict[str, int] | None:
    """The add_* fields of TFLite's ADD, or of SUB with a negative sign for what is taken away, if they give `table`.

    Scales and zero points: own value, residual, output. Ties of the first rounding go up, whatever the sign of the
    multiplier, so a negated one need not give the negated number; the comparison with `table` finds where it does not.
    """
    try:
        fields = add_parameters(*scales)
    except GraphError:
        return None
    fields |= {name: sign * fields[name] for name, sign in zip(("add_mult_a", "add_mult_b"), signs, strict=True)}
    fields = _complete(fields, table, zeros)
    return fields if np.array_equal(chip_table(fields, Rounding.DOUBLE), table) else None


def fit_float(table: np.ndarray, ratios: tuple[float, float], zeros: tuple[int, int, int]) -> dict[str, int] | None:
    """The add_* fields of a command with `Rounding.FLOAT` that give `table`, or None if there are none.

    table: int8 (256, 256), [own value + 128, residual + 128]: what the framework computes, clamped.
    ratios: about what each operand is multiplied by, its scale over the output's; negative to subtract.
    zeros: zero points of own value, residual and output.
    """
    table = np.asarray(table, np.int8)
    # Kernels that add the zero point before they round have their ties on the other side where it is odd.
    for zero in (zeros[2], zeros[2] - 1 if zeros[2] > -128 else zeros[2] + 1):
        x = np.array([*ratios, zeros[2] - zero], float)
        for margin in (None, 1.0, 0.25):
            moved = x if margin is None else _relaxed(x, table, zeros, zero, margin)
            fields = _fields(moved, table, (*zeros[:2], zero))
            if fields is not None and np.array_equal(chip_table(fields, Rounding.FLOAT), table):
                return fields
    return None


def fit_product(table: np.ndarray, ratio: float, zeros: tuple[int, int, int],
                rounding: Rounding) -> dict[str, int] | None:
    """The add_* fields of a command with `multiply` that give `table`, or None if there are none.

    table: int8 (256, 256), [own value + 128, residual + 128]: what the framework computes, clamped.
    ratio: the product of the operands' scales over the output's. zeros: of own value, residual and output.
    """
    low, high = _product_limits(table, zeros) if rounding is Rounding.FLOAT else (ratio, ratio)
    for factor in (ratio, (low + high) / 2):
        if not 0 < factor < 1:
            continue
        multiplier, shift = quantize_multiplier(factor)
        fields = _complete({"multiply": 1, "add_mult_o": multiplier, "add_shift_o": -shift}, table, zeros)
        if shift <= 0 and np.array_equal(chip_table(fields, rounding), table):
            return fields
    return None


def _product_limits(table: np.ndarray, zeros: tuple[int, int, int]) -> tuple[float, float]:
    """The factors between which each product is rounded to its result; beyond those of the clamps, they are free."""
    a, b = np.broadcast_arrays((_BYTES - zeros[0])[:, None], (_BYTES - zeros[1])[None, :])
    product = np.where(a * b == 0, np.nan, a * b)
    wanted = table.astype(float) - zeros[2]
    ends = np.stack([(wanted - 0.5) / product, (wanted + 0.5) / product])
    below = np.where(table == table.min(), -np.inf, ends[0]), np.where(table == table.max(), np.inf, ends[1])
    lower = np.where(product > 0, below[0], np.where(table == table.max(), -np.inf, ends[1]))
    upper = np.where(product > 0, below[1], np.where(table == table.min(), np.inf, ends[0]))
    return float(np.nanmax(lower)), float(np.nanmin(upper))


def _complete(fields: dict[str, int], table: np.ndarray, zeros: tuple[int, int, int]) -> dict[str, int]:
    return fields | {"add": 1, "add_zero_a": zeros[0], "add_zero_b": zeros[1], "add_zero_o": zeros[2],
                     "add_min": int(table.min()), "add_max": int(table.max())}


def _point(x: np.ndarray) -> int:
    """Fraction bits with which the coefficients fit int32."""
    return 31 - max(math.frexp(v)[1] for v in x)


def _fields(x: np.ndarray, table: np.ndarray, zeros: tuple[int, int, int]) -> dict[str, int] | None:
    """A, B and C with as many fraction bits as fit; None where even the fewest do not."""
    point = min(_point(x), 31)
    mult = [round(v * 2.0**point) for v in x]
    if max(map(abs, mult)) >= 1 << 31:  # it was rounded up to a power of two
        point -= 1
        mult = [round(v * 2.0**point) for v in x]
    if point < _INPUT_FRACTION:
        return None
    return _complete({"add_mult_a": mult[0], "add_mult_b": mult[1], "add_mult_o": mult[2], "add_shift_a": 0,
                      "add_shift_b": 0, "add_shift_o": point - _INPUT_FRACTION}, table, zeros)


def _relaxed(x: np.ndarray, table: np.ndarray, zeros: tuple[int, int, int], zero: int, margin: float) -> np.ndarray:
    """`x` moved so far that every sum is on its side of the halves, by Agmon's relaxation: again and again onto the
    inequality that fails most. They are kept from the halves by what rounding the coefficients can do (`margin` 1)."""
    rows, limits = _inequalities(x, table, zeros, zero)
    if not len(rows):
        return x
    away = margin * 2.0 ** (9 - _point(x))  # |a| + |b| + 1 < 2**9 + 2, each coefficient off by half a last place
    lengths = (rows**2).sum(axis=1)
    for _ in range(_STEPS):
        slack = rows @ x - limits
        worst = int(slack.argmin())
        if slack[worst] >= away:
            break
        x = x + rows[worst] * (1.5 * (away - slack[worst]) / lengths[worst])
    return x


def _inequalities(x: np.ndarray, table: np.ndarray, zeros: tuple[int, int, int],
                  zero: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, limits) of those rows @ (A, B, C) >= limits that `x` fails or nearly fails."""
    a, b = np.broadcast_arrays((_BYTES - zeros[0])[:, None], (_BYTES - zeros[1])[None, :])
    sums = a * x[0] + b * x[1] + x[2]
    wanted = table.astype(np.int64)
    rows: list[np.ndarray] = []
    limits: list[np.ndarray] = []
    for sign, clamped in ((1, table.min()), (-1, table.max())):  # above the lower half, below the upper one
        limit = sign * (wanted - zero) - 0.5
        near = (sign * sums - limit < _CLOSE) & (table != clamped)
        rows.append(sign * np.stack([a[near], b[near], np.ones(near.sum())], axis=1))
        limits.append(limit[near])
    return np.concatenate(rows).astype(float), np.concatenate(limits)
