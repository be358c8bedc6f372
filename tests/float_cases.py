"""Accumulators and float32 scales at the edges of float32 requantization: rint(float32(x) * scale).

A scale is a pair (multiplier, right), multiplier / 2**(31 + right), with 24 bits at the top of 31.
"""

import random

SIGNIFICAND = 24


def scale_of(significand: int) -> int:
    """The multiplier that a significand of up to 24 bits is."""
    return significand << (31 - significand.bit_length())


def _just_off_a_half(rng):
    """x * scale within a unit in the last place of n + 1/2, on either side, for x of all sizes."""
    for bits in range(1, 32):
        for n in (0, 1, 2, 3, rng.randrange(4, 128), 126, 127, 200):
            x = min(rng.getrandbits(bits) | 1 << bits - 1, 2**31 - 65)
            right = 0
            while (2 * n + 1 << 30 + right) // x < 1 << 30 and right < 31:
                right += 1
            middle = (2 * n + 1 << 30 + right) // x
            for off in (-1, 0, 1, 2):
                multiplier = ((middle >> 7) + off) << 7
                if 1 << 30 <= multiplier < 1 << 31:
                    yield x, multiplier, right


def _ties_of_the_product():
    """x * scale is exactly between n + 1/2 and the next float: 25 significant bits."""
    for n in (*range(10), 31, 32, 63, 64, 126, 127, 128):
        half = 2 * n + 1 << SIGNIFICAND - (2 * n + 1).bit_length()
        for product in (2 * half - 1, 2 * half + 1):
            for x in (x for x in range(3, 4096, 2) if product % x == 0 and product // x < 1 << SIGNIFICAND):
                multiplier = scale_of(product // x)
                # x * multiplier is n + 1/2 in units of 2**(31 + right)
                right = (x * multiplier // (2 * n + 1)).bit_length() - 31
                if 0 <= right <= 31:
                    yield x, multiplier, right


def _barely_above_a_tie(rng):
    """As a tie, and more by less than 2**-31: only bits that a shift by `right` cuts off tell them apart."""
    for n in (0, 2, 4, 100, 126):
        half = 2 * n + 1 << SIGNIFICAND - (2 * n + 1).bit_length()
        found = 0
        for _ in range(200_000):
            x = rng.randrange(1 << 23, 1 << 24) << 7
            target = 2 * half + 1
            scale = (target << 62 - target.bit_length()) // x + 1
            multiplier = scale_of(scale >> max(scale.bit_length() - SIGNIFICAND, 0))
            product = x * multiplier
            tie = target << product.bit_length() - target.bit_length()
            right = product.bit_length() - (2 * n + 1).bit_length() - 30
            if 0 <= right <= 31 and 0 < product - tie < 1 << right:
                found += 1
                yield x, multiplier, right
                if found == 2:
                    break


def float_cases(seed: int, random_cases: int = 0):
    """(x, multiplier, right) of both signs: the edges, then `random_cases` plausible ones."""
    rng = random.Random(seed)
    cases = [*_just_off_a_half(rng), *_ties_of_the_product(), *_barely_above_a_tie(rng)]
    # every scale that is a power of two, with its ties; every size at which an accumulator is rounded
    cases += [((2 * n + 1 << right) + off, 1 << 30, right) for right in range(31) for n in (0, 1, 2, 3, 100)
              for off in (-1, 0, 1) if (2 * n + 1 << right) + 1 < 1 << 31]
    cases += [((1 << 23 | rng.getrandbits(23)) << size | low, scale_of((1 << 23) + rng.getrandbits(23)), 16 + size)
              for size in range(1, 8) for low in {0, 1, (1 << size - 1) - 1, 1 << size - 1, (1 << size) - 1}
              for _ in range(6)]
    cases += [(x, multiplier, right) for x in (0, 1, 2**24, 2**24 + 1, 2**24 + 3, 2**31 - 65)
              for multiplier in (1 << 30, (1 << 31) - (1 << 7)) for right in (0, 1, 23, 24, 30, 31)]
    for _ in range(random_cases):
        size = rng.randrange(1, 26)
        multiplier = scale_of((1 << 23) + rng.getrandbits(23))
        cases.append((rng.getrandbits(size), multiplier, max(size - rng.randrange(9), 0)))
    return [(sign * x, multiplier, right) for x, multiplier, right in cases for sign in (1, -1)] + [
        (-2**31, multiplier, right) for multiplier in (1 << 30, 3 << 29) for right in (22, 23, 24, 31)]
