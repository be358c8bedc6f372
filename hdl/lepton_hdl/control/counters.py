"""Where the cycles of a job went: the performance counters and their per-layer snapshots."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, enum, memory, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import COUNTERS, ChipConfig
from lepton.arch.commands import SEMAPHORES, SEMAPHORES_READ, SEMAPHORES_WEIGHTS, SEMAPHORES_WRITE
from lepton.arch.registers import SNAPSHOT_COUNTERS

COUNTER_BITS = 32  # one register; at 1 GHz it wraps after 4.3 s
NAMES = [name for name, _ in COUNTERS]


class Activity(enum.Enum, shape=3):
    """What the tensor pipeline does in a cycle."""

    IDLE = 0  # its walker has no command
    COMPUTE = 1  # an input word entered
    WEIGHTS = 2  # it waits for weights
    SYNC = 3  # it waits for its own earlier results, or for a residual


class Counters(wiring.Component):
    """`start` clears the counters; they count in every cycle with `running`, and in each of these
    exactly one of the causes COMPUTE to IDLE, so that the causes add up to CYCLES.

    A cycle in which the pipeline is idle because the next TENSOR command waits for semaphores
    (`blocked`) belongs to the class of the lowest of them.

    `snapshot` copies the counters, as they are before this cycle, to slot `snapshot_slot`; it
    takes one cycle. Slots keep their contents until they are written again.
    `read` asks for counter `read_counter` of slot `read_slot`: `read_data` holds it from the next cycle on.
    """

    def __init__(self, config: ChipConfig):
        slot = range(max(config.layer_slots, 2))
        self._slots = config.layer_slots
        super().__init__({
            "start": In(1),
            "running": In(1),
            "activity": In(Activity),
            "blocked": In(SEMAPHORES),
            "read_beat": In(1),
            "write_beat": In(1),
            "values": Out(data.StructLayout({name: COUNTER_BITS for name in NAMES})),
            "snapshot": In(1),
            "snapshot_slot": In(slot),
            "read": In(1),
            "read_slot": In(slot),
            "read_counter": In(range(len(SNAPSHOT_COUNTERS))),
            "read_data": Out(COUNTER_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        cause = {name: Signal(name=f"is_{name.lower()}") for name in NAMES[1:7]}
        with m.Switch(self.activity):
            for activity, name in ((Activity.COMPUTE, "COMPUTE"), (Activity.WEIGHTS, "WAIT_WEIGHTS"),
                                   (Activity.SYNC, "WAIT_SYNC")):
                with m.Case(activity):
                    m.d.comb += cause[name].eq(1)
            with m.Default():
                self._classify_wait(m, cause)

        events = {"CYCLES": 1, "READ_BEATS": self.read_beat, "WRITE_BEATS": self.write_beat} | cause
        with m.If(self.running):
            for name in NAMES:
                with m.If(events[name]):
                    m.d.sync += self.values[name].eq(self.values[name] + 1)
        with m.If(self.start):
            m.d.sync += self.values.eq(0)

        self._snapshots(m)
        return m

    def _classify_wait(self, m, cause):
        with m.If(self.blocked[SEMAPHORES_READ.start:SEMAPHORES_READ.stop].any()):
            m.d.comb += cause["WAIT_READ"].eq(1)
        with m.Elif(self.blocked[SEMAPHORES_WEIGHTS.start:SEMAPHORES_WEIGHTS.stop].any()):
            m.d.comb += cause["WAIT_WEIGHTS"].eq(1)
        with m.Elif(self.blocked[SEMAPHORES_WRITE.start:SEMAPHORES_WRITE.stop].any()):
            m.d.comb += cause["WAIT_WRITE"].eq(1)
        with m.Else():
            m.d.comb += cause["IDLE"].eq(1)

    def _snapshots(self, m):
        row = data.ArrayLayout(COUNTER_BITS, len(SNAPSHOT_COUNTERS))
        m.submodules.slots = slots = memory.Memory(shape=row, depth=self._slots, init=[])
        write = slots.write_port()
        read = slots.read_port()
        counter = Signal.like(self.read_counter)
        m.d.comb += [
            write.addr.eq(self.snapshot_slot),
            Cat(*write.data).eq(Cat(self.values[name] for name, _ in SNAPSHOT_COUNTERS)),
            write.en.eq(self.snapshot),
            read.addr.eq(self.read_slot),
            read.en.eq(self.read),
        ]
        with m.Switch(counter):  # not an index: that would be a wide shift, in every simulated cycle
            for i in range(len(SNAPSHOT_COUNTERS)):
                with m.Case(i):
                    m.d.comb += self.read_data.eq(read.data[i])
        with m.If(self.read):
            m.d.sync += counter.eq(self.read_counter)
