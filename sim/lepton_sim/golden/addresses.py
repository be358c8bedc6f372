"""Which bytes a command touches, and the checks that hardware makes on them.

All functions are pure. Addresses are computed modulo 2**32, as the chip's adders do,
and compared as unsigned numbers; what would wrap is therefore out of bounds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from lepton.arch import ChipConfig, ErrorCode, Rounding, Space
from lepton.arch.commands import REGIONS, TABLE_BYTES, Dma, DmaOpcode, Tensor, TensorOpcode
from lepton.arch.record import Record
from lepton.arch.repeat import record_words

from .errors import CommandError
from .window import check_order, check_window_fields, check_window_shape, tap_addresses, taps

_MASK = 0xFFFF_FFFF
# How many addresses are worked out at a time; bounds the memory that a command with huge counts takes.
_CHUNK = 1 << 20


def local_bytes(config: ChipConfig, space: int) -> int:
    """Size in bytes of an on-chip memory."""
    return config.scratchpad_bytes if space == Space.SCRATCHPAD else config.weight_bytes


def check_counts(record: Record, fields: dict[str, int], counts: tuple[str, ...]) -> None:
    """Raise ILLEGAL_FIELD for a reserved field that is not zero, or one of `counts` that is."""
    for field in record.fields:
        value = fields[field.name]
        if (field.name.startswith("reserved") and value != 0) or (field.name in counts and value == 0):
            raise CommandError(ErrorCode.ILLEGAL_FIELD, value & _MASK)


def check_dma_fields(fields: dict[str, int]) -> None:
    """Raise ILLEGAL_FIELD for reserved bits, zero counts, an unknown region or space, a STORE from weights."""
    check_counts(Dma, fields, ("row_bytes", "count1", "count2", "count3"))
    spaces = 1 if fields["opcode"] == DmaOpcode.STORE else len(Space)
    for name, limit in (("region", REGIONS), ("space", spaces)):
        if fields[name] >= limit:
            raise CommandError(ErrorCode.ILLEGAL_FIELD, fields[name])


def check_aligned(fields: dict[str, int], names: tuple[str, ...], lanes: int) -> None:
    """Raise LOCAL_ALIGNMENT for an address or step that is not a multiple of K."""
    for name in names:
        if fields[name] % lanes:
            raise CommandError(ErrorCode.LOCAL_ALIGNMENT, fields[name] & _MASK)


def check_tensor_fields(fields: dict[str, int], config: ChipConfig) -> None:
    """Raise `CommandError` for what is wrong with a walk wherever it goes.

    ILLEGAL_FIELD: reserved bits, zero counts, a shift above 31, an unknown rounding, `uniform` with `add`, a
    product with `add_shift_a`. LOCAL_ALIGNMENT: an address or step of the output, or of the residual, that is used and
    not a multiple of K.
    """
    if fields["reserved_header"] == 0 and fields["snapshot"] and fields["layer"] >= config.layer_slots:
        raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["layer"])
    window = fields["opcode"] == TensorOpcode.WINDOW
    if window:
        check_window_fields(fields, config)
    check_counts(Tensor, fields, ("kernel_x", "kernel_y", "blocks", "nx", "ny", "nz"))
    for name in ("add_shift_a", "add_shift_b", "add_shift_o"):
        if fields[name] > 31:
            raise CommandError(ErrorCode.ILLEGAL_FIELD, fields[name])
    if fields["rounding"] > max(Rounding):
        raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["rounding"])
    if fields["uniform"] and fields["add"]:
        raise CommandError(ErrorCode.ILLEGAL_FIELD, 1)
    if fields["add"] and fields["multiply"] and fields["add_shift_a"]:
        raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["add_shift_a"])
    if window:
        check_window_shape(fields, config)
    if fields["last"]:
        check_aligned(fields, ("out_addr", "out_x", "out_y", "out_z"), config.lanes)
        if fields["add"]:
            check_aligned(fields, ("res_addr", "res_x", "res_y", "res_z"), config.lanes)


def _first(bad: np.ndarray) -> int | None:
    return int(bad.argmax()) if bad.any() else None


@dataclass(frozen=True)
class DmaRows:
    """Some consecutive rows of a transfer: `memory` (bytes in memory, absolute) and `local` (bytes on chip), int64."""

    memory: np.ndarray
    local: np.ndarray


def dma_rows(fields: dict[str, int], config: ChipConfig, base: int, size: int,
             memory_bytes: int) -> Iterator[DmaRows | CommandError]:
    """The rows of a checked transfer in order, a chunk at a time.

    `base` and `size` are those of the region. Rows before an illegal one are
    still yielded, then the `CommandError`, then nothing: hardware has moved them
    by then. The address of MEMORY_BOUNDS is the offset in the region, that of AXI_DECERR is absolute.
    """
    count1 = fields["count1"]
    count2 = fields["count2"]
    count3 = fields["count3"]
    lanes = config.lanes
    row_bytes = fields["row_bytes"]
    local_length = -(-row_bytes // lanes) * lanes
    for start in range(0, count1 * count2 * count3, _CHUNK):
        n = np.arange(start, min(start + _CHUNK, count1 * count2 * count3))
        i = n % count1
        j = n // count1 % count2
        k = n // (count1 * count2)
        offset = (fields["offset"] + k * fields["mem_step3"] + j * fields["mem_step2"]
                  + i * fields["mem_step1"]) & _MASK
        local = (fields["local"] + k * fields["local_step3"] + j * fields["local_step2"]
                 + i * fields["local_step1"]) & _MASK
        faults = []
        first = _first(local % lanes != 0)
        if first is not None:
            faults.append((first, 0, CommandError(ErrorCode.LOCAL_ALIGNMENT, int(local[first]))))
        first = _first(local + local_length > local_bytes(config, fields["space"]))
        if first is not None:
            faults.append((first, 1, CommandError(ErrorCode.LOCAL_BOUNDS, int(local[first]))))
        if fields["opcode"] != DmaOpcode.FILL:
            first = _first(offset + row_bytes > size)
            if first is not None:
                faults.append((first, 2, CommandError(ErrorCode.MEMORY_BOUNDS, int(offset[first]))))
            # Compared without `base`, which has 64 bits and may exceed int64.
            first = _first(offset + row_bytes > memory_bytes - base)
            if first is not None:
                # A burst does not cross 4 KiB and memory ends on such a boundary: the burst that fails begins there.
                address = max(base + int(offset[first]), memory_bytes)
                faults.append((first, 3, CommandError(ErrorCode.AXI_DECERR, address)))
        good, _, error = min(faults, key=lambda fault: fault[:2], default=(len(n), 0, None))
        if good:
            yield DmaRows(base + offset[:good], local[:good])
        if error is not None:
            yield error
            return


@dataclass(frozen=True)
class TensorWalk:
    """The output pixels of a DOT, SUM or MAX command, each an int64 array of shape (M,), x fastest.

    `start`: input address in pass 0, not yet modulo 2**32. `ix`, `iy`: image column
    and row in pass 0. `out`, `residual`: byte addresses. `overrun`: the first pixel that has
    no accumulator row, if any.
    """

    overrun: int | None
    start: np.ndarray
    ix: np.ndarray
    iy: np.ndarray
    out: np.ndarray
    residual: np.ndarray


def tensor_walk(fields: dict[str, int], config: ChipConfig) -> TensorWalk:
    """The walk of a command whose fields were checked.

    Raises LOCAL_BOUNDS (the word address) where weight tiles, the table or the parameter record leave the weight
    memory. A walk with too many pixels is cut after the first one that has no accumulator row.
    """
    nx = fields["nx"]
    ny = fields["ny"]
    nz = fields["nz"]
    lanes = config.lanes
    if tiles(fields):
        fitting = max(0, config.weight_words - fields["weights"]) // lanes
        if tiles(fields) > fitting:
            raise CommandError(ErrorCode.LOCAL_BOUNDS, fields["weights"] + fitting * lanes)
    if loads_table(fields) and fields["table_at"] + TABLE_BYTES // lanes > config.weight_words:
        raise CommandError(ErrorCode.LOCAL_BOUNDS, fields["table_at"])
    if fields["last"] and fields["params"] + record_words(fields) > config.weight_words:
        raise CommandError(ErrorCode.LOCAL_BOUNDS, fields["params"])
    rows = max(0, config.accumulator_rows - fields["acc"])
    m = np.arange(min(nx * ny * nz, rows + 1))
    x = m % nx
    y = m // nx % ny
    z = m // (nx * ny)

    def address(prefix: str, base: str) -> np.ndarray:
        return fields[base] + z * fields[f"{prefix}_z"] + y * fields[f"{prefix}_y"] + x * fields[f"{prefix}_x"]

    return TensorWalk(
        overrun=rows if len(m) > rows else None,
        start=address("in", "in_addr"),
        ix=fields["ix0"] + x * fields["stride_x"],
        iy=fields["iy0"] + y * fields["stride_y"],
        out=address("out", "out_addr") & _MASK,
        residual=address("res", "res_addr") & _MASK,
    )


def loads_table(fields: dict[str, int]) -> bool:
    """Whether a command brings a table."""
    return bool(fields["last"] and fields["load_table"])


def tiles(fields: dict[str, int]) -> int:
    """Number of weight tiles that a command takes."""
    if fields["opcode"] == TensorOpcode.WINDOW:
        return fields["kernel_y"]
    return passes(fields) if fields["opcode"] == TensorOpcode.DOT else 0


def passes(fields: dict[str, int]) -> int:
    """Number of passes over the output pixels; for WINDOW, one for each tap."""
    if fields["opcode"] == TensorOpcode.WINDOW:
        return fields["kernel_y"] * taps(fields)
    return fields["kernel_x"] * fields["kernel_y"] * fields["blocks"]


def input_addresses(fields: dict[str, int], walk: TensorWalk, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(address, inside) of passes first..first+count-1: shape (M, count), int64 bytes and bool.

    Where `inside` is False the pixel is padding and its address means nothing.
    """
    if fields["opcode"] == TensorOpcode.WINDOW:
        check_order(fields, walk.ix, walk.iy)
        return tap_addresses(fields, walk.ix, walk.iy, first, count)
    p = np.arange(first, first + count)
    kx = p % fields["kernel_x"]
    ky = p // fields["kernel_x"] % fields["kernel_y"]
    block = p // (fields["kernel_x"] * fields["kernel_y"])
    step = block * fields["in_block"] + ky * fields["in_ky"] + kx * fields["in_kx"]
    ix = walk.ix[:, None] + kx * fields["dilation_x"]
    iy = walk.iy[:, None] + ky * fields["dilation_y"]
    inside = (ix >= 0) & (ix < fields["in_w"]) & (iy >= 0) & (iy < fields["in_h"])
    return (walk.start[:, None] + step) & _MASK, inside


