"""What each command does, as the pseudo-code in `lepton.arch.commands` says.

A command is a dict of fields (`Record.unpack`) applied to the arrays of a
`ChipState`. Products are summed in floating point by BLAS, in pieces whose partial
sums all stay exact, and only then wrapped to int32.
"""

from collections.abc import Callable, Sequence

import numpy as np
from lepton.arch import DmaOpcode, ErrorCode, RowsOpcode, Space, TensorOpcode
from lepton.arch.commands import TABLE_BYTES
from lepton.arch.repeat import record_words

from .addresses import (
    DmaRows,
    TensorWalk,
    check_dma_fields,
    check_tensor_fields,
    check_walk,
    dma_rows,
    input_addresses,
    loads_table,
    passes,
    tensor_walk,
    tiles,
)
from .errors import CommandError
from .numerics import wrap_int32
from .row_walk import rows_command
from .state import AccessLog, ChipState
from .tail import tail
from .window import tap_weights

# int8 times int8 is at most 2**14 in magnitude and float32 holds integers up to 2**24 exactly.
_EXACT_PRODUCTS = 1 << 10
# OpenBLAS keeps products of up to this many multiplications on one thread (its GEMM_MULTITHREAD_THRESHOLD).
_ONE_THREAD = 1 << 18
# Input words gathered at a time, where no weights limit the passes.
_GATHER_WORDS = 1 << 20
# What a row holds after it went through the tail: contents that are undefined, chosen so that a use shows.
UNDEFINED = np.int32(0x5A5A5A5A)
# A total so far (M, N) or None, words (M, P, K) and their first pass: the new total.
_Combine = Callable[[np.ndarray | None, np.ndarray, int], np.ndarray]


def _windows(memory: np.ndarray, length: int) -> np.ndarray:
    """A view whose row i is memory[i : i+length]; rows may be assigned to, a later one wins."""
    return np.lib.stride_tricks.as_strided(memory, (len(memory) - length + 1, length), (1, 1))


def _words(rows: DmaRows, length: int, lanes: int) -> np.ndarray:
    return rows.local[:, None] // lanes + np.arange(-(-length // lanes))


