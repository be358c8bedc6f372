"""How many cycles a job takes: its commands walked through a model of the engines and of memory.

Each command starts when its engine, its semaphores and its record are there, as on the chip, and its work takes what
the engine's slowest part needs. Constants are latencies of the RTL (`hdl/lepton_hdl`) and of the default memory profile
(design D8); `tests/system/test_predictions.py` compares the result with the chip's counters.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from math import inf

from ..arch import ChipConfig, Engine, RowsOpcode, TensorOpcode
from ..arch.repeat import record_words
from ..arch.rows import EXPONENTIALS, ROW_GROUP
from .commands import Command

# Of the default memory profile (`lepton_sim.memory_profile`).
_LATENCY = 64  # cycles from a burst's address to its first data, and from its last data to the response
_REFRESH = 1024 / 992  # cycles of memory for each in which it moves data: 32 of 1024 refresh it

# Of AXI4 and of the ports (`lepton_hdl.dma`).
_BURST_BYTES = 4096  # that a burst must not cross (IHI 0022, A3.4.1)
_BEATS_AHEAD = 256  # of LOAD, behind which a record waits (`read_port.READ_AHEAD`)
_GATHERED = 64  # beats of a burst that STORE collects before it asks for the bus (`write_port.MAX_BEATS`)
_BURST_GAP = 8  # cycles beyond the latency after which a burst's place among the outstanding ones is free again

# Latencies of the RTL. They add up the stages of the blocks; changes there show in `tests/system/test_predictions.py`.
_FETCH = 84  # from the doorbell to the first command of a stream: latency, its beats, and the queues
_AHEAD = 5  # records in the queue of an engine (`control.fetch.QUEUE_DEPTH`)
_REFILL = 76  # from the time a record leaves the queue to the arrival of the one asked for in its place
_READ = (4, 8)  # from a LOAD's start to its first address, and from its last data to `done`
_WRITE = (0, 6)  # the same for a STORE
_FEED = 0  # from a TENSOR command's start to the first column of its weights
_PIPELINE = 9  # from the last pixel's issue to `done`
_RESIDUAL = 10  # the same, in addition for a row with a residual (`tensor.residual_add.STAGES`)
_SAME_ROW = 2  # between two passes over a single accumulator row
_TABLE = 61  # to bring a table into the tail
_DONE = 14  # from the last command's end to the counters' stop
_ISSUE = 2  # from the last address of a command to the first of the next

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


class _PostTimes:
    """The times of the posts that have not been waited for, by semaphore, in order."""

    def __init__(self) -> None:
        self._posts: dict[int, list[float]] = {}
        self._taken: dict[int, int] = {}

    def ready(self, mask: int) -> float:
        """When every semaphore in `mask` can be taken; infinite where a post's time is not known yet."""
        time = 0.0
        while mask:
            lowest = mask & -mask
            posts = self._posts.get(lowest, ())
            index = self._taken.get(lowest, 0)
            if index == len(posts):
                return inf
            time = max(time, posts[index])
            mask ^= lowest
        return time

    def take(self, mask: int) -> None:
        while mask:
            lowest = mask & -mask
            self._taken[lowest] = self._taken.get(lowest, 0) + 1
            mask ^= lowest

    def post(self, mask: int, time: float) -> None:
        while mask:
            lowest = mask & -mask
            self._posts.setdefault(lowest, []).append(time)
            mask ^= lowest


class _StreamTimes:
    """The commands of one engine, and their records on the way through its queue.

    `counts` says how many commands each record stands for, `free` when the engine can start the next command.
    """

    def __init__(self, commands: list[Command], counts: list[int]) -> None:
        self._commands = commands
        self._next = 0
        self._counts = counts
        self._record = 0
        self._round = 0
        self._left: list[float] = []  # when each record left the queue
        self.free = 0.0

    def earliest(self, semaphores: _PostTimes) -> float:
        """When the next command can start if its record does not wait for data of LOAD.

        Infinite where there is no command, or where it waits for one whose end is not known yet.
        """
        if self._next == len(self._commands):
            return inf
        return max(semaphores.ready(self._commands[self._next].fields["wait"]), self.free, self._asked + _REFILL)

    def fetched(self, load: "_Dma") -> float:
        """When the record of the next command is there; it comes behind what LOAD has asked for before."""
        return self._asked + _REFILL + load.ahead(self._asked)

    @property
    def _asked(self) -> float:
        """When the record of the next command was asked for."""
        return self._left[self._record - _AHEAD] if self._record >= _AHEAD else _FETCH - _REFILL

    def start(self, time: float) -> Command:
        """The next command, which starts at `time`."""
        command = self._commands[self._next]
        self._next += 1
        self._round += 1
        if self._round == self._counts[self._record]:
            self._left.append(time)
            self._record += 1
            self._round = 0
        return command


