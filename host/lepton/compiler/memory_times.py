"""When LOAD and STORE move their data, and when records of commands arrive: the part of a prediction that
memory decides.

Constants are latencies of the RTL (`hdl/lepton_hdl`); `lepton.arch.memory` describes the memory.
"""

from bisect import bisect_right
from collections import deque
from math import inf

from ..arch import ChipConfig
from ..arch.commands import ENGINE_RECORDS
from ..arch.memory import MemoryTiming
from .commands import Command

# Of AXI4 and of the ports (`lepton_hdl.dma`).
_BURST_BYTES = 4096  # that a burst must not cross (IHI 0022, A3.4.1)
_BEATS_AHEAD = 256  # of LOAD, behind which a record waits (`read_port.READ_AHEAD`)
GATHERED = 64  # beats of a burst that STORE collects before it asks for the bus (`write_port.MAX_BEATS`)
_BURST_GAP = 8  # cycles beyond the latency after which a burst's place among the outstanding ones is free again

# Latencies of the RTL, as in `timing`.
FETCH = 20  # from the doorbell to the first command of a stream, without memory's latency: its beats and the queues
AHEAD = 5  # records in the queue of an engine (`control.fetch.QUEUE_DEPTH`)
_REFILL = 12  # from the time a record leaves the queue to the arrival of the one asked for in its place, likewise
_ISSUE = 2  # from the last address of a command to the first of the next


def beat_cycles(config: ChipConfig, memory: MemoryTiming) -> float:
    """Cycles of memory for a beat of the chip's bus."""
    return max(1.0, config.bus_bytes / memory.bytes_per_cycle)


class PostTimes:
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


class StreamTimes:
    """The commands of one engine, and their records on the way through its queue.

    `counts` says how many commands each record stands for, `free` when the engine can start the next command, `beat`
    how many cycles memory needs for a beat.
    """

    def __init__(self, commands: list[Command], counts: list[int], config: ChipConfig, memory: MemoryTiming,
                 beat: float) -> None:
        self._refill = memory.read_latency + _REFILL
        self._fetch = memory.read_latency + FETCH
        self._late = [0.0] * len(counts)  # by when the first records are behind others
        # Memory's cycles for a record. What it delivers as fast as the bus takes it is in the constants.
        self._cycles = 0.0
        if commands:
            beats = ENGINE_RECORDS[commands[0].engine].size // config.bus_bytes
            cycles = beats * beat
            if memory.outstanding < config.outstanding:
                cycles = max(cycles, (memory.read_latency + _BURST_GAP) / memory.outstanding)
            self._cycles = cycles if cycles > beats else 0.0
        self._commands = commands
        self._next = 0
        self._counts = counts
        self._record = 0
        self._round = 0
        self._left: list[float] = []  # when each record left the queue
        self.free = 0.0

    def earliest(self, semaphores: PostTimes) -> float:
        """When the next command can start if its record does not wait for data of LOAD.

        Infinite where there is no command, or where it waits for one whose end is not known yet.
        """
        if self._next == len(self._commands):
            return inf
        return max(semaphores.ready(self._commands[self._next].fields["wait"]), self.free, self._asked + self._refill)

    def fetched(self, load: "DmaTimes") -> float:
        """When the record of the next command is there; it comes behind what LOAD has asked for before."""
        return self._asked + self._refill + self._cycles + load.ahead(self._asked) + self._late[self._record]

    def ask(self, record: int, late: float = 0.0) -> float:
        """The cycles that memory needs for a record, which is behind others by `late` cycles; 0 behind the last one."""
        if record >= len(self._late):
            return 0.0
        self._late[record] = late
        return self._cycles

    @property
    def _asked(self) -> float:
        """When the record of the next command was asked for."""
        return self._left[self._record - AHEAD] if self._record >= AHEAD else self._fetch - self._refill

    def start(self, time: float, load: "DmaTimes") -> Command:
        """The next command, which starts at `time`."""
        command = self._commands[self._next]
        self._next += 1
        self._round += 1
        if self._round == self._counts[self._record]:
            self._left.append(time)
            self._record += 1
            load.delay(time, self.ask(len(self._left) - 1 + AHEAD))
            self._round = 0
        return command


class DmaTimes:
    """LOAD or STORE: rows one after the other, the latency of memory hidden across commands."""

    def __init__(self, config: ChipConfig, memory: MemoryTiming, overhead: tuple[int, int], gathered: int = 0) -> None:
        self._config = config
        self._latency = memory.write_latency if gathered else memory.read_latency
        self._refresh = memory.refresh
        self._beat = beat_cycles(config, memory)
        self._outstanding = min(config.outstanding, memory.outstanding)
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
        self._bursts: deque[tuple[float, int, float]] = deque(maxlen=self._outstanding)

    def ahead(self, time: float) -> float:
        """The cycles that a record which is asked for at `time` waits for the data of earlier requests."""
        started = bisect_right(self._starts, time)
        if not started:
            return 0.0
        return min(max(self._ends[started - 1] - time - self._latency, 0), self._in_flight[started - 1])

    def delay(self, time: float, cycles: float) -> None:
        """Memory spends cycles on a record that is asked for at `time`."""
        if cycles:
            self._bus = max(self._bus, time + self._latency) + cycles

    def run(self, fields: dict[str, int], start: float, slower: float = 1) -> tuple[float, float]:
        """(when the next command may start, when this one is done)."""
        config = self._config
        rows = fields["count1"] * fields["count2"] * fields["count3"]
        size = fields["row_bytes"]
        first = fields["offset"] % config.bus_bytes
        beats = -(-(first + size) // config.bus_bytes)
        words = -(-size // config.lanes)
        # Short bursts: only as many as may be in flight hide the latency.
        each = max(beats * self._beat, words, (self._latency + _BURST_GAP) / self._outstanding if rows > 1 else 1)
        each *= slower * self._refresh
        start = max(start, self._issue)
        begin = max(start + self._overhead[0] + min(beats, self._gathered) + self._latency, self._bus)
        self._bus = begin + rows * each
        bursts = 1 + size // _BURST_BYTES
        self._starts.append(start)
        self._ends.append(self._bus)
        if rows == 1 and bursts == 1:  # asked for as a whole
            self._in_flight.append(inf)
        else:
            self._in_flight.append(each / beats * min(self._outstanding * beats / bursts, _BEATS_AHEAD))
        for later in reversed(range(min(rows * bursts, self._outstanding))):
            self._bursts.append((self._bus - later * each / bursts, beats // bursts, each / beats))
        self._issue = max(start + rows * bursts + _ISSUE, self._room() - self._latency)
        return self._issue, self._bus + self._overhead[1]

    def _room(self) -> float:
        """When the port may ask for another burst: fewer are in flight than may be, and fewer than `_BEATS_AHEAD`
        beats."""
        free = self._bursts[0][0] if len(self._bursts) == self._outstanding else 0.0
        beats = _BEATS_AHEAD - 1
        for end, burst, each in reversed(self._bursts):
            if burst >= beats:
                return max(free, end - beats * each)
            beats -= burst
        return free
