"""What the engines execute.

Four engines work at the same time, each in order from its own stream of
fixed-size commands (LOAD and STORE: 64 bytes, TENSOR and ROWS: 128 bytes). Engines wait
for one another only through 16 counting semaphores: a command starts when every
semaphore in `wait` is above zero, and takes one from each; when it has finished
(its last byte has landed) it adds one to each semaphore in `post`. All
semaphores are zero when a job starts.

A command with `repeat` stands for as many commands as its outermost loop has
rounds, each a round with semaphores of its own (`lepton.arch.repeat`); so a
program for many output channels is short, and its commands never come late.

An error stops all engines. Of the engine that it names, all commands before the one it names have
finished when LOAD, STORE or ROWS met it, or when the opcode or a header field was illegal: then
memory holds what they wrote, the rows of the named command before the one that failed, and nothing after it.
How far the other engines had come is not defined beyond the semaphores that they waited for. AXI_TIMEOUT and
AXI_PROTOCOL name no command, and an AXI_SLVERR or AXI_DECERR of command memory is raised when the command is fetched,
while earlier ones run.

Units: on-chip addresses of the scratchpad are bytes; those of the weight memory
are words of K = `lanes` bytes; steps have the unit of what they step.
"""

from dataclasses import dataclass
from enum import IntEnum

from .command_header import ROUNDS, command_header
from .record import Field, Record
from .rows import Rows, RowsOpcode

SEMAPHORES = 16

# What a wait for a semaphore is counted as. The compiler allots semaphores by
# these classes, so that the chip's counters say what the array waited for.
SEMAPHORES_READ = range(0, 6)  # input data has arrived
SEMAPHORES_WEIGHTS = range(6, 10)  # weights have arrived
SEMAPHORES_WRITE = range(10, 16)  # room has become free, results are ready to leave


class Engine(IntEnum):
    """The engines, in the order of their registers."""

    LOAD = 0
    TENSOR = 1
    STORE = 2
    ROWS = 3


@dataclass(frozen=True)
class Stream:
    """Commands of one engine: `count` of them from `offset` bytes (a multiple of 64) in region PROGRAM."""

    offset: int
    count: int


class DmaOpcode(IntEnum):
    LOAD = 0x10
    FILL = 0x11
    STORE = 0x30


class TensorOpcode(IntEnum):
    DOT = 0x20
    SUM = 0x21
    MAX = 0x22
    WINDOW = 0x23


class Rounding(IntEnum):
    """How the tail brings an accumulator to its scale."""

    DOUBLE = 0  # TFLite's convolutions and pools: to int32 first, then by the right shift
    SINGLE = 1  # once, half up: for LiteRT's fully connected layers, where it gives their bytes
    FLOAT = 2  # ONNX Runtime and PyTorch: in float32, then half to even


class Space(IntEnum):
    """On-chip memory that a transfer fills."""

    SCRATCHPAD = 0
    WEIGHTS = 1


# The window unit holds this many kernel rows and columns; tap (a, k), a rows above and k columns to the
# left of a window's last pixel, meets lane WINDOW_COLUMNS * a + k of the weight tile.
WINDOW_ROWS = 3
WINDOW_COLUMNS = 5

REGIONS = 4


class Region(IntEnum):
    """Windows of memory that a job may touch; commands name a region and an offset in it."""

    PROGRAM = 0  # command streams, weights and parameters; read only by convention
    INPUT = 1
    OUTPUT = 2
    SCRATCH = 3  # intermediate tensors


