"""One operator to one program, by hand and independent of the compiler.

The whole input is loaded, one DOT per block of output channels (or one SUM, MAX for all) runs,
the whole output is stored. Tensors are NHWC outside, [C/K][H][W][K] in memory and on chip.
"""

from dataclasses import dataclass

import numpy as np
from lepton.arch import PRESETS, ChipConfig, DmaOpcode, Region, Rounding, Space, TensorOpcode
from lepton_sim.golden.numerics import wrap_int32

from tests.sim.golden.golden_program import Program, bits, dma, parameters, tensor

# Room for any of the test layers in one command.
ROOMY = PRESETS["base"].with_(name="roomy", scratchpad_kib=1024, weight_kib=1024, accumulator_rows=65536)

INPUT_READY = 0
WEIGHTS_READY = 6
OUTPUT_READY = 10


@dataclass(frozen=True)
class Window:
    """A sliding window; `pad` is (top, left), `out` is (height, width)."""

    kernel: tuple[int, int]
    out: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)


def to_blocks(x: np.ndarray, lanes: int) -> np.ndarray:
    """(H, W, C) -> (C/K, H, W, K), zero-filled."""
    h, w, c = x.shape
    padded = np.zeros((h, w, -(-c // lanes) * lanes), np.int8)
    padded[..., :c] = x
    return np.ascontiguousarray(padded.reshape(h, w, -1, lanes).transpose(2, 0, 1, 3))


def from_blocks(data: np.ndarray, shape: tuple[int, int, int], lanes: int) -> np.ndarray:
    h, w, c = shape
    return data.reshape(-1, h, w, lanes).transpose(1, 2, 0, 3).reshape(h, w, -1)[..., :c]


def _walk(shape: tuple[int, int, int], window: Window, lanes: int) -> dict[str, int]:
    """Fields of a walk over an image of (H, W) at scratchpad address 0."""
    h, w, _ = shape
    (ky, kx) = window.kernel
    (oh, ow) = window.out
    (sy, sx) = window.stride
    (top, left) = window.pad
    (dy, dx) = window.dilation
    return {
        "kernel_x": kx, "kernel_y": ky, "nx": ow, "ny": oh, "in_w": w, "in_h": h, "ix0": -left, "iy0": -top,
        "stride_x": sx, "stride_y": sy, "dilation_x": dx, "dilation_y": dy,
        "in_addr": -(top * w + left) * lanes, "in_x": sx * lanes, "in_y": sy * w * lanes,
        "in_kx": dx * lanes, "in_ky": dy * w * lanes, "out_x": lanes, "out_y": ow * lanes,
    }


def _program(config: ChipConfig, inputs: bytes, weights: bytes, commands: list[dict], out_addr: int,
             out_bytes: int) -> Program:
    """Load everything, run `commands`, store the output. The first waits for all, the last tells STORE."""
    program = Program(config, input=inputs, constants=weights)
    program.load = [
        dma(region=Region.PROGRAM, space=Space.WEIGHTS, offset=Program.CONSTANTS, row_bytes=len(weights),
            post=bits(WEIGHTS_READY)),
        dma(region=Region.INPUT, row_bytes=len(inputs), post=bits(INPUT_READY)),
    ]
    commands[0]["wait"] = bits(INPUT_READY, WEIGHTS_READY)
    commands[-1]["post"] = bits(OUTPUT_READY)
    program.tensor = [tensor(**command) for command in commands]
    program.store = [dma(DmaOpcode.STORE, region=Region.OUTPUT, local=out_addr, row_bytes=out_bytes,
                         wait=bits(OUTPUT_READY))]
    return program


def conv(x, weights, bias, multiplier, left, right, zero_in, zero_out, low, high, window: Window,
         config: ChipConfig = ROOMY, rounding: Rounding = Rounding.DOUBLE) -> np.ndarray:
    """x (H, W, C), weights (O, kh, kw, C) int8; bias, multiplier, left, right (O,) -> (oh, ow, O) int8."""
    lanes = config.lanes
    outputs = weights.shape[0]
    blocked = to_blocks(x, lanes)
    blocks = len(blocked)
    groups = -(-outputs // lanes)
    kh, kw = window.kernel
    tiles = np.zeros((groups, lanes, kh, kw, blocks * lanes), np.int8)
    tiles.reshape(groups * lanes, kh, kw, -1)[:outputs, ..., :x.shape[2]] = weights
    # (group, n, ky, kx, block, k) -> (group, block, ky, kx, n, k): passes outside, then columns of lanes.
    tiles = tiles.reshape(groups, lanes, kh, kw, blocks, lanes).transpose(0, 4, 2, 3, 1, 5)
    folded = np.asarray(bias, np.int64) - zero_in * weights.astype(np.int64).sum(axis=(1, 2, 3))

    def column(values, group):
        part = np.zeros(lanes, np.int64)
        chosen = np.broadcast_to(values, outputs)[group * lanes:(group + 1) * lanes]
        part[:len(chosen)] = chosen
        return wrap_int32(part)

    records = [parameters(lanes, *(column(v, g) for v in (folded, multiplier, left, right))) for g in range(groups)]
    tile_words = tiles[0].size // lanes
    memory = tiles.tobytes() + b"".join(record.tobytes() for record in records)
    out_addr = blocked.size
    plane = window.out[0] * window.out[1] * lanes
    commands = [dict(
        opcode=TensorOpcode.DOT, layer=group, blocks=blocks, in_block=x.shape[0] * x.shape[1] * lanes, pad=zero_in,
        weights=group * tile_words, params=groups * tile_words + 10 * group, out_addr=out_addr + group * plane,
        out_zero=zero_out, out_min=low, out_max=high, rounding=rounding,
        **_walk(x.shape, window, lanes)) for group in range(groups)]
    program = _program(config, blocked.tobytes(), memory, commands, out_addr, groups * plane)
    return from_blocks(program.run(groups * plane), (*window.out, outputs), lanes)


def fully_connected(x, weights, *args, config: ChipConfig = ROOMY, rounding: Rounding = Rounding.SINGLE) -> np.ndarray:
    """x (inputs,), weights (O, inputs): a 1x1 convolution of a 1x1 image. LiteRT rounds once, CMSIS-NN twice."""
    window = Window((1, 1), (1, 1))
    return conv(x.reshape(1, 1, -1), weights[:, None, None, :], *args, window, config, rounding)[0, 0]


def max_pool(x, low, high, window: Window, config: ChipConfig = ROOMY) -> np.ndarray:
    """Maximum over the window; padding never wins."""
    return _lanewise(x, window, config, [dict(opcode=TensorOpcode.MAX, pad=-128, out_min=low, out_max=high)],
                     [parameters(config.lanes)])


def average_parameters(count: int) -> tuple[int, int, int]:
    """(multiplier, left, right) that divide a sum of `count` int8 exactly as TFLite does.

    The sum is shifted as far left as int32 lets it; then the error of the rounded-up
    multiplier and of the first rounding are too small to cross a half. The tests prove it for each count used.
    """
    left = 31 - (128 * count - 1).bit_length()
    right = left + (count - 1).bit_length() - 1
    return -(-(1 << (31 + right)) // (count << left)), left, right


def average_pool(x, low, high, window: Window, config: ChipConfig = ROOMY) -> np.ndarray:
    """Mean over the pixels of the window that lie in the image: one command for each output pixel,
    because the divisor belongs to the parameters."""
    counts = np.zeros(window.out, int)
    for y in range(window.out[0]):
        for x_ in range(window.out[1]):
            counts[y, x_] = _inside(y, 0, window, x.shape) * _inside(x_, 1, window, x.shape)
    divisors = sorted(set(counts.ravel().tolist()))
    records = [parameters(config.lanes, 0, *average_parameters(count)) for count in divisors]
    if len(divisors) == 1:
        return _lanewise(x, window, config, [dict(opcode=TensorOpcode.SUM, out_min=low, out_max=high)], records)
    lanes = config.lanes
    base = _walk(x.shape, window, config.lanes)
    commands = [dict(
        opcode=TensorOpcode.SUM, out_min=low, out_max=high, params=10 * divisors.index(counts[y, x_]), nx=1, ny=1,
        ix0=base["ix0"] + x_ * window.stride[1], iy0=base["iy0"] + y * window.stride[0],
        in_addr=base["in_addr"] + x_ * base["in_x"] + y * base["in_y"],
        out_addr=to_blocks(x, lanes).size + x_ * base["out_x"] + y * base["out_y"])
        for y in range(window.out[0]) for x_ in range(window.out[1])]
    return _lanewise(x, window, config, commands, records)


def _inside(at: int, axis: int, window: Window, shape: tuple[int, ...]) -> int:
    start = at * window.stride[axis] - window.pad[axis]
    return min(start + window.kernel[axis], shape[axis]) - max(start, 0)


def _lanewise(x, window: Window, config: ChipConfig, commands: list[dict], records: list[np.ndarray]) -> np.ndarray:
    lanes = config.lanes
    blocked = to_blocks(x, lanes)
    plane = window.out[0] * window.out[1] * lanes
    fields = _walk(x.shape, window, lanes) | {
        "nz": len(blocked), "in_z": x.shape[0] * x.shape[1] * lanes, "out_z": plane, "out_addr": blocked.size}
    program = _program(config, blocked.tobytes(), b"".join(r.tobytes() for r in records),
                       [fields | command for command in commands], blocked.size, len(blocked) * plane)
    return from_blocks(program.run(len(blocked) * plane), (*window.out, x.shape[2]), lanes)


def add(a, b, low, high, zeros, multipliers, shifts, config: ChipConfig = ROOMY) -> np.ndarray:
    """a, b (n,) int8; zeros, multipliers, shifts for a, b and the sum. A SUM of one pixel each, with residual."""
    lanes = config.lanes
    words = -(-len(a) // lanes)
    memory = np.zeros((2, words * lanes), np.int8)
    memory[:, :len(a)] = a, b
    fields = {f"add_{kind}_{name}": int(value) for kind, values in
              (("zero", zeros), ("mult", multipliers), ("shift", shifts))
              for name, value in zip("abo", values, strict=True)}
    command = dict(
        opcode=TensorOpcode.SUM, nx=words, in_w=words, in_x=lanes, out_x=lanes, res_x=lanes, res_addr=words * lanes,
        out_addr=2 * words * lanes, add=1, add_min=low, add_max=high, **fields)
    program = _program(config, memory.tobytes(), parameters(lanes).tobytes(), [command], 2 * words * lanes,
                       words * lanes)
    return program.run(words * lanes)[:len(a)]
