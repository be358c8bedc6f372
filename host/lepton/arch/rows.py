"""What the ROWS engine executes: functions of all channels of a pixel."""

from enum import IntEnum
from math import isqrt

from .command_header import ROUNDS, command_header
from .record import Field, Record


class RowsOpcode(IntEnum):
    SOFTMAX = 0x40
    NORM = 0x41


# SOFTMAX: exponentials of the differences 0 to 255 from the largest value, 4 bytes each.
EXPONENTIALS = 256
ROW_LENGTH = 4096  # channels; the sum of that number of exponentials is at most 2**31 (Q12.19)
# The parameter record of K channels for NORM, in words of the scratchpad: word b holds byte b of every
# channel's (factor: int24, bias: int32).
NORM_WORDS = 7
ROW_GROUP = 16  # rows that are reduced before the first of them is written
# First approximations of 1/sqrt(v), Q1.30, by the top four bits of v in Q2.29: exact in the middle of each interval.
RSQRT_SEED = (0,) * 4 + tuple(isqrt((8 << 60) // (2 * i + 1)) for i in range(4, 16))

Rows = Record("Rows", 128, (*command_header(RowsOpcode),
    Field("load_table", 1, "SOFTMAX: read the exponentials at `table_addr` first"),
    Field("center", 1, "NORM: subtract the mean"),
    Field("repeat", 1, "the outermost loop (z) is that many commands"),
    Field("snapshot", 1, "when finished, copy the counters to the slot of `layer`"),
    Field("reserved_rows", 4, "zero"),
    *ROUNDS,
    Field("in_zero", 8, "NORM: input zero point", signed=True),
    Field("out_shift", 8, "right shift of the results: SOFTMAX 0..31, NORM 1..40"),
    Field("out_zero", 8, "output zero point", signed=True),
    Field("out_min", 8, "lowest output", signed=True),
    Field("out_max", 8, "highest output", signed=True),
    Field("reserved_zero", 8, "zero"),
    Field("length", 16, "channels in a row, 1..ROW_LENGTH"),
    Field("count", 16, "NORM: n, the factor of the sum of squares, 1..ROW_LENGTH"),
    Field("nx", 16, "rows along x, at least 1"),
    Field("ny", 16, "rows along y, at least 1"),
    Field("nz", 16, "rows along z, at least 1"),
    Field("reserved_nz", 16, "zero"),
    Field("out_mult", 32, "SOFTMAX: factor of the reciprocal, Q0.31, below 2**31; 0: none"),
    Field("epsilon", 64, "NORM: added to the variance, in units of 1/256; below 2**48"),
    Field("in_addr", 32, "byte address of the row at x=y=z=0, a multiple of K, as all that follow"),
    Field("in_x", 32, "bytes per x", signed=True),
    Field("in_y", 32, "bytes per y", signed=True),
    Field("in_z", 32, "bytes per z", signed=True),
    Field("in_block", 32, "bytes per block of K channels", signed=True),
    Field("out_addr", 32, "byte address of the output at x=y=z=0"),
    Field("out_x", 32, "bytes per x", signed=True),
    Field("out_y", 32, "bytes per y", signed=True),
    Field("out_z", 32, "bytes per z", signed=True),
    Field("out_block", 32, "bytes per block of K channels", signed=True),
    Field("table_addr", 32, "SOFTMAX with `load_table`: byte address of EXPONENTIALS uint32, little-endian"),
    Field("params_addr", 32, "NORM: byte address of the parameter records, NORM_WORDS words for each block"),
    Field("reserved_end", 320, "zero"),
), doc="""SOFTMAX and NORM: functions of the channels of a pixel, a *row*, through the ROWS engine.

    for z, y, x in product(range(nz), range(ny), range(nx)):
        q[c] = scratchpad[in_addr + z*in_z + y*in_y + x*in_x + (c // K)*in_block + c % K]      c < length
        scratchpad[out_addr + z*out_z + y*out_y + x*out_x + (c // K)*out_block + c % K] = f(q)[c]

Of a row's last word, the lanes from `length` on are written as `out_zero` clamped. A word is written after it has been
read for the last time, so a command may work in place; otherwise it must not write what it reads.

Errors: fields and alignment first, then the table and the parameters, before anything is written. Rows are done in
groups of ROW_GROUP, in order. LOCAL_BOUNDS names the first word outside the scratchpad, by row, then block, its input
before its output; nothing of its group has been written, all of the groups before. A group's words are written block by
block, in each block row by row.

SOFTMAX is TFLite's (tensorflow/lite/kernels/internal/reference/softmax.h; gemmlowp/fixedpoint/fixedpoint.h):

    e[c] = table[max(q) - q[c]]                                     Q0.31; the top bit of an entry counts as 0
    s = sum of (e[c] + 2**11) >> 12, at least 1                     Q12.19, at most 2**31
    h = leading zeros of s in 32 bits
    r = one_over_one_plus_x((s << h) - 2**31 as Q0.31)              three Newton steps
    r = SRDHM(r, out_mult) if out_mult is not 0
    y[c] = RDBPOT(SRDHM(r, e[c]), max(12 - h + out_shift, 0))       0 for a shift above 31
    f(q)[c] = clamp(y[c] + out_zero, out_min, out_max)

NORM, with d[c] = q[c] - in_zero:

    S = sum of d[c] if center else 0;  Q = sum of d[c]**2
    V = max(256 * (count*Q - S**2), 0) + epsilon
    e = floor(log4(V));  v = V / 4**e in Q2.29, truncated           1 <= v < 4
    y = 1/sqrt(v) in Q1.30: RSQRT_SEED[v >> 27], then three times y = (y * (3*2**29 - (v * (y*y >> 30) >> 30))) >> 30
    t[c] = ((count*d[c] - S) * y + 2**(e + 9)) >> (e + 10)          Q7.16 in 24 bits, saturated; 0 where V is 0
    f(q)[c] = clamp(((t[c]*factor[c] + bias[c] * 2**8 + 2**(out_shift - 1)) >> out_shift) + out_zero, out_min, out_max)

With count = length, t is the normalized value (d - mean) / sqrt(variance + epsilon / (256 * length**2)), and
factor[c] / 2**(out_shift - 16) is gamma over the output's scale, bias[c] / 2**(out_shift - 8) beta over it.
With `repeat`, every z is a command with nz = 1; `snapshot` belongs to the last.""")
