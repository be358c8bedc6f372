"""The self-test at boot: a matrix product that uses the whole array, a normalization and a softmax of its results.

The chip must write all three as they are computed here; on a chip without ROWS, the product alone.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from ..arch import ChipConfig, Dma, DmaOpcode, Engine, Region, Rows, RowsOpcode, Space, Tensor, TensorOpcode
from ..arch.commands import PARAM_WORDS
from ..arch.controller import JOB_MAGIC, JobRecord
from ..arch.rows import NORM_WORDS
from ..graph.numerics.row_norm import norm_parameters, normalize
from ..graph.ops.softmax import fixed_exponentials, fixed_softmax

PIXELS = 64
BLOCKS = 2  # of input channels: the second one shows that accumulators add
TIMEOUT = 50_000  # cycles: far more than 128 words of input and their weights need, with any memory
OUT = 4096  # address of the results in the scratchpad, behind the image of at most 64 x 2 x 32 bytes
COMMANDS = 768  # bytes at the beginning of the program, of all streams
ROWS = PIXELS // 2  # of two blocks of K channels, for NORM and SOFTMAX
_SCALE = 1 / 16  # of what SOFTMAX reads: its largest differences give exponentials near 0
_SOFTMAX_SHIFT = 23  # a result's scale is 1/256: 31 fraction bits less 8
_IMAGE_THERE, _CONSTANTS_THERE, _WEIGHTS_THERE, _PRODUCT_DONE, _ROWS_DONE = (1 << n for n in (0, 1, 6, 10, 11))


@dataclass(frozen=True)
class SelfTest:
    """The self-test's job and data.

    `image`: the bytes for the controller's window, from the offset given to `self_test`. `job` and `output` are offsets
    in the window; `crc` is the CRC-32 of the `output_bytes` that the chip must write.
    """

    image: bytes
    job: int
    output: int
    output_bytes: int
    crc: int


def self_test(config: ChipConfig, start: int) -> SelfTest:
    """A product of extreme and random int8 values that uses every multiplier, for offset `start` (a multiple of 64)."""
    k = config.lanes
    rng = np.random.default_rng(2026)
    image = rng.choice(np.array([-128, -127, -1, 0, 1, 127, 85, -86], np.int8), (BLOCKS, PIXELS, k))
    weights = rng.integers(-128, 128, (BLOCKS, k, k)).astype(np.int8)
    bias = rng.integers(-100_000, 100_000, k).astype(np.int32)
    multiplier = 1 << 30  # with the shift, a scale of 2**-10: most sums stay within int8
    shift = 9
    params = np.concatenate([bias.view(np.uint8).reshape(k, 4).T,
                             np.full(k, multiplier, "<i4").view(np.uint8).reshape(k, 4).T,
                             np.zeros((1, k), np.uint8), np.full((1, k), shift, np.uint8)])
    weight_bytes = params.tobytes() + weights.tobytes()

    sums = np.einsum("bpk,bnk->pn", image.astype(np.int64), weights.astype(np.int64)) + bias
    halves = (sums + 1) >> 1  # the high product by 2**30 rounds half up; the shift rounds half away from zero
    half = 1 << (shift - 1)
    scaled = np.where(halves < 0, -((-halves + half) >> shift), (halves + half) >> shift)
    product = scaled.clip(-128, 127).astype(np.int8)
    expected = product.tobytes()
    rows, constants, row_results = _row_functions(config, product, rng) if config.row_lanes else ([], b"", b"")
    expected += row_results

    def dma(opcode, **fields):
        return Dma.pack(opcode=opcode, count1=1, count2=1, count3=1, **fields)

    load = [
        dma(DmaOpcode.LOAD, region=Region.INPUT, row_bytes=image.nbytes, post=_IMAGE_THERE),
        dma(DmaOpcode.LOAD, region=Region.PROGRAM, space=Space.WEIGHTS, offset=COMMANDS, row_bytes=len(weight_bytes),
            post=_WEIGHTS_THERE)]
    if rows:
        load.append(dma(DmaOpcode.LOAD, region=Region.PROGRAM, offset=COMMANDS + len(weight_bytes),
                        local=OUT + len(expected), row_bytes=len(constants), post=_CONSTANTS_THERE))
    streams = {
        Engine.LOAD: load,
        Engine.TENSOR: [Tensor.pack(
            opcode=TensorOpcode.DOT, wait=_IMAGE_THERE | _WEIGHTS_THERE, post=_PRODUCT_DONE, first=1, last=1,
            kernel_x=1, kernel_y=1, blocks=BLOCKS, nx=PIXELS, ny=1, nz=1, in_x=k, in_block=PIXELS * k, in_w=PIXELS,
            in_h=1, stride_x=1, weights=PARAM_WORDS, params=0, out_addr=OUT, out_x=k, out_min=-128, out_max=127)],
        Engine.ROWS: rows,
        Engine.STORE: [dma(DmaOpcode.STORE, region=Region.OUTPUT, local=OUT, row_bytes=len(expected),
                           wait=_ROWS_DONE if rows else _PRODUCT_DONE)],
    }
    at = {}
    program = b""
    for engine, commands in streams.items():
        at[engine] = len(program)
        program += b"".join(commands)
        program += bytes(-len(program) % 64)
    program += bytes(COMMANDS - len(program)) + weight_bytes + constants
    program += bytes(-len(program) % 64)

    where = {Region.PROGRAM: start + JobRecord.size}
    where[Region.INPUT] = where[Region.PROGRAM] + len(program)
    where[Region.OUTPUT] = where[Region.INPUT] + image.nbytes
    size = {Region.PROGRAM: len(program), Region.INPUT: image.nbytes, Region.OUTPUT: len(expected)}
    fields = {f"{r.name.lower()}_{part}": values[r] for r in where for part, values in (
        ("offset", where), ("size", size))}
    fields |= {f"{e.name.lower()}_program": at.get(e, 0) for e in Engine}
    fields |= {f"{e.name.lower()}_count": len(streams.get(e, ())) for e in Engine}
    record = JobRecord.pack(magic=JOB_MAGIC, timeout=TIMEOUT, **fields)
    return SelfTest(record + program + image.tobytes(), start, where[Region.OUTPUT], len(expected),
                    zlib.crc32(expected))


def _row_functions(config: ChipConfig, product: np.ndarray, rng: np.random.Generator
                   ) -> tuple[list[bytes], bytes, bytes]:
    """A NORM of the `product` (PIXELS, K) int8 at OUT, and a SOFTMAX of what it gives, each behind its operand.

    Commands, the constants behind the last result, and both results. Pixel p and p + ROWS are a row of 2 K channels.
    """
    k = config.lanes
    plane = product.size
    rows = np.concatenate([product[:ROWS], product[ROWS:]], axis=1)
    parameters = norm_parameters(rng.uniform(-2, 2, 2 * k).astype(np.float32),
                                 rng.uniform(-1, 1, 2 * k).astype(np.float32), 1e-5, _SCALE, _SCALE)
    normal = normalize(rows, parameters, True, (0, 0))
    weights = fixed_softmax(normal, _SCALE, 1.0)
    table = fixed_exponentials(_SCALE, 1.0).astype("<u4").tobytes()
    records = np.concatenate([parameters.factor.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3],
                              parameters.bias.astype("<i4").view(np.uint8).reshape(-1, 4)], axis=1)
    records = records.reshape(-1, k, NORM_WORDS).transpose(0, 2, 1)
    constants = OUT + 3 * plane
    walk = {"length": 2 * k, "nx": ROWS, "ny": 1, "nz": 1, "in_x": k, "out_x": k, "in_block": ROWS * k,
            "out_block": ROWS * k, "out_min": -128, "out_max": 127}
    commands = [
        Rows.pack(opcode=RowsOpcode.NORM, wait=_PRODUCT_DONE | _CONSTANTS_THERE, in_addr=OUT, out_addr=OUT + plane,
                  count=2 * k, center=1, epsilon=parameters.epsilon, out_shift=parameters.shift,
                  params_addr=constants + len(table), **walk),
        Rows.pack(opcode=RowsOpcode.SOFTMAX, post=_ROWS_DONE, in_addr=OUT + plane, out_addr=OUT + 2 * plane,
                  load_table=1, out_zero=-128, out_shift=_SOFTMAX_SHIFT, table_addr=constants, **walk)]
    planes = [result.reshape(ROWS, 2, k).transpose(1, 0, 2).tobytes() for result in (normal, weights)]
    return commands, table + records.tobytes(), b"".join(planes)
