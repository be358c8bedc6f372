"""Random TENSOR commands that the golden model accepts."""

import numpy as np
from lepton.arch import ChipConfig, Tensor, TensorOpcode
from lepton.arch.commands import TABLE_BYTES
from lepton_sim.golden.commands import walk
from lepton_sim.golden.errors import CommandError
from lepton_sim.golden.state import ChipState

SMALL = {  # the presets' geometries with memories that a test can fill word by word
    lanes: ChipConfig(f"lanes{lanes}", lanes=lanes, columns=lanes, scratchpad_kib=kib, weight_kib=kib,
                      accumulator_rows=rows)
    for lanes, kib, rows in ((4, 4, 64), (8, 8, 64), (16, 16, 128))
}


def blank_chip(config: ChipConfig, rng: np.random.Generator) -> ChipState:
    """A golden chip whose memories hold random bytes, extremes among them."""
    chip = ChipState.blank(config)
    for memory in (chip.scratchpad, chip.weights):
        memory[:] = rng.integers(0, 256, len(memory), dtype=np.uint8)
        extreme = rng.random(len(memory)) < 0.3
        memory[extreme] = rng.choice(np.array([0x80, 0x7F], np.uint8), extreme.sum())
    return chip


def write_params(chip: ChipState, word: int, rng: np.random.Generator) -> None:
    """A plausible parameter record: multipliers in 2**30..2**31, shifts that land in int8."""
    lanes = chip.config.lanes
    bias = rng.integers(-(1 << 31) if rng.random() < 0.1 else -20000, 20000, lanes).astype("<i4")
    multiplier = rng.integers(1 << 30, 1 << 31, lanes).astype("<i4")
    left = rng.integers(0, 3, lanes).astype(np.uint8)
    right = rng.integers(0, 14, lanes).astype(np.uint8)
    record = np.concatenate([bias.view(np.uint8).reshape(lanes, 4).T, multiplier.view(np.uint8).reshape(lanes, 4).T,
                             left[None], right[None]])
    chip.weights[word * lanes:(word + 10) * lanes] = record.ravel()


