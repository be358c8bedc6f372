"""Random ROWS commands that are legal, and the constants that they read."""

import random
from collections.abc import Sequence

import numpy as np
from lepton.arch import ChipConfig
from lepton.arch.rows import EXPONENTIALS, NORM_WORDS, Rows, RowsOpcode
from lepton_sim.golden.state import ChipState

Fields = dict[str, int]
TABLE_BYTES = 4 * EXPONENTIALS
CONFIGS = {  # by lanes and row lanes; a piece of a word, a whole word
    (lanes, row_lanes): ChipConfig(f"rows{lanes}_{row_lanes}", lanes=lanes, columns=lanes, scratchpad_kib=32,
                                   weight_kib=4, accumulator_rows=64, row_lanes=row_lanes)
    for lanes, row_lanes in ((4, 1), (4, 4), (8, 2), (16, 4))
}
BASIC = dict(opcode=RowsOpcode.SOFTMAX, length=1, count=1, nx=1, ny=1, nz=1, out_shift=23, out_zero=-128, out_min=-128,
             out_max=127)


def blank_chip(config: ChipConfig) -> ChipState:
    """A golden chip whose scratchpad holds random bytes, many of them extremes."""
    chip = ChipState.blank(config)
    rng = np.random.default_rng(random.getrandbits(32))
    chip.scratchpad[:] = rng.integers(0, 256, len(chip.scratchpad), dtype=np.uint8)
    extreme = rng.random(len(chip.scratchpad)) < 0.2
    chip.scratchpad[extreme] = rng.choice(np.array([0x80, 0x7F], np.uint8), extreme.sum())
    return chip


def random_table() -> np.ndarray:
    """EXPONENTIALS uint32: a real table mostly, or noise, or zeros."""
    kind = random.random()
    rng = np.random.default_rng(random.getrandbits(32))
    if kind < 0.1:
        return np.zeros(EXPONENTIALS, np.uint32)
    if kind < 0.4:
        return rng.integers(0, 1 << 32, EXPONENTIALS, dtype=np.uint32)
    scale = 10 ** random.uniform(-3, 1)
    return np.minimum(np.exp(-scale * np.arange(EXPONENTIALS)) * 2.0 ** 31, 2.0 ** 31 - 1).astype(np.uint32)


def random_parameters(blocks: int, lanes: int) -> np.ndarray:
    """Parameter records of NORM for `blocks` blocks, as bytes."""
    rng = np.random.default_rng(random.getrandbits(32))
    channels = blocks * lanes
    limit = 1 << random.choice([3, 15, 23])
    bias_limit = 1 << random.choice([1, 16, 31])
    factor = rng.integers(-limit, limit, channels).astype("<i4")
    bias = rng.integers(-bias_limit, bias_limit, channels).astype("<i4")
    planes = np.concatenate([factor.view(np.uint8).reshape(channels, 4)[:, :3],
                             bias.view(np.uint8).reshape(channels, 4)], 1)
    return planes.reshape(blocks, lanes, NORM_WORDS).transpose(0, 2, 1).ravel()


def _steps(sizes: dict[str, int], unit: int, room: int) -> tuple[int, Fields]:
    """Offset of the first word and the steps of a walk over distinct words, in a random order of dimensions, some
    backwards, with gaps where `room` words allow it."""
    order = random.sample(sorted(sizes), len(sizes))
    gaps = [random.choice([0, 0, 1, 2]) for _ in order]
    for extra in (gaps, [0] * len(order)):
        steps: Fields = {}
        span = 1
        for name, gap in zip(order, extra, strict=True):
            steps[name] = span + gap
            span += steps[name] * (sizes[name] - 1)
        if span <= room:
            break
    offset = 0
    for name in order:
        if random.random() < 0.3:
            offset += steps[name] * (sizes[name] - 1)
            steps[name] = -steps[name]
    return offset * unit, {name: step * unit for name, step in steps.items()}


def random_length(lanes: int, most: int) -> int:
    """Channels of a row, at most `most`: around a word, or anything."""
    return min(most, random.choice([1, lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes - 1,
                                    random.randint(1, 8 * lanes), random.randint(1, most)]))


def random_command(chip: ChipState, opcode: RowsOpcode, sizes: Sequence[int] | None = None,
                   length: int | None = None) -> Fields:
    """A legal command; its table or parameters are put into the golden chip's scratchpad.

    `sizes`: nx, ny and nz. The scratchpad is a third input, a third output and a third constants.
    """
    config = chip.config
    lanes = config.lanes
    room = config.scratchpad_words // 3
    if length is None:
        length = random_length(lanes, room // NORM_WORDS * lanes)
    blocks = -(-length // lanes)
    if sizes is None:
        sizes = [1, 1, 1]
        for i in random.sample(range(3), 3):
            left = min(room // blocks, 40) // int(np.prod(sizes))
            sizes[i] = random.randint(1, max(left, 1))
    nx, ny, nz = sizes
    source, steps = _steps({"x": nx, "y": ny, "z": nz, "block": blocks}, lanes, room)
    fields = dict(
        BASIC, opcode=opcode, layer=random.randrange(256), post=random.getrandbits(16), snapshot=random.getrandbits(1),
        length=length, nx=nx, ny=ny, nz=nz, in_addr=source, out_addr=source,
        **{f"in_{name}": step for name, step in steps.items()}, **{f"out_{name}": step for name, step in steps.items()})
    if random.random() < 0.6:  # otherwise in place
        target, steps = _steps({"x": nx, "y": ny, "z": nz, "block": blocks}, lanes, room)
        fields |= {"out_addr": target + room * lanes, **{f"out_{name}": step for name, step in steps.items()}}
    low, high = sorted(random.randint(-128, 127) for _ in range(2)) if random.random() < 0.3 else (-128, 127)
    fields |= dict(out_zero=random.choice([-128, 127, 0, random.randint(-128, 127)]), out_min=low, out_max=high)
    constants = 2 * room * lanes
    if opcode == RowsOpcode.SOFTMAX:
        fields |= dict(load_table=1, table_addr=constants,
                       out_shift=random.choice([0, 31, 23, 23, random.randint(8, 31)]),
                       out_mult=random.choice([0, 0, 1, 2 ** 31 - 1, random.randrange(1 << 30, 1 << 31)]))
        data = random_table().view(np.uint8)
    else:
        fields |= dict(params_addr=constants, in_zero=random.choice([-128, 127, 0, random.randint(-128, 127)]),
                       center=random.getrandbits(1), count=random.choice([length, length, 1, 4096]),
                       out_shift=random.choice([1, 40, 20, random.randint(10, 30)]),
                       epsilon=random.choice([0, 0, 1, random.getrandbits(random.randint(1, 48)), 2 ** 48 - 1]))
        data = random_parameters(blocks, lanes)
    assert constants + len(data) <= config.scratchpad_bytes, "the constants do not fit"
    chip.scratchpad[constants:constants + len(data)] = data
    return Rows.unpack(Rows.pack(**fields))
