"""The commands of the ROWS engine: which words they read and write, their errors, and their groups of rows."""

import numpy as np
from lepton.arch import ChipConfig, ErrorCode, RowsOpcode
from lepton.arch.rows import EXPONENTIALS, NORM_WORDS, ROW_GROUP, ROW_LENGTH, Rows

from . import rows as functions
from .addresses import check_aligned, check_counts
from .errors import CommandError
from .state import AccessLog, ChipState

_MASK = 0xFFFF_FFFF
_EPSILON_BITS = 48
_MOST_WORDS = 1 << 22  # of a command that are looked at for overlaps; more than any scratchpad has
_ADDRESSES = ("in_addr", "in_x", "in_y", "in_z", "in_block", "out_addr", "out_x", "out_y", "out_z", "out_block")
_SHIFTS = {RowsOpcode.SOFTMAX: (0, 31), RowsOpcode.NORM: (1, 40)}


def check_rows_fields(fields: dict[str, int], config: ChipConfig) -> None:
    """Raise ILLEGAL_FIELD or LOCAL_ALIGNMENT for what is wrong with a command wherever it goes."""
    softmax = fields["opcode"] == RowsOpcode.SOFTMAX
    check_counts(Rows, fields, ("nx", "ny", "nz", "length"))
    if fields["length"] > ROW_LENGTH:
        raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["length"])
    low, high = _SHIFTS[RowsOpcode(fields["opcode"])]
    if not low <= fields["out_shift"] <= high:
        raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["out_shift"])
    if softmax:
        if fields["out_mult"] >> 31:
            raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["out_mult"])
    else:
        if not 1 <= fields["count"] <= ROW_LENGTH:
            raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["count"])
        if fields["epsilon"] >> _EPSILON_BITS:
            raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["epsilon"] & _MASK)
    check_aligned(fields, _ADDRESSES, config.lanes)
    if softmax:
        if fields["load_table"]:
            check_aligned(fields, ("table_addr",), config.lanes)
    else:
        check_aligned(fields, ("params_addr",), config.lanes)


def rows_command(fields: dict[str, int], chip: ChipState, log: AccessLog | None = None) -> None:
    """SOFTMAX and NORM. Raises `CommandError`; the groups of rows before the illegal one have been written then."""
    config = chip.config
    lanes = config.lanes
    check_rows_fields(fields, config)
    blocks = -(-fields["length"] // lanes)
    softmax = fields["opcode"] == RowsOpcode.SOFTMAX
    constants: tuple[str, int] | None = None
    if not softmax:
        constants = "params_addr", blocks * NORM_WORDS * lanes
    elif fields["load_table"]:
        constants = "table_addr", 4 * EXPONENTIALS
    data = np.zeros(0, np.uint8)
    if constants is not None:
        start = fields[constants[0]]
        if start + constants[1] > config.scratchpad_bytes:
            raise CommandError(ErrorCode.LOCAL_BOUNDS, start)
        data = chip.scratchpad[start:start + constants[1]].copy()
        if log is not None:
            log.read("scratchpad", np.arange(start // lanes, (start + constants[1]) // lanes))
    if softmax:
        if fields["load_table"]:
            chip.exponentials = data.view("<u4").copy()
        if log is not None:
            log.look_up_exponential(bool(fields["load_table"]))
    total = fields["nx"] * fields["ny"] * fields["nz"]
    if log is not None:
        kept = None
        if constants is not None:
            kept = range(fields[constants[0]] // lanes, (fields[constants[0]] + constants[1]) // lanes)
        _report_overlap(fields, log, config, blocks, kept)
    for first in range(0, total, ROW_GROUP):
        m = np.arange(first, min(first + ROW_GROUP, total))
        source = _words(fields, "in", m, blocks)
        target = _words(fields, "out", m, blocks)
        outside = np.stack([source, target], axis=2) > config.scratchpad_bytes - lanes
        if outside.any():
            row, block, which = np.unravel_index(int(outside.argmax()), outside.shape)
            raise CommandError(ErrorCode.LOCAL_BOUNDS, int((target if which else source)[row, block]))
        _group(fields, chip, data, source // lanes, target // lanes)
        if log is not None:
            log.read("scratchpad", source // lanes)
            log.write("scratchpad", target // lanes)


def _report_overlap(fields: dict[str, int], log: AccessLog, config: ChipConfig, blocks: int,
                    constants: range | None) -> None:
    """Report a word that is written although the command reads it for another row or block, or as a constant."""
    m = np.arange(min(fields["nx"] * fields["ny"] * fields["nz"], _MOST_WORDS // blocks + 1))
    source = _words(fields, "in", m, blocks).reshape(-1) // config.lanes
    target = _words(fields, "out", m, blocks).reshape(-1) // config.lanes
    order = np.arange(len(source))
    size = config.scratchpad_words  # what is outside is an error before it is written
    last_read = np.full(size, -1)
    first_read = np.full(size, len(source))
    np.maximum.at(last_read, source[source < size], order[source < size])
    np.minimum.at(first_read, source[source < size], order[source < size])
    where = np.minimum(target, size - 1)
    bad = (last_read[where] >= 0) & ((last_read[where] != order) | (first_read[where] != order))
    if constants is not None:
        bad |= (target >= constants.start) & (target < constants.stop)
    bad &= target < size
    if bad.any():
        log.overlap(int(target[bad.argmax()]) * config.lanes)


def _words(fields: dict[str, int], prefix: str, m: np.ndarray, blocks: int) -> np.ndarray:
    """Byte addresses (rows, blocks) of the words of rows `m`."""
    x = m % fields["nx"]
    y = m // fields["nx"] % fields["ny"]
    z = m // (fields["nx"] * fields["ny"])
    row = (fields[f"{prefix}_addr"] + x * fields[f"{prefix}_x"] + y * fields[f"{prefix}_y"]
           + z * fields[f"{prefix}_z"])
    return (row[:, None] + np.arange(blocks) * fields[f"{prefix}_block"]) & _MASK


def _group(fields: dict[str, int], chip: ChipState, params: np.ndarray, source: np.ndarray,
           target: np.ndarray) -> None:
    """Rows whose words (rows, blocks) are known to be inside the scratchpad."""
    lanes = chip.config.lanes
    length = fields["length"]
    memory = chip.scratchpad.view(np.int8).reshape(-1, lanes)
    values = memory[source].reshape(len(source), -1)[:, :length]
    if fields["opcode"] == RowsOpcode.SOFTMAX:
        result = functions.softmax(values, chip.exponentials, fields)
    else:
        planes = params.reshape(-1, NORM_WORDS, lanes).transpose(0, 2, 1).reshape(-1, NORM_WORDS)[:length]
        low, middle, high = planes[:, :3].T
        factor = low.astype(np.int64) | middle.astype(np.int64) << 8 | high.view(np.int8).astype(np.int64) << 16
        bias = np.ascontiguousarray(planes[:, 3:]).view("<i4")[:, 0]
        result = functions.norm(values, factor, bias, fields)
    fill = np.clip(fields["out_zero"], fields["out_min"], fields["out_max"])
    whole = np.full((len(source), target.shape[1] * lanes), fill, np.int8)
    whole[:, :length] = result
    # Block by block, as the engine writes: of rows that share a word the last one wins.
    memory[target.T.reshape(-1)] = whole.reshape(*target.shape, lanes).transpose(1, 0, 2).reshape(-1, lanes)
