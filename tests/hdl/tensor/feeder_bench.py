"""The bench of the feeder: jobs, a weight memory, an issue stage and a tail around it, a model and a checker."""

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field

from cocotb.triggers import Timer
from lepton.arch import ChipConfig
from lepton.arch.commands import PARAM_WORDS, TABLE_BYTES, UNIFORM_PARAM_WORDS
from lepton_hdl.tensor.feeder import JOB
from lepton_hdl.tensor.parameters import SCALARS, SCALARS_WRITE, TABLE_WRITE, record_write_layout
from lepton_hdl.tensor.table import BANKS, BEAT_BYTES, BEATS

from tests.bench.layouts import decode, encode
from tests.bench.pins import Pins

_UNIFORM = 1 << SCALARS["uniform"].offset
PARAMETERS_IN_USE = 16  # cycles for which the tail holds parameters unless a test says otherwise; as its stages, about


@dataclass(frozen=True)
class Job:
    """The fields of `JOB`; `scalars` as its bits."""

    tiles: int = 1
    emits: int = 1
    load_table: int = 0
    table_at: int = 0
    kernel_x: int = 1
    kernel_y: int = 1
    blocks: int = 1
    weights: int = 0
    params: int = 0
    index: int = 7
    layer: int = 9
    scalars: int = field(default_factory=lambda: random.getrandbits(SCALARS.size) & ~_UNIFORM)

    def with_uniform_scalars(self) -> "Job":
        """The same with a short parameter record."""
        return Job(**(asdict(self) | {"scalars": self.scalars | _UNIFORM}))

    @property
    def uniform(self) -> bool:
        return bool(self.scalars & _UNIFORM)

    @property
    def bits(self) -> int:
        fields = asdict(self)
        scalars = fields.pop("scalars")
        return encode(JOB, **fields) | scalars << JOB["scalars"].offset


class WeightMemory:
    """Answers reads in the next cycle; the answer stays until the next read. `reads`: cycle and word address."""

    def __init__(self, pins: Pins, config: ChipConfig) -> None:
        self.pins = pins
        self.words = [random.getrandbits(8 * config.lanes) for _ in range(config.weight_words)]
        self.clear()

    def clear(self) -> None:
        self.reads: list[tuple[int, int]] = []
        self._answer = 0

    def drive(self) -> None:
        self.pins.set(data=self._answer)

    def observe(self, now: int) -> None:
        if self.pins.get("read__valid"):
            address = self.pins.get("read__payload")
            self.reads.append((now, address))
            self._answer = self.words[address]


@dataclass(frozen=True)
class Parameters:
    """What a command's rows need in the tail: record by word index, scalars, table by beat (None: not known)."""

    record: dict[int, int]
    scalars: int
    table: dict[int, int] | None