Dma = Record("Dma", 64, (*command_header(DmaOpcode),
    Field("region", 8, "memory region", enum=Region),
    Field("space", 8, "on-chip memory (STORE: scratchpad only)", enum=Space),
    Field("fill", 8, "byte that fills a row's last word (LOAD), or everything (FILL)", signed=True),
    Field("repeat", 1, "the outermost loop (count3) is that many commands"),
    Field("reserved_dma", 7, "zero"),
    Field("offset", 32, "bytes from the start of the region"),
    Field("local", 32, "first on-chip byte address, a multiple of K"),
    Field("row_bytes", 32, "bytes that are contiguous in memory, at least 1"),
    Field("count1", 16, "rows"),
    Field("count2", 16, "times that repeats"),
    Field("count3", 16, "times that repeats"),
    *ROUNDS,
    Field("reserved_count", 8, "zero"),
    Field("mem_step1", 32, "bytes between rows in memory", signed=True),
    Field("mem_step2", 32, "bytes", signed=True),
    Field("mem_step3", 32, "bytes", signed=True),
    Field("local_step1", 32, "bytes between rows on chip, a multiple of K", signed=True),
    Field("local_step2", 32, "bytes, a multiple of K", signed=True),
    Field("local_step3", 32, "bytes, a multiple of K", signed=True),
    Field("reserved_end", 64, "zero"),
), doc="""LOAD, FILL and STORE.

    for k in range(count3): for j in range(count2): for i in range(count1):
        memory = region.base + offset + k*mem_step3 + j*mem_step2 + i*mem_step1
        on_chip = local + k*local_step3 + j*local_step2 + i*local_step1
        LOAD:  on_chip[0 : words*K] = memory[0 : row_bytes], then `fill` up to words*K
        FILL:  on_chip[0 : words*K] = fill                (memory is not touched)
        STORE: memory[0 : row_bytes] = on_chip[0 : row_bytes]

where words = ceil(row_bytes / K). With `repeat`, every k is a command. Offsets are
taken modulo 2**32 and every row must be
inside the region; every on-chip row must be inside its memory. Weight memory addresses are
bytes here (word address times K).""")

