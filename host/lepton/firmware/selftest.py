"""The self-test at boot: a matrix product with a known result, which uses the whole array."""

import zlib
from dataclasses import dataclass

import numpy as np

from ..arch import ChipConfig, Dma, DmaOpcode, Engine, Region, Space, Tensor, TensorOpcode
from ..arch.commands import PARAM_WORDS
from ..arch.controller import JOB_MAGIC, JobRecord

PIXELS = 64
BLOCKS = 2  # of input channels: the second one shows that accumulators add
TIMEOUT = 50_000  # cycles: far more than 128 words of input and their weights need, with any memory
OUT = 4096  # address of the results in the scratchpad, behind the image of at most 64 x 2 x 32 bytes


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
    expected = scaled.clip(-128, 127).astype(np.int8).tobytes()

    def dma(opcode, **fields):
        return Dma.pack(opcode=opcode, count1=1, count2=1, count3=1, **fields)

    streams = {
        Engine.LOAD: [
            dma(DmaOpcode.LOAD, region=Region.INPUT, row_bytes=image.nbytes, post=1 << 0),
            dma(DmaOpcode.LOAD, region=Region.PROGRAM, space=Space.WEIGHTS, offset=512, row_bytes=len(weight_bytes),
                post=1 << 6)],
        Engine.TENSOR: [Tensor.pack(
            opcode=TensorOpcode.DOT, wait=1 << 0 | 1 << 6, post=1 << 10, first=1, last=1, kernel_x=1, kernel_y=1,
            blocks=BLOCKS, nx=PIXELS, ny=1, nz=1, in_x=k, in_block=PIXELS * k, in_w=PIXELS, in_h=1, stride_x=1,
            weights=PARAM_WORDS, params=0, out_addr=OUT, out_x=k, out_min=-128, out_max=127)],
        Engine.STORE: [dma(DmaOpcode.STORE, region=Region.OUTPUT, local=OUT, row_bytes=PIXELS * k, wait=1 << 10)],
    }
    at = {Engine.LOAD: 0, Engine.TENSOR: 128, Engine.STORE: 256}
    program = bytearray(512)
    for engine, commands in streams.items():
        program[at[engine]:at[engine] + sum(map(len, commands))] = b"".join(commands)
    program += weight_bytes + bytes(-len(weight_bytes) % 64)

    where = {Region.PROGRAM: start + JobRecord.size}
    where[Region.INPUT] = where[Region.PROGRAM] + len(program)
    where[Region.OUTPUT] = where[Region.INPUT] + image.nbytes
    size = {Region.PROGRAM: len(program), Region.INPUT: image.nbytes, Region.OUTPUT: len(expected)}
    fields = {f"{r.name.lower()}_{part}": values[r] for r in where for part, values in (
        ("offset", where), ("size", size))}
    fields |= {f"{e.name.lower()}_program": at.get(e, 0) for e in Engine}
    fields |= {f"{e.name.lower()}_count": len(streams.get(e, ())) for e in Engine}
    record = JobRecord.pack(magic=JOB_MAGIC, timeout=TIMEOUT, **fields)
    return SelfTest(record + bytes(program) + image.tobytes(), start, where[Region.OUTPUT], len(expected),
                    zlib.crc32(expected))
