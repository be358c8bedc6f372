"""The controller's registers, between the host and the processor."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import Region
from lepton.arch.controller import (
    CLIENTS,
    CONTROLLER_REGISTERS,
    LAUNCH_BASE,
    LAUNCH_COPIED,
    RESULT_BASE,
    STORED_BASE,
    WINDOW_BASE,
    WINDOW_STRIDE,
    BootState,
    Event,
)

from .bus import BusSignature
from .stored import WORD_BITS

PAGE_BITS = 12  # of an offset in the 4 KiB of registers that begin at HOST_BASE
STATUS_CHANGED = CLIENTS  # bit of CLIENT_IRQ


class Mailbox(wiring.Component):
    """`host` and `processor` reach the registers of `lepton.arch.controller`; the stored ones through `host_stored`
    and `processor_stored`. An access that the description does not allow ends in `error`, without effect.

    Strobes last one cycle, `write_data` holds the processor's value meanwhile. `halt` (with `halt_address`): the
    processor cannot go on. `wake`: an event is pending; `waiting`: the processor reads WAIT, and none is.
    `client_irq`: to the host.
    """

    STROBES = ("TIMER", "LOCK", "BIST", "COPY_START", "COPY_CRC", "LAUNCH")
    HELD = ("COPY_WINDOW", "COPY_OFFSET", "COPY_LOCAL", "COPY_LENGTH", "LAUNCH_WINDOW", "LAUNCH_LIMIT")
    READ = ("TIME", "TIME_HI", "BIST_STATUS", "COPY_STATUS", "COPY_CRC", "LAUNCH_STATUS", "RESULT_START",
            "RESULT_START_HI")
    SHARED = ("CONTROLLER_STATUS", "DETAIL", "FIRMWARE", "LOG_COUNT")

    def __init__(self):
        super().__init__({
            "host": In(BusSignature(PAGE_BITS)), "processor": In(BusSignature(PAGE_BITS)),
            "host_stored": Out(BusSignature(WORD_BITS)), "processor_stored": Out(BusSignature(WORD_BITS)),
            "write_data": Out(32), "started": Out(1), "halt": In(1), "halt_address": In(32),
            "event": In(len(Event)), "wake": Out(1), "waiting": Out(1), "client_irq": Out(1),
        } | {f"{name.lower()}_write": Out(1) for name in self.STROBES}
          | {name.lower(): Out(32) for name in self.HELD}
          | {f"{name.lower()}_value": In(32) for name in self.READ})

    def elaborate(self, platform):
        m = Module()
        shared = {name: Signal(32, name=name.lower()) for name in self.SHARED}
        irq_enable = Signal(CLIENTS + 1)
        irq = Signal(CLIENTS + 1)
        client_reset = Signal(CLIENTS)
        doorbells = Signal(CLIENTS)
        events = Signal(len(Event))
        values = shared | {name: getattr(self, f"{name.lower()}_value") for name in self.READ} | {
            "CLIENT_IRQ_ENABLE": irq_enable, "CLIENT_IRQ": irq, "CLIENT_RESET": client_reset, "DOORBELLS": doorbells,
            "EVENTS": events, "WAIT": events}
        m.d.comb += [
            self.client_irq.eq((irq & irq_enable).any()), self.wake.eq(events.any()),
            self.write_data.eq(self.processor.write_data),
        ]
        raised = Signal(len(Event))
        cleared = Signal(len(Event))
        doorbell = Signal()
        rung = Signal.like(doorbells)
        answered = Signal.like(doorbells)
        irq_set = Signal.like(irq)
        irq_cleared = Signal.like(irq)
        reset_set = Signal.like(client_reset)
        reset_cleared = Signal.like(client_reset)
        m.d.comb += raised.eq(self.event | Cat(doorbell | rung.any()))
        m.d.sync += [
            events.eq((events & ~cleared) | raised), irq.eq((irq & ~irq_cleared) | irq_set),
            doorbells.eq((doorbells & ~answered) | rung),
            client_reset.eq((client_reset & ~reset_cleared) | reset_set),
        ]

        host = self.host.write_data
        processor = self.processor.write_data
        start = Signal()
        actions = {
            ("host", "START"): [start.eq(1)],
            ("host", "CLIENT_IRQ"): [irq_cleared.eq(host)],
            ("host", "CLIENT_RESET"): [reset_set.eq(host), doorbell.eq(1)],
            ("processor", "CLIENT_IRQ"): [irq_set.eq(processor)],
            ("processor", "CLIENT_RESET"): [reset_cleared.eq(processor)],
            ("processor", "EVENTS"): [cleared.eq(processor)],
            ("processor", "DOORBELLS"): [answered.eq(processor)],
        } | {("processor", name): [getattr(self, f"{name.lower()}_write").eq(1)] for name in self.STROBES}
        held = {("host", "CLIENT_IRQ_ENABLE"): irq_enable} | {
            ("processor", name): getattr(self, name.lower()) for name in self.HELD} | {
            ("processor", name): signal for name, signal in shared.items()}
        self._side(m, "host", values, actions, held, rung)
        self._side(m, "processor", values, actions, held, None)

        status = shared["CONTROLLER_STATUS"]
        halted = Signal()  # a cycle later, when the address is there
        m.d.sync += halted.eq(self.halt)
        with m.If(halted & self.started & (status != BootState.HALTED)):
            m.d.sync += [status.eq(BootState.HALTED), shared["DETAIL"].eq(self.halt_address)]
            m.d.comb += irq_set[STATUS_CHANGED].eq(1)
        with m.If(start):
            m.d.sync += self.started.eq(host[0])
            m.d.sync += [events.eq(0), client_reset.eq(0), doorbells.eq(0), irq.eq(0), shared["DETAIL"].eq(0),
                         status.eq(BootState.OFF)]
        return m

    def _side(self, m, side, values, actions, held, rung):
        """One side's accesses: a stored register goes on, the others are answered in the next cycle."""
        bus = getattr(self, side)
        stored = getattr(self, f"{side}_stored")
        answer = Signal(name=f"{side}_answer")
        error = Signal(name=f"{side}_error")
        reply = Signal(32, name=f"{side}_reply")
        exists = Signal(name=f"{side}_exists")
        act = Signal(name=f"{side}_act")
        m.d.comb += [
            act.eq(bus.valid & ~exists & ~answer),
            stored.valid.eq(bus.valid & exists),
            stored.address.eq(bus.address[2:2 + WORD_BITS] - STORED_BASE // 4),
            stored.write.eq(bus.write), stored.write_data.eq(bus.write_data),
            bus.done.eq(answer | stored.done), bus.error.eq(error),
            bus.read_data.eq(Mux(answer, reply, stored.read_data)),
        ]
        self._stored_exists(m, side, bus, exists)
        if rung is not None:
            bells = (CONTROLLER_REGISTERS[f"CLIENT0_{name}"].offset % WINDOW_STRIDE for name in ("CONTROL", "TAIL"))
            with m.If(stored.done & bus.write & Cat(bus.address[:5] == bell for bell in bells).any()):
                m.d.comb += rung.bit_select((bus.address - WINDOW_BASE)[exact_log2(WINDOW_STRIDE):PAGE_BITS], 1).eq(1)

        m.d.sync += answer.eq(act)
        if side == "processor":  # a read of WAIT is answered when there is something to do
            m.d.comb += self.waiting.eq(act & (bus.address == CONTROLLER_REGISTERS["WAIT"].offset) & ~self.wake)
            with m.If(self.waiting):
                m.d.sync += answer.eq(0)
        with m.If(act):
            m.d.sync += [error.eq(1), reply.eq(0)]
            with m.Switch(bus.address):
                for register in CONTROLLER_REGISTERS.values():
                    access = getattr(register, side)
                    if not access or register.stored:
                        continue
                    with m.Case(register.offset):
                        if access != "wo":
                            m.d.sync += reply.eq(values[register.name])
                        with m.If(~bus.write):
                            m.d.sync += error.eq(0)
                        if access != "ro":
                            with m.Else():
                                m.d.sync += error.eq(0)
                                m.d.comb += actions.get((side, register.name), [])
                                if (side, register.name) in held:
                                    m.d.sync += held[side, register.name].eq(bus.write_data)
        with m.If(answer):
            m.d.sync += error.eq(0)

    @staticmethod
    def _stored_exists(m, side, bus, exists):
        """Whether `side` may do this to a stored register; the description says the same, register by register."""
        first = STORED_BASE
        window = WINDOW_BASE
        position = (bus.address - window)[exact_log2(WINDOW_STRIDE):PAGE_BITS]
        place = bus.address[2:5]
        in_window = Signal(name=f"{side}_in_window")
        of_controller = Signal(name=f"{side}_of_controller")
        m.d.comb += [
            in_window.eq((bus.address >= window) & (position <= CLIENTS)), of_controller.eq(position == CLIENTS),
        ]
        with m.If((bus.address[:2] == 0) & in_window & ~(of_controller & (place > 2))):
            m.d.comb += exists.eq(~bus.write | ((place < 6) if side == "host" else (place >= 6)))
        if side == "processor":
            staged_end = LAUNCH_BASE + 4 * (len(LAUNCH_COPIED) + 2 * len(Region))
            with m.If((bus.address[:2] == 0) & (bus.address >= first) & (bus.address < window)):
                m.d.comb += exists.eq((bus.address < staged_end) | ((bus.address >= RESULT_BASE) & ~bus.write))