def check_walk(fields: dict[str, int], config: ChipConfig, walk: TensorWalk, address: np.ndarray, inside: np.ndarray,
               tail: bool) -> None:
    """Raise for the first illegal accumulator row or scratchpad address, in the order in which the walk meets them.

    `tail` says that the last column of `address` is the pass whose rows leave
    through the tail; there a pixel's input comes before its residual, and that before its output.
    """
    size = config.scratchpad_bytes
    lanes = config.lanes
    faults = []
    if walk.overrun is not None:
        row = fields["acc"] + walk.overrun
        faults.append((0, walk.overrun, -1, CommandError(ErrorCode.ACCUMULATOR_BOUNDS, row)))
    position = _first((inside & (address + lanes > size)).T)
    if position is not None:
        p, m = divmod(position, address.shape[0])
        faults.append((p, m, 0, CommandError(ErrorCode.LOCAL_BOUNDS, int(address[m, p]))))
    if tail:
        ends = ((1, walk.residual),) if fields["add"] else ()
        for order, where in (*ends, (2, walk.out)):
            m = _first(where + lanes > size)
            if m is not None:
                faults.append((address.shape[1] - 1, m, order, CommandError(ErrorCode.LOCAL_BOUNDS, int(where[m]))))
    if faults:
        raise min(faults, key=lambda fault: fault[:3])[3]
