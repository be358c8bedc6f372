"""The mailbox: what host and processor may do is what the description says, register by register; events and sleep."""

import random

import cocotb
from cocotb.triggers import Timer
from lepton.arch.controller import CLIENTS, CONTROLLER_REGISTERS, STORED_BASE, BootState, Event
from lepton_hdl.controller.mailbox import Mailbox

from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb

SIDES = ("host", "processor")


def offset(name):
    return CONTROLLER_REGISTERS[name].offset


class Bench:
    """Accesses from both sides, with the stored registers as a dictionary."""

    def __init__(self, dut):
        self.pins, self.stored = Pins(dut), {}
        self.strobes, self.pending = [], dict.fromkeys(SIDES)

    async def start(self):
        values = {f"{name.lower()}_value": 0x1000 + i for i, name in enumerate(Mailbox.READ)}
        sides = {f"{side}{end}": 0 for side in SIDES for end in (
            "__valid", "__write", "__address", "__write_data", "_stored__done", "_stored__error",
            "_stored__read_data")}
        await self.pins.start(halt=0, halt_address=0, event=0, **values, **sides)

    async def cycle(self, **inputs):
        pins = self.pins
        pins.set(**{"event": 0} | inputs)
        for side in SIDES:  # answered a cycle after it was asked
            value = self.pending[side]
            pins.set(**{f"{side}_stored__done": value is not None, f"{side}_stored__read_data": value or 0})
        await pins.settle()
        self.strobes += [name for name in Mailbox.STROBES if pins.get(f"{name.lower()}_write")]
        for side in SIDES:
            if self.pending[side] is None and pins.get(f"{side}_stored__valid"):
                address = pins.get(f"{side}_stored__address")
                if pins.get(f"{side}_stored__write"):
                    self.stored[address] = pins.get(f"{side}_stored__write_data")
                self.pending[side] = self.stored.get(address, 0)
            else:
                self.pending[side] = None
        await pins.tick()

    async def access(self, side, address, value=None, limit=20):
        """(value read, error), or None where no answer comes."""
        self.pins.set(**{f"{side}__valid": 1, f"{side}__write": value is not None, f"{side}__address": address,
                         f"{side}__write_data": value or 0})
        for _ in range(limit):
            done, answer = self.pins.get(f"{side}__done"), self.pins.get(f"{side}__read_data")
            error = bool(self.pins.get(f"{side}__error"))
            if done:
                await self.cycle()
                self.pins.set(**{f"{side}__valid": 0})
                await self.cycle()
                return answer, error
            await self.cycle()
            await self._look()
        self.pins.set(**{f"{side}__valid": 0})
        await self.cycle()
        return None

    async def _look(self):
        """Let answers of the stored registers, which are given in this cycle, reach the ports."""
        for side in SIDES:
            value = self.pending[side]
            self.pins.set(**{f"{side}_stored__done": value is not None, f"{side}_stored__read_data": value or 0})
        await Timer(1, "ns")


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def what_is_not_described_is_refused(dut):
    """Every word of the page, from both sides, read and written; an error has no effect."""
    bench = Bench(dut)
    await bench.start()
    described = {r.offset: r for r in CONTROLLER_REGISTERS.values()}
    for address in range(0, 0x300, 4):
        register = described.get(address)
        for side in SIDES:
            access = getattr(register, side) if register else ""
            if register and register.name == "WAIT" and side == "processor":
                continue  # see sleep_and_events
            if address == offset("START"):
                continue  # it would reset the others
            before = dict(bench.stored), len(bench.strobes)
            answer = await bench.access(side, address)
            assert answer is not None and answer[1] == (access == ""), (side, hex(address), access, answer)
            answer = await bench.access(side, address, random.getrandbits(32))
            assert answer is not None and answer[1] == (access in ("", "ro")), (side, hex(address), access)
            if access in ("", "ro"):
                assert (bench.stored, len(bench.strobes)) == before, (side, hex(address))
            elif register.stored:
                assert bench.stored.get((address - STORED_BASE) // 4) is not None
    for side in SIDES:  # between the words, and beyond the registers
        for address in (1, 2, 0x42, offset("CLIENT0_TAIL") + 1, 0x300, 0xFFC):
            assert (await bench.access(side, address))[1] and (await bench.access(side, address, 1))[1], hex(address)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def sleep_and_events(dut):
    """A read of WAIT is answered when an event is there; a doorbell names its client until it is answered."""
    bench = Bench(dut)
    await bench.start()
    pins = bench.pins
    await bench.access("host", offset("START"), 1)
    assert pins.get("started")
    for client in random.sample(range(CLIENTS), CLIENTS):
        for name in ("TAIL", "CONTROL"):
            pins.set(processor__valid=1, processor__write=0, processor__address=offset("WAIT"))
            for _ in range(20):
                await bench.cycle()
                assert pins.get("waiting") and not pins.get("processor__done")
            pins.set(processor__valid=0)
            await bench.access("host", offset(f"CLIENT{client}_{name}"), 1)
            assert await bench.access("processor", offset("WAIT")) == (Event.DOORBELL, False)
            assert (await bench.access("processor", offset("DOORBELLS")))[0] == 1 << client
            await bench.access("processor", offset("DOORBELLS"), 1 << client)
            await bench.access("processor", offset("EVENTS"), Event.DOORBELL)
            assert (await bench.access("processor", offset("DOORBELLS")))[0] == 0
        for name in ("BASE", "SIZE", "LIMIT"):  # no doorbells
            await bench.access("host", offset(f"CLIENT{client}_{name}"), 1)
        assert (await bench.access("processor", offset("EVENTS")))[0] == 0
    await bench.cycle(event=Event.JOB | Event.TIMER)
    await bench.access("processor", offset("EVENTS"), Event.JOB)
    assert (await bench.access("processor", offset("WAIT")))[0] == Event.TIMER


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def interrupts_resets_and_a_halt(dut):
    bench = Bench(dut)
    await bench.start()
    pins = bench.pins
    await bench.access("host", offset("START"), 1)
    await bench.access("processor", offset("CLIENT_IRQ"), 0b101)
    assert not pins.get("client_irq"), "not enabled"
    await bench.access("host", offset("CLIENT_IRQ_ENABLE"), 0b100)
    assert pins.get("client_irq")
    await bench.access("host", offset("CLIENT_IRQ"), 0b100)
    assert not pins.get("client_irq") and (await bench.access("host", offset("CLIENT_IRQ")))[0] == 1
    await bench.access("host", offset("CLIENT_RESET"), 0x81)
    assert (await bench.access("processor", offset("WAIT")))[0] == Event.DOORBELL
    await bench.access("processor", offset("CLIENT_RESET"), 0x80)
    assert (await bench.access("host", offset("CLIENT_RESET")))[0] == 1
    await bench.access("host", offset("CLIENT_IRQ_ENABLE"), 1 << CLIENTS)
    await bench.cycle(halt=1, halt_address=0x1234)
    await bench.cycle(halt=1)
    assert pins.get("client_irq")
    assert (await bench.access("host", offset("CONTROLLER_STATUS")))[0] == BootState.HALTED
    assert (await bench.access("host", offset("DETAIL")))[0] == 0x1234
    await bench.access("host", offset("START"), 0)
    assert not pins.get("started") and not pins.get("client_irq")
    assert (await bench.access("host", offset("CONTROLLER_STATUS")))[0] == BootState.OFF


def test_mailbox():
    run_cocotb(Mailbox(), "mailbox", __name__)