def random_command(chip: ChipState, rng: np.random.Generator, source: int, target: int, *, last=True, first=True,
                   like: dict | None = None) -> dict[str, int]:
    """Fields of a command that reads from byte `source` on and writes from `target` on, a quarter of
    the scratchpad each; the residual comes from the last quarter.

    `like`: a command whose accumulator rows it continues. Executed on `chip`.
    """
    config = chip.config
    lanes = chip.config.lanes
    quarter = config.scratchpad_bytes // 4
    for _ in range(1000):
        if like is None:
            nx, ny, nz = (int(rng.integers(1, high)) for high in (9, 5, 3))
            acc = int(rng.integers(0, config.accumulator_rows))
        else:
            nx, ny, nz, acc = (like[name] for name in ("nx", "ny", "nz", "acc"))
        opcode = rng.choice([TensorOpcode.DOT, TensorOpcode.DOT, TensorOpcode.SUM, TensorOpcode.MAX])
        w = int(rng.integers(1, 12))
        h = int(rng.integers(1, 8))
        aligned = rng.random() < 0.7
        unit = lanes if aligned else int(rng.integers(1, lanes))
        passes_xy = [int(rng.integers(1, 4)) for _ in range(2)]
        stride = rng.integers(1, 4, 2)
        dilation = rng.integers(1, 3, 2)
        ix0, iy0 = (int(v) for v in rng.integers(-3, 2, 2))
        pixel = unit
        row = unit * w
        fields = dict(
            opcode=opcode, first=first, last=last, fence=1, pad=rng.integers(-128, 128), rounding=rng.integers(0, 3),
            layer=rng.integers(0, 1 << 16), post=rng.integers(0, 1 << 16), snapshot=rng.integers(0, 2),
            kernel_x=passes_xy[0], kernel_y=passes_xy[1], blocks=rng.integers(1, 4), nx=nx, ny=ny, nz=nz, acc=acc,
            in_addr=source + (0 if aligned else int(rng.integers(0, lanes))) + ix0 * pixel + iy0 * row,
            in_x=stride[0] * pixel, in_y=stride[1] * row, in_z=unit * int(rng.integers(0, 4)),
            in_kx=dilation[0] * pixel, in_ky=dilation[1] * row, in_block=row * h,
            ix0=ix0, iy0=iy0, in_w=w, in_h=h, stride_x=stride[0], stride_y=stride[1],
            dilation_x=dilation[0], dilation_y=dilation[1],
            weights=rng.integers(0, config.weight_words // 2), params=config.weight_words - 16 * rng.integers(1, 4),
            out_addr=target, out_x=lanes, out_y=lanes * nx, out_z=lanes * nx * ny,
            out_zero=rng.integers(-128, 128), out_min=rng.integers(-128, -60), out_max=rng.integers(60, 128),
            add=int(rng.random() < 0.4) if last else 0,
            res_addr=3 * quarter, res_x=lanes * int(rng.integers(1, 3)), res_y=lanes * int(rng.integers(0, 9)), res_z=0,
            **{f"add_zero_{n}": rng.integers(-128, 128) for n in "abo"}, add_min=-128, add_max=rng.integers(100, 128),
            **{f"add_mult_{n}": rng.integers(1 << 30, 1 << 31) for n in "abo"},
            add_shift_a=rng.integers(0, 6), add_shift_b=rng.integers(0, 6), add_shift_o=rng.integers(14, 24),
            table=rng.random() < 0.4, load_table=rng.random() < 0.3 or not chip.table.any(),
            table_at=rng.integers(0, config.weight_words - TABLE_BYTES // lanes + 1),
        )
        if rng.random() < 0.4:
            fields |= dict(multiply=1, add_shift_a=0, add_shift_o=rng.integers(5, 10))
        fields = Tensor.unpack(Tensor.pack(**fields))
        if like is not None and like["opcode"] != TensorOpcode.MAX and fields["opcode"] == TensorOpcode.MAX:
            continue
        try:
            walk(fields, chip)
        except CommandError:
            continue
        return fields
    raise RuntimeError("no legal command found")


def random_window(chip: ChipState, rng: np.random.Generator, source: int, target: int) -> dict[str, int]:
    """Fields of a WINDOW command, as `random_command`."""
    config = chip.config
    lanes = chip.config.lanes
    for _ in range(1000):
        rows = int(rng.integers(1, 4))
        width = int(rng.integers(1, 6))
        w = int(rng.integers(1, 12))
        h = int(rng.integers(1, 9))
        stride = int(rng.integers(1, 3))
        left = int(rng.integers(0, 3))
        top = int(rng.integers(0, 4))
        groups = int(rng.integers(1, 3))
        nx = int(rng.integers(1, 12))
        ny = int(rng.integers(1, 9))
        fields = random_command(chip.copy(), rng, source, target)
        fields |= dict(
            opcode=TensorOpcode.WINDOW, tap_rows=rows, kernel_x=width, kernel_y=groups, blocks=1, nz=1, nx=nx, ny=ny,
            in_w=w, in_h=h, ix0=-left, iy0=-top, stride_x=stride, stride_y=stride, dilation_y=rows,
            in_addr=source - top * w * lanes, in_x=lanes, in_y=lanes * w, in_ky=rows * w * lanes,
            acc=int(rng.integers(0, config.accumulator_rows - nx * ny)) if nx * ny < config.accumulator_rows else 0,
            out_addr=target, out_x=lanes, out_y=lanes * nx, out_z=0, first=1, last=1)
        fields = Tensor.unpack(Tensor.pack(**fields))
        try:
            walk(fields, chip)
        except CommandError:
            continue
        return fields
    raise RuntimeError("no legal command found")