class Model:
    """What the jobs that were accepted need, in order; from the memory's words."""

    def __init__(self, words: list[int], lanes: int) -> None:
        self._words = words
        self._lanes = lanes
        self.tiles: deque[int] = deque()  # word addresses
        self.records: deque[Job] = deque()
        self._table: dict[int, int] | None = None

    def accept(self, job: Job) -> None:
        passes = job.blocks * job.kernel_y * job.kernel_x if job.tiles else 0
        self.tiles.extend(job.weights + self._lanes * p for p in range(passes))
        if job.emits:
            self.records.append(job)

    def next_tile(self) -> dict[int, int]:
        """The words of the next tile by column."""
        assert self.tiles, "a tile was ready but none was due"
        address = self.tiles.popleft()
        return dict(enumerate(self._words[address:address + self._lanes]))

    def next_parameters(self) -> Parameters:
        """The next parameters. A table stays until another is loaded."""
        assert self.records, "parameters were ready but none were due"
        job = self.records.popleft()
        count = UNIFORM_PARAM_WORDS if job.uniform else PARAM_WORDS
        if job.load_table:
            words = self._words[job.table_at:job.table_at + TABLE_BYTES // self._lanes]
            content = b"".join(word.to_bytes(self._lanes, "little") for word in words)
            self._table = {i: int.from_bytes(content[BEAT_BYTES * i:BEAT_BYTES * (i + 1)], "little")
                           for i in range(BEATS)}
        return Parameters(dict(enumerate(self._words[job.params:job.params + count])), job.scalars, self._table)


class Monitor:
    """What the array and the tail have been sent; fails where something in use is overwritten."""

    def __init__(self, pins: Pins, config: ChipConfig) -> None:
        self.pins = pins
        self._record_write = record_write_layout(config)
        self.clear()

    def clear(self) -> None:
        self.shadow: dict[int, int] = {}  # words by column
        self.record: dict[int, int] = {}
        self.scalars: int | None = None
        self.bank: int | None = None  # that the newest scalars name
        self.banks: list[dict[int, int]] = [{} for _ in range(BANKS)]  # beats of each

    def observe(self, bank_in_use: int | None) -> None:
        """The writes of a cycle; `bank_in_use`: None if the tail holds no parameters."""
        get = self.pins.get
        if get("load"):
            self.shadow[get("load_column")] = get("load_data")
        if get("parameters__scalars__valid"):
            assert bank_in_use is None, "scalars were overwritten while in use"
            write = SCALARS_WRITE.from_bits(get("parameters__scalars__payload"))
            self.scalars = write.scalars.as_bits()
            self.bank = write.bank
        if get("parameters__table__valid"):
            beat = decode(TABLE_WRITE, get("parameters__table__payload"))
            assert beat["bank"] != bank_in_use, "a table was overwritten while in use"
            self.banks[beat["bank"]][beat["index"]] = beat["beat"]
        if get("parameters__record__valid"):
            assert bank_in_use is None, "parameters were overwritten while in use"
            word = decode(self._record_write, get("parameters__record__payload"))
            self.record[word["index"]] = word["word"]


class Checker:
    """Compares what the monitor has seen with what the model says, when it is taken."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def tile(self, expected: dict[int, int]) -> None:
        """The shadow weights, complete and without anything of another tile."""
        assert self.monitor.shadow == expected, f"the tile is {self.monitor.shadow}, not {expected}"

    def parameters(self, expected: Parameters) -> int:
        """Everything that the tail now has; the bank of the table."""
        seen = self.monitor
        assert seen.record == expected.record, f"the record is {seen.record}, not {expected.record}"
        assert seen.scalars == expected.scalars, f"the scalars are {seen.scalars}, not {expected.scalars}"
        assert seen.bank is not None
        if expected.table is not None:
            assert seen.banks[seen.bank] == expected.table, f"the table in bank {seen.bank} is not {expected.table}"
        seen.record.clear()
        return seen.bank


class Tail:
    """Holds parameters for some cycles, then lets go of them (`taken`)."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.clear()

    def clear(self) -> None:
        self.bank: int | None = None  # that is in use; None if no parameters are held
        self._left = 0  # cycles for which they are

    @property
    def lets_go(self) -> bool:
        """Whether the parameters are taken in this cycle."""
        return self.bank is not None and self._left == 0

    def drive(self) -> None:
        self.pins.set(parameters__taken=self.lets_go)

    def advance(self) -> None:
        if self.lets_go:
            self.bank = None
        self._left -= 1

    def hold(self, bank: int, cycles: int) -> None:
        self.bank = bank
        self._left = cycles


class Bench:
    """The feeder with everything around it.

    The issue stage takes a tile or parameters only when the feeder says they are ready. What the array then sees
    are the columns loaded up to that cycle: the swap comes with the next edge but one, and before loads of that edge.
    """

    def __init__(self, pins: Pins, config: ChipConfig) -> None:
        self.pins = pins
        self.config = config
        self.memory = WeightMemory(pins, config)
        self.monitor = Monitor(pins, config)
        self.checker = Checker(self.monitor)
        self.tail = Tail(pins)
        self._forget()

    def _forget(self) -> None:
        for part in (self.memory, self.monitor, self.tail):
            part.clear()
        self.model = Model(self.memory.words, self.config.lanes)
        self.now = 0
        self.tile_cycles: list[int] = []  # in which tiles were taken

    async def start(self) -> None:
        await self.pins.start(job__valid=0, tile_take=0, params_take=0, parameters__taken=0)

    async def again(self) -> None:
        """Reset."""
        self.pins.set(rst=1, job__valid=0, tile_take=0, params_take=0, parameters__taken=0)
        await self.pins.tick()
        self.pins.set(rst=0)
        self._forget()

    async def cycle(self, job: Job | None = None, take: float = 1.0,
                    held: Callable[[], int] = lambda: PARAMETERS_IN_USE) -> bool:
        """One cycle; whether `job` was accepted. `take`: how likely what is ready is taken; `held`: for how long."""
        pins = self.pins
        self.memory.drive()
        self.tail.drive()
        pins.set(job__valid=job is not None, job__payload=job.bits if job else random.getrandbits(JOB.size),
                 tile_take=0, params_take=0)
        await pins.settle()
        # Ready does not depend on taking, so that the issue stage may decide by it.
        takes_tile = bool(pins.get("tile_ready")) and random.random() < take
        params_ready = bool(pins.get("params_ready"))
        takes_params = params_ready and random.random() < take
        accepted = job is not None and bool(pins.get("job__ready"))
        assert not params_ready or self.tail.bank is None, "parameters are ready while the tail holds the ones before"
        await Timer(1, "ns")  # inputs can be set again, still before the rising edge
        pins.set(tile_take=takes_tile, params_take=takes_params)
        await pins.settle()

        self.monitor.observe(self.tail.bank)
        self.memory.observe(self.now)
        if takes_tile:
            self.checker.tile(self.model.next_tile())
            self.tile_cycles.append(self.now)
        self.tail.advance()
        if takes_params:
            self.tail.hold(self.checker.parameters(self.model.next_parameters()), held())
        if accepted and job is not None:
            self.model.accept(job)
        self.now += 1
        await pins.tick()
        return accepted

    async def run(self, jobs: Iterable[Job], take: float = 1.0, offer: float = 1.0,
                  held: Callable[[], int] = lambda: PARAMETERS_IN_USE, limit: int = 50_000) -> None:
        """Until everything that the jobs need has been taken; `offer`: how likely the next job is offered."""
        waiting = deque(jobs)
        for _ in range(limit):
            if not waiting and not self.model.tiles and not self.model.records and self.tail.bank is None:
                return
            offered = waiting[0] if waiting and random.random() < offer else None
            if await self.cycle(offered, take, held):
                waiting.popleft()
        raise AssertionError(f"{len(waiting)} jobs, {len(self.model.tiles)} tiles, {len(self.model.records)} records "
                             f"are left after {limit} cycles")