Tensor = Record("Tensor", 128, (*command_header(TensorOpcode),
    # what happens
    Field("first", 1, "the first pass starts the accumulators instead of adding to them"),
    Field("last", 1, "the last pass sends its rows through the tail to the scratchpad"),
    Field("fence", 1, "start only when all earlier commands' results have landed"),
    Field("snapshot", 1, "when finished, copy the counters to the slot of `layer`"),
    Field("add", 1, "the tail adds the residual"),
    Field("rounding", 2, "how the tail rounds", enum=Rounding),
    Field("table", 1, "the tail looks results up in the table, before the residual is added"),
    Field("pad", 8, "value of an input pixel outside the image", signed=True),
    Field("kernel_x", 8, "passes along x, at least 1"),
    Field("kernel_y", 8, "passes along y, at least 1"),
    Field("blocks", 16, "passes along input-channel blocks, at least 1"),
    Field("tap_rows", 8, "kernel rows per pass (WINDOW), 1..3"),
    Field("repeat", 1, "the outermost loop (z) is that many commands"),
    Field("uniform", 1, "multiplier and shifts are the same for all channels and stand here; not with `add`"),
    Field("acc_z", 6, "accumulator rows per z (repeat)"),
    Field("nx", 16, "output pixels along x, at least 1"),
    Field("ny", 16, "output pixels along y, at least 1"),
    Field("nz", 16, "output pixels along z (channel blocks, for lane-wise work), at least 1"),
    Field("acc", 16, "first accumulator row"),
    # input walk
    Field("in_addr", 32, "byte address of the pixel at x=y=z=0, pass 0; may be outside where that is padding",
          signed=True),
    Field("in_x", 32, "bytes per x", signed=True),
    Field("in_y", 32, "bytes per y", signed=True),
    Field("in_z", 32, "bytes per z", signed=True),
    Field("in_kx", 32, "bytes per kernel column", signed=True),
    Field("in_ky", 32, "bytes per kernel row", signed=True),
    Field("in_block", 32, "bytes per input-channel block", signed=True),
    # which pixels are padding
    Field("ix0", 16, "image column at x=0, kernel column 0", signed=True),
    Field("iy0", 16, "image row at y=0, kernel row 0", signed=True),
    Field("in_w", 16, "image width: columns outside 0..in_w-1 are padding"),
    Field("in_h", 16, "image height"),
    Field("stride_x", 8, "image columns per x"),
    Field("stride_y", 8, "image rows per y"),
    Field("dilation_x", 8, "image columns per kernel column"),
    Field("dilation_y", 8, "image rows per kernel row"),
    # weights, parameters, output
    Field("weights", 16, "weight memory word of the first tile (DOT)"),
    Field("params", 16, "weight memory word of the parameter record (last)"),
    Field("out_addr", 32, "byte address of the output at x=y=z=0, a multiple of K"),
    Field("out_x", 32, "bytes per x", signed=True),
    Field("out_y", 32, "bytes per y", signed=True),
    Field("out_z", 32, "bytes per z", signed=True),
    # tail
    Field("out_zero", 8, "output zero point", signed=True),
    Field("out_min", 8, "lowest output", signed=True),
    Field("out_max", 8, "highest output", signed=True),
    Field("add_zero_a", 8, "zero point of the tail's own value", signed=True),
    Field("add_zero_b", 8, "zero point of the residual", signed=True),
    Field("add_zero_o", 8, "zero point of the sum", signed=True),
    Field("add_min", 8, "lowest sum", signed=True),
    Field("add_max", 8, "highest sum", signed=True),
    Field("add_mult_a", 32, "multiplier of the tail's own value; `uniform`: of all channels", signed=True),
    Field("add_mult_b", 32, "multiplier of the residual", signed=True),
    Field("add_mult_o", 32, "multiplier of the sum", signed=True),
    Field("add_shift_a", 8, "right shift, 0..31; `uniform`: left shift of all channels"),
    Field("add_shift_b", 8, "right shift, 0..31; `uniform`: right shift of all channels"),
    Field("add_shift_o", 8, "right shift, 0..31"),
    *ROUNDS,
    Field("res_addr", 32, "byte address of the residual at x=y=z=0, a multiple of K"),
    Field("res_x", 32, "bytes per x", signed=True),
    Field("res_y", 32, "bytes per y", signed=True),
    Field("res_z", 32, "bytes per z", signed=True),
    Field("table_at", 16, "weight memory word of the first entry of a table, that for -128 (load_table)"),
    Field("load_table", 1, "with `last`: the table at `table_at` becomes the table"),
    Field("multiply", 1, "with `add`: the tail multiplies by the residual instead; needs `add_shift_a` 0"),
    Field("reserved_end", 14, "zero"),
), doc="""DOT, SUM, MAX and WINDOW: one walk over the scratchpad through the array and the tail.

    for p, (block, ky, kx) in enumerate(product(range(blocks), range(kernel_y), range(kernel_x))):
        W = weight_memory[weights + p*K :][:K]                     # K columns of K lanes (DOT)
        for m, (z, y, x) in enumerate(product(range(nz), range(ny), range(nx))):
            ix = ix0 + x*stride_x + kx*dilation_x;  iy likewise
            a = scratchpad[in_addr + block*in_block + ky*in_ky + kx*in_kx + z*in_z + y*in_y + x*in_x :][:K]
                if 0 <= ix < in_w and 0 <= iy < in_h else [pad]*K
            v = W @ a  (DOT: v[n] = sum over k of W[n][k]*a[k])  or  a  (SUM, MAX)
            row = acc + m
            accumulators[row] = v if first and p == 0 else accumulators[row] + v   (MAX: max of both)
            if last and p is the last pass:
                scratchpad[out_addr + z*out_z + y*out_y + x*out_x :][:K] =
                    tail(accumulators[row], scratchpad[res_addr + z*res_z + y*res_y + x*res_x :][:K])

WINDOW is the depthwise walk: every column sees the taps of its own channel. Passes are groups of
`tap_rows` kernel rows, `dilation_y` rows apart; `kernel_x` is the width of the kernel, not a number of
passes, and `in_addr` is image column 0 of row iy0:

    for p in range(kernel_y):
        for m, (y, x) in enumerate(product(range(ny), range(nx))):
            bottom = iy0 + y*stride_y + p*dilation_y + tap_rows - 1;  right = ix0 + x*stride_x + kernel_x - 1
            v[n] = sum over a < tap_rows, k < kernel_x of W[n][5*a + k] * pixel(bottom - a, right - k)[n]
        with pixel(r, c) = scratchpad[in_addr + p*in_ky + (r - iy0 - p*dilation_y)*in_y + c*in_x :][:K]
             if 0 <= r < in_h and 0 <= c < in_w else [pad]*K

It reads every image row it needs once, column by column, and gives an output whenever the last pixel of
its window has come; so outputs must follow one another in that order (ILLEGAL_FIELD, with `right`, where
one does not, or where a window is wholly outside the image). Needs `nz` and `blocks` 1, `in_w` from `kernel_x`,
but at least 2, to the chip's `window_columns`, and 5*(tap_rows - 1) + kernel_x <= K.

With `repeat`, every z is a command with nz = 1: the outer loop of a layer is over its output blocks then. The tiles
of the next one begin where this one's parameter record ends (or would end), its record lies as far behind them;
`acc` goes on by `acc_z`. `fence` belongs to the first of them and `snapshot` to the last.

The input address need not be a multiple of K. Accumulators hold int32 and wrap; the contents of
rows that have passed the tail are undefined afterwards. Output and residual addresses and
steps must be multiples of K. The tail, per lane n (see `tail` in
the golden model, and TFLite's reference kernels for the rounding):

    x = (row[n] + bias[n]) << left[n], as int32
    DOUBLE: y = RDBPOT(SRDHM(x, multiplier[n]), right[n])            MultiplyByQuantizedMultiplier
    SINGLE: y = (x * multiplier[n] + 2**(30 + right[n])) >> (31 + right[n])
    FLOAT:  y = rint(float32(float32(x) * multiplier[n]) / 2**(31 + right[n]))     float32(x) taken modulo 2**32
    y = clamp(y + out_zero, out_min, out_max)            compares with the minimum first
    if table: y = entry y + 128 of the table
    if add: a = y - add_zero_a;  b = r - add_zero_b
            s = scale(a, add_mult_a, add_shift_a) + scale(b, add_mult_b, add_shift_b)
            y = RDBPOT(SRDHM(s, add_mult_o), add_shift_o)
    FLOAT:  s = (a * add_mult_a >> add_shift_a) + (b * add_mult_b >> add_shift_b) + add_mult_o
            y = rint((s << 20 >> add_shift_o) / 2**31)
    multiply: y = RDBPOT(SRDHM(a * b, add_mult_o), add_shift_o)     in place of the sum
      FLOAT:  y = rint((a * b * add_mult_o >> add_shift_o) / 2**31)
            y = clamp(y + add_zero_o, add_min, add_max)
    with scale(d, m, s) = RDBPOT(SRDHM(d << 20, m), s)

There is one table of TABLE_BYTES int8 for all lanes. It stays until a command brings another; a job must not rely on
that of the job before. float32() rounds to 24 significant bits, half to even, rint() to an integer, half to even.
With a multiplier of at most 24 significant bits FLOAT is what ONNX Runtime's requantization computes with the float32
scale multiplier / 2**(31 + right), unless x is 2**31 - 64 or above.""")

# The parameter record of K output channels, in words of the weight memory: word b holds byte b
# of every channel's (bias: int32, multiplier: int32, left shift: uint8, right shift: uint8). With `uniform`
# it has only the bias, as int24.
PARAM_WORDS = 10
UNIFORM_PARAM_WORDS = 3

# A function of int8: the results for -128, -127, ..., 127.
TABLE_BYTES = 256

ENGINE_RECORDS = {Engine.LOAD: Dma, Engine.TENSOR: Tensor, Engine.STORE: Dma, Engine.ROWS: Rows}
ENGINE_OPCODES = {
    Engine.LOAD: (DmaOpcode.LOAD, DmaOpcode.FILL),
    Engine.TENSOR: (*TensorOpcode,),
    Engine.STORE: (DmaOpcode.STORE,),
    Engine.ROWS: (*RowsOpcode,),
}