class _Dma:
    """LOAD or STORE: rows one after the other, the latency of memory hidden across commands."""

    def __init__(self, config: ChipConfig, overhead: tuple[int, int], gathered: int = 0) -> None:
        self._config = config
        self._overhead = overhead
        self._gathered = gathered
        self._issue = 0.0  # when the next row may be asked for
        self._bus = 0.0  # when the bus is free
        # Of each command: its start, when its last beat has left the bus, and the cycles that its beats in flight can
        # take.
        self._starts: list[float] = []
        self._ends: list[float] = []
        self._in_flight: list[float] = []
        # The latest bursts, as many as may be in flight: the end of each, its beats, and its cycles for each beat.
        self._bursts: deque[tuple[float, int, float]] = deque(maxlen=config.outstanding)

    def ahead(self, time: float) -> float:
        """The cycles that a record which is asked for at `time` waits for the data of earlier requests."""
        started = bisect_right(self._starts, time)
        if not started:
            return 0.0
        return min(max(self._ends[started - 1] - time - _LATENCY, 0), self._in_flight[started - 1])

    def run(self, fields: dict[str, int], start: float, slower: float = 1) -> tuple[float, float]:
        """(when the next command may start, when this one is done)."""
        config = self._config
        rows = fields["count1"] * fields["count2"] * fields["count3"]
        size = fields["row_bytes"]
        first = fields["offset"] % config.bus_bytes
        beats = -(-(first + size) // config.bus_bytes)
        words = -(-size // config.lanes)
        # Short bursts: only as many as may be in flight hide the latency.
        each = max(beats, words, (_LATENCY + _BURST_GAP) / config.outstanding if rows > 1 else 1)
        each *= slower * _REFRESH
        start = max(start, self._issue)
        begin = max(start + self._overhead[0] + min(beats, self._gathered) + _LATENCY, self._bus)
        self._bus = begin + rows * each
        bursts = 1 + size // _BURST_BYTES
        self._starts.append(start)
        self._ends.append(self._bus)
        if rows == 1 and bursts == 1:  # asked for as a whole
            self._in_flight.append(inf)
        else:
            self._in_flight.append(each / beats * min(config.outstanding * beats / bursts, _BEATS_AHEAD))
        for later in reversed(range(min(rows * bursts, config.outstanding))):
            self._bursts.append((self._bus - later * each / bursts, beats // bursts, each / beats))
        self._issue = max(start + rows * bursts + _ISSUE, self._room() - _LATENCY)
        return self._issue, self._bus + self._overhead[1]

    def _room(self) -> float:
        """When the port may ask for another burst: fewer are in flight than may be, and fewer than `_BEATS_AHEAD`
        beats."""
        free = self._bursts[0][0] if len(self._bursts) == self._config.outstanding else 0.0
        beats = _BEATS_AHEAD - 1
        for end, burst, each in reversed(self._bursts):
            if burst >= beats:
                return max(free, end - beats * each)
            beats -= burst
        return free


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


def predict(commands: list[Command], records: dict[Engine, list[int]], config: ChipConfig) -> Prediction:
    """The cycles of a job's commands, which have their semaphores; `records` has for each engine how many of them each
    record stands for.

    The engines' commands are taken in the order of time, not of `commands`: LOAD runs far ahead of the others, and the
    records that these fetch wait for its data.
    """
    semaphores = _PostTimes()
    streams = {engine: _StreamTimes([command for command in commands if command.engine == engine], records[engine])
               for engine in Engine}
    load = _Dma(config, _READ)
    store = _Dma(config, _WRITE, _GATHERED)
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
        fields = stream.start(start).fields
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