def transfer(fields: dict[str, int], chip: ChipState, memory: np.ndarray, base: int, size: int,
             log: AccessLog | None = None) -> None:
    """LOAD, FILL and STORE. `memory` is all of it (uint8), `base` and `size` are those of the command's region.

    Raises `CommandError`; the rows before the illegal one have been moved then.
    """
    check_dma_fields(fields)
    lanes = chip.config.lanes
    row_bytes = fields["row_bytes"]
    local = chip.local(fields["space"])
    space = "scratchpad" if fields["space"] == Space.SCRATCHPAD else "weights"
    length = -(-row_bytes // lanes) * lanes
    for rows in dma_rows(fields, chip.config, base, size, len(memory)):
        if isinstance(rows, CommandError):
            raise rows
        if fields["opcode"] == DmaOpcode.STORE:
            _windows(memory, row_bytes)[rows.memory] = _windows(local, row_bytes)[rows.local]
        else:
            data = np.full((len(rows.local), length), fields["fill"] & 0xFF, np.uint8)
            if fields["opcode"] == DmaOpcode.LOAD:
                data[:, :row_bytes] = _windows(memory, row_bytes)[rows.memory]
            _windows(local, length)[rows.local] = data
        if log is not None:
            on_chip, in_memory = (log.read, log.write) if fields["opcode"] == DmaOpcode.STORE else (log.write, log.read)
            on_chip(space, _words(rows, row_bytes, lanes))
            if fields["opcode"] != DmaOpcode.FILL:
                in_memory("memory", rows.memory[:, None] + np.arange(row_bytes))


def gather(scratchpad: np.ndarray, address: np.ndarray, inside: np.ndarray, pad: int, lanes: int) -> np.ndarray:
    """Input words: shape address.shape + (K,), int8; `pad` where `inside` is False."""
    if inside.all():
        return _windows(scratchpad.view(np.int8), lanes)[address]
    words = _windows(scratchpad.view(np.int8), lanes)[np.where(inside, address, 0)]
    words[~inside] = pad
    return words


def weight_tiles(weights: np.ndarray, first_word: int, count: int, lanes: int) -> np.ndarray:
    """`count` tiles from a weight memory word on: shape (count, N, K), int8."""
    start = first_word * lanes
    return weights[start:start + count * lanes * lanes].view(np.int8).reshape(count, lanes, lanes)


def dot(words: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """DOT: sum over passes of tile times word; words (M, P, K), tiles (P, N, K) -> int64 (M, N)."""
    m, count, lanes = words.shape
    total = np.zeros((m, lanes), np.int64)
    step = max(1, _EXACT_PRODUCTS // lanes)
    for p in range(0, count, step):
        a = words[:, p:p + step].astype(np.float32).reshape(m, -1)
        b = tiles[p:p + step].transpose(0, 2, 1).astype(np.float32).reshape(-1, lanes)
        total += _multiply(a, b).astype(np.int64)
    return total


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b in pieces that BLAS does not spread over threads, where they would mostly wait for one another."""
    rows = max(1, _ONE_THREAD // b.size)
    whole = len(a) // rows * rows
    product = np.empty((len(a), b.shape[1]), np.float32)
    np.matmul(a[:whole].reshape(-1, rows, a.shape[1]), b, out=product[:whole].reshape(-1, rows, b.shape[1]))
    np.matmul(a[whole:], b, out=product[whole:])
    return product


def walk(fields: dict[str, int], chip: ChipState, log: AccessLog | None = None) -> None:
    """DOT, SUM, MAX and WINDOW. Raises `CommandError`; scratchpad and table are as before then."""
    config = chip.config
    lanes = chip.config.lanes
    check_tensor_fields(fields, config)
    path = tensor_walk(fields, config)
    rows = slice(fields["acc"], fields["acc"] + len(path.out))
    total = None if fields["first"] else chip.accumulators[rows].astype(np.int64)
    undefined = False
    combine = _combiner(fields, chip)
    count = passes(fields)

    step = max(1, _GATHER_WORDS // len(path.out))
    for p in range(0, count, step):
        here = min(step, count - p)
        address, inside = input_addresses(fields, path, p, here)
        emits = bool(fields["last"]) and p + here == count
        check_walk(fields, config, path, address, inside, emits)
        if emits and fields["load_table"]:
            start = fields["table_at"] * lanes
            chip.table = chip.weights[start:start + TABLE_BYTES].view(np.int8).copy()
        if log is not None:
            # The bytes of an unaligned pixel are in two words.
            log.read("scratchpad", address[inside] // lanes)
            log.read("scratchpad", (address[inside] + lanes - 1) // lanes)
        overlap = emits and _find_overlap(fields, path, address[:, -1], inside[:, -1], lanes)
        if overlap:
            here -= 1  # the last pass must go pixel by pixel
        if here:
            words = gather(chip.scratchpad, address[:, :here], inside[:, :here], fields["pad"], lanes)
            total = combine(total, words, p)
        if overlap:
            if log is not None:
                log.overlap(overlap - 1)
            _emit_in_order(fields, chip, path, address[:, -1:], inside[:, -1:], total,
                           lambda total, words: combine(total, words, count - 1))
            undefined = True
        elif emits:
            _emit(fields, chip, path, wrap_int32(total), slice(None))
            undefined = True
    chip.accumulators[rows] = UNDEFINED if undefined else wrap_int32(total)
    if log is not None:
        log.accumulate(rows.start, len(path.out), bool(fields["first"]), bool(fields["last"]))
        log.read("weights", fields["weights"] + np.arange(tiles(fields) * lanes))
        if fields["last"]:
            log.read("weights", fields["params"] + np.arange(record_words(fields)))
            if loads_table(fields):
                log.read("weights", fields["table_at"] + np.arange(TABLE_BYTES // lanes))
            if fields["table"]:
                log.look_up(loads_table(fields))
            log.write("scratchpad", path.out // lanes)
            if fields["add"]:
                log.read("scratchpad", path.residual // lanes)


def _combiner(fields: dict[str, int], chip: ChipState) -> _Combine:
    """How a command adds words (M, P, K) of its passes from `first_pass` on to a total (M, N) or None, in int64."""
    def combine(total: np.ndarray | None, words: np.ndarray, first_pass: int) -> np.ndarray:
        if fields["opcode"] == TensorOpcode.MAX:
            value = words.max(axis=1).astype(np.int64)
            return value if total is None else np.maximum(total, value)
        if fields["opcode"] == TensorOpcode.SUM:
            value = words.sum(axis=1, dtype=np.int64)
        elif fields["opcode"] == TensorOpcode.DOT:
            value = dot(words, weights[first_pass:first_pass + words.shape[1]])
        else:
            value = np.einsum("mpn,pn->mn", words.astype(np.int64),
                              tap_weights(fields, weights, first_pass, words.shape[1]))
        return value if total is None else total + value

    weights = weight_tiles(chip.weights, fields["weights"], tiles(fields), chip.config.lanes)
    return combine


def _find_overlap(fields: dict[str, int], path: TensorWalk, address: np.ndarray, inside: np.ndarray,
                  lanes: int) -> int:
    """1 + the first scratchpad byte that a pixel of the last pass reads after an earlier one wrote it; 0 if none."""
    reads = [(address[inside], np.flatnonzero(inside))]
    if fields["add"]:
        reads.append((path.residual, np.arange(len(path.out))))
    low = path.out.min()
    high = path.out.max() + lanes
    reads = [(a, m) for a, m in reads if len(a) and a.min() < high and a.max() + lanes > low]
    if not reads:
        return 0
    written_at = np.full((high - low) // lanes + 2, np.iinfo(np.int64).max)
    written_at[(path.out[::-1] - low) // lanes] = np.arange(len(path.out))[::-1]
    for a, m in reads:
        for word in ((a - low) // lanes, (a + lanes - 1 - low) // lanes):
            known = (word >= 0) & (word < len(written_at))
            late = known & (written_at[np.where(known, word, 0)] < m)
            if late.any():
                return 1 + int(low + word[late][0] * lanes)
    return 0


def _emit(fields: dict[str, int], chip: ChipState, path: TensorWalk, rows: np.ndarray, which: slice) -> None:
    """Send accumulator rows (int32) of the pixels `which` through the tail."""
    lanes = chip.config.lanes
    start = fields["params"] * lanes
    params = chip.weights[start:start + record_words(fields) * lanes].reshape(-1, lanes)
    view = _windows(chip.scratchpad.view(np.int8), lanes)
    residual = view[path.residual[which]] if fields["add"] else None
    table = chip.table if fields["table"] else None
    view[path.out[which]] = tail(rows, params, residual, table, fields)


def _emit_in_order(fields: dict[str, int], chip: ChipState, path: TensorWalk, address: np.ndarray, inside: np.ndarray,
                   total: np.ndarray | None, combine: Callable[[np.ndarray | None, np.ndarray], np.ndarray]) -> None:
    """The last pass as the pseudo-code has it, for the rare walk that reads what it has just written."""
    for m in range(len(path.out)):
        one = slice(m, m + 1)
        words = gather(chip.scratchpad, address[one], inside[one], fields["pad"], chip.config.lanes)
        row = combine(None if total is None else total[one], words)
        _emit(fields, chip, path, wrap_int32(row), one)


def execute(fields: dict[str, int], chip: ChipState, memory: np.ndarray, regions: Sequence[tuple[int, int]],
            log: AccessLog | None = None) -> None:
    """Any command. `regions` holds (base, size) by region number. Raises `CommandError`."""
    if fields["opcode"] in tuple(TensorOpcode):
        walk(fields, chip, log)
    elif fields["opcode"] in tuple(DmaOpcode):
        # A region that does not exist is reported by the checks; no row is looked at before.
        base, size = regions[fields["region"]] if fields["region"] < len(regions) else (0, 0)
        transfer(fields, chip, memory, base, size, log)
    elif fields["opcode"] in tuple(RowsOpcode):
        rows_command(fields, chip, log)
    else:
        raise CommandError(ErrorCode.ILLEGAL_OPCODE, fields["opcode"])
