"""How many cycles a job takes: its commands walked through a model of the engines and of memory.

Each command starts when its engine, its semaphores and its record are there, as on the chip, and its work takes what
the engine's slowest part needs. Constants are latencies of the RTL (`hdl/lepton_hdl`); `lepton.arch.memory` describes
the memory. `tests/system/test_predictions.py` compares the result with the chip's counters.
"""

from dataclasses import dataclass
from math import inf

from ..arch import ChipConfig, Engine, RowsOpcode, TensorOpcode
from ..arch.memory import MemoryTiming
from ..arch.repeat import record_words
from ..arch.rows import EXPONENTIALS, ROW_GROUP
from .commands import Command
from .memory_times import AHEAD, FETCH, GATHERED, DmaTimes, PostTimes, StreamTimes, beat_cycles

# Latencies of the RTL. They add up the stages of the blocks; changes there show in `tests/system/test_predictions.py`.
_READ = (4, 8)  # from a LOAD's start to its first address, and from its last data to `done`
_WRITE = (0, 6)  # the same for a STORE
_FEED = 0  # from a TENSOR command's start to the first column of its weights
_PIPELINE = 9  # from the last pixel's issue to `done`
_RESIDUAL = 10  # the same, in addition for a row with a residual (`tensor.residual_add.STAGES`)
_SAME_ROW = 2  # between two passes over a single accumulator row
_TABLE = 61  # to bring a table into the tail
_DONE = 14  # from the last command's end to the counters' stop

_ROWS_START = 20  # from a ROWS command's start to its first word, and from its last word to `done`
_ROWS_GROUP = 66  # the drains between the passes of a group of rows
_ROWS_SCALAR = (36, 24)  # from one row to the next in the scalar unit: NORM's root, SOFTMAX's reciprocal

# Empirical: LOAD is this much slower while a window unit skips pixels, since they meet in the scratchpad's banks.
_STRIDED = 1.18


@dataclass(frozen=True)
class Prediction:
    """Cycles of a job: `layers` by layer index, each from the end of the one that ends before it, and `total` with what
    follows."""

    layers: dict[int, float]
    total: float


class _TensorTimes:
    """The pipeline: tiles of weights are fed one pass ahead, results land `_PIPELINE` cycles after their last pixel."""

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        self._issue = 0.0  # when the next pass may begin
        self._feeder = 0.0  # when the feeder may take the next command's weights
        self._done = 0.0  # when the results of all commands have landed

    def run(self, fields: dict[str, int], start: float, columns: int) -> tuple[float, float]:
        """(when the next command may start, when this one is done). `columns`: of the image, for WINDOW."""
        lanes = self._config.lanes
        opcode = fields["opcode"]
        pixels = fields["nx"] * fields["ny"] * fields["nz"]
        passes = fields["blocks"] * fields["kernel_y"] * fields["kernel_x"]
        if opcode == TensorOpcode.WINDOW:
            passes = fields["kernel_y"]
            rows = fields["iy0"] + (fields["ny"] - 1) * fields["stride_y"] + fields["tap_rows"] - max(fields["iy0"], 0)
            pixels = rows * columns
        tiles = opcode in (TensorOpcode.DOT, TensorOpcode.WINDOW)
        if fields.get("fence"):
            start = max(start, self._done)
        feed = max(start + _FEED, self._feeder)
        ready = feed + (lanes if tiles else 0)
        records = 0.0
        if fields.get("last"):
            records = record_words(fields) + (_TABLE if fields.get("load_table") else 0)
        begin = max(start, self._issue, ready)
        each = max(pixels, lanes) if tiles else max(pixels, _SAME_ROW) if passes > 1 else pixels
        last = begin + (passes - 1) * each  # when the last pass begins
        fed = (max(last - each + lanes, ready) if tiles and passes > 1 else ready) + records
        last = max(last, fed)
        self._feeder = max(fed, last if tiles else fed)
        self._issue = last + pixels + 1
        self._done = self._issue + _PIPELINE + (_RESIDUAL if fields.get("last") and fields.get("add") else 0)
        return self._feeder, self._done


class _RowsTimes:
    """The ROWS engine: groups of rows, each in passes over all words; commands follow one another."""

    def __init__(self, config: ChipConfig) -> None:
        self._config = config

    def run(self, fields: dict[str, int], start: float) -> tuple[float, float]:
        """(when the next command may start, when this one is done)."""
        config = self._config
        softmax = fields["opcode"] == RowsOpcode.SOFTMAX
        rows = fields["nx"] * fields["ny"] * fields["nz"]
        words = -(-fields["length"] // config.lanes)
        groups = -(-rows // ROW_GROUP)
        row = words * config.lanes // max(config.row_lanes, 1)
        cycles = rows * ((2 if softmax else 1) * row + max(row, _ROWS_SCALAR[softmax])) + groups * _ROWS_GROUP
        if fields.get("load_table"):
            cycles += 4 * EXPONENTIALS // config.lanes
        done = start + _ROWS_START + cycles
        return done, done


def predict(commands: list[Command], records: dict[Engine, list[int]], config: ChipConfig,
            memory: MemoryTiming) -> Prediction:
    """The cycles of a job's commands, which have their semaphores, with a memory; `records` has for each engine how
    many of them each record stands for.

    The engines' commands are taken in the order of time, not of `commands`: LOAD runs far ahead of the others, and the
    records that these fetch wait for its data.
    """
    semaphores = PostTimes()
    beat = beat_cycles(config, memory)
    streams = {engine: StreamTimes([command for command in commands if command.engine == engine], records[engine],
                                    config, memory, beat) for engine in Engine}
    load = DmaTimes(config, memory, _READ)
    store = DmaTimes(config, memory, _WRITE, GATHERED)
    late = 0.0
    for record in range(AHEAD):  # the queues are filled in turn
        for stream in streams.values():
            late += stream.ask(record, late)
    load.delay(FETCH, late)
    tensor = _TensorTimes(config)
    rows = _RowsTimes(config)
    slower = {command.fields["layer"]: _STRIDED for command in commands if command.engine == Engine.TENSOR
              and command.fields["opcode"] == TensorOpcode.WINDOW and command.fields["stride_y"] > 1}
    ends: dict[int, float] = {}
    total = 0.0
    earliest = dict.fromkeys(Engine, inf)
    for _ in commands:
        for engine, stream in streams.items():
            if earliest[engine] == inf:
                earliest[engine] = stream.earliest(semaphores)
        engine = min(earliest, key=earliest.__getitem__)
        stream = streams[engine]
        start = max(earliest[engine], stream.fetched(load))
        earliest[engine] = inf
        fields = stream.start(start, load).fields
        semaphores.take(fields["wait"])
        if engine == Engine.TENSOR:
            stream.free, done = tensor.run(fields, start, fields["in_w"])
            ends[fields["layer"]] = done
        elif engine == Engine.LOAD:
            stream.free, done = load.run(fields, start, slower.get(fields["layer"], 1.0))
        elif engine == Engine.ROWS:
            stream.free, done = rows.run(fields, start)
            ends[fields["layer"]] = done
        else:
            stream.free, done = store.run(fields, start)
        semaphores.post(fields["post"], done)
        total = max(total, done)
    order = sorted(ends, key=lambda layer: (ends[layer], layer))
    before = [0.0, *(ends[layer] for layer in order)]
    return Prediction({layer: ends[layer] - past for layer, past in zip(order, before, strict=False)}, total + _DONE)
