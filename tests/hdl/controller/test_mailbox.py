"""The mailbox: what host and processor may do is what the description says, register by register; events and sleep."""

import random
from dataclasses import dataclass

import cocotb
from cocotb.triggers import RisingEdge
from lepton.arch.controller import CLIENTS, CONTROLLER_REGISTERS, STORED_BASE, BootState, Event
from lepton_hdl.controller.mailbox import Mailbox

from tests.bench.bus import Answer, BusDriver, BusResponder, Words
from tests.bench.clock import cycles, start_clock
from tests.bench.disturbed import PlantedError, check_messages
from tests.cocotb_harness import failing_cocotb, parameters, run_cocotb

SIDES = ("host", "processor")
PLANTED = parameters().get("planted", False)
VALUES = {name: 0x1000 + i for i, name in enumerate(Mailbox.READ)}
"""What the registers that other blocks hold say in these tests."""


def offset(name: str) -> int:
    """Of a register in the page."""
    return CONTROLLER_REGISTERS[name].offset


@dataclass(frozen=True)
class Expected:
    """What the description says of an access."""

    error: bool
    data: int | None = None  # where the model knows it
    strobe: str | None = None  # output that must be high for one cycle
    held: str | None = None  # output that must show the value from then on


class Model:
    """The description of the registers, and the words that are stored."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self._described = {register.offset: register for register in CONTROLLER_REGISTERS.values()}

    def access(self, side: str, address: int, data: int | None) -> Expected:
        """What an access does."""
        register = self._described.get(address)
        allowed = getattr(register, side) if register is not None else ""
        if register is None or not allowed or (data is not None and allowed == "ro"):
            return Expected(error=True)
        if register.stored:
            word = (address - STORED_BASE) // 4
            if data is not None:
                self.words[word] = data
            return Expected(error=False, data=self.words.get(word, 0) if data is None else None)
        if data is None:
            return Expected(error=False, data=VALUES.get(register.name))
        if side == "host":
            return Expected(error=False)
        return Expected(error=False, strobe=register.name if register.name in Mailbox.STROBES else None,
                        held=register.name if register.name in Mailbox.HELD else None)


class StrobeMonitor:
    """The names of the strobes that were high, once for each cycle."""

    def __init__(self, dut) -> None:
        self.seen: list[str] = []
        self._dut = dut
        self._ports = {name: getattr(dut, f"{name.lower()}_write") for name in Mailbox.STROBES}
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            await RisingEdge(self._dut.clk)
            self.seen += [name for name, port in self._ports.items() if port.value]


class Bench:
    """A driver at each side, the stored words behind both, and the checker of every access."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.model = Model()
        self.stored = Words()
        self.drivers = {side: BusDriver(dut, side) for side in SIDES}
        self.responders = [BusResponder(dut, f"{side}_stored", self.stored.serve) for side in SIDES]
        self.strobes = StrobeMonitor(dut)

    @classmethod
    async def open(cls, dut) -> "Bench":
        """Out of reset."""
        bench = cls(dut)
        await start_clock(dut, halt=0, halt_address=0, event=0,
                          **{f"{name.lower()}_value": value for name, value in VALUES.items()})
        await cycles(dut, 1)
        return bench

    async def check(self, side: str, address: int, data: int | None = None) -> None:
        """Make an access; its answer and all its effects must be those of the model."""
        expected = self.model.access(side, address, data)
        strobes = len(self.strobes.seen)
        answer = await self.drivers[side].access(address, data)
        where = f"{side} {'reads' if data is None else 'writes'} {address:#x}"
        assert answer.error == expected.error, f"{where}: error is {answer.error}"
        if expected.data is not None:
            assert answer.data == expected.data, f"{where}: {answer.data:#x}, not {expected.data:#x}"
        assert self.strobes.seen[strobes:] == ([expected.strobe] if expected.strobe else []), \
            f"{where}: strobes {self.strobes.seen[strobes:]}"
        assert self.stored.words == self.model.words, f"{where}: the stored words are not those of the model"
        if expected.held is not None:
            got = int(getattr(self.dut, expected.held.lower()).value)
            assert data is not None
            assert got == data % (1 << len(getattr(self.dut, expected.held.lower()))), f"{where}: it holds {got:#x}"

    async def write(self, side: str, name: str, data: int) -> None:
        """Write a register, without an error."""
        assert not (await self.drivers[side].access(offset(name), data)).error

    async def read(self, side: str, name: str) -> int:
        """Read a register, without an error."""
        answer = await self.drivers[side].access(offset(name))
        assert not answer.error
        return answer.data

    async def pulse(self, **inputs: int) -> None:
        """These inputs for one cycle."""
        for name, value in inputs.items():
            getattr(self.dut, name).value = value
        await cycles(self.dut, 1)
        for name in inputs:
            getattr(self.dut, name).value = 0
        await cycles(self.dut, 2)


async def every_register(bench: Bench) -> None:
    """Every word of the page, from both sides, read and written."""
    for address in range(0, 0x300, 4):
        for side in SIDES:
            # START would reset the others; a read of WAIT by the processor waits (see sleep_and_events).
            if address == offset("START") or (address == offset("WAIT") and side == "processor"):
                continue
            await bench.check(side, address)
            await bench.check(side, address, random.getrandbits(32))


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=PLANTED)
async def what_is_not_described_is_refused(dut):
    """Every word of the page, addresses between words, and addresses beyond the registers; an error has no effect."""
    bench = await Bench.open(dut)
    await every_register(bench)
    for side in SIDES:
        for address in (1, 2, 0x42, offset("CLIENT0_TAIL") + 1, 0x300, 0xFFC):
            await bench.check(side, address)
            await bench.check(side, address, 1)


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=PLANTED)
async def sleep_and_events(dut):
    """A read of WAIT is answered when an event is there; a doorbell names its client until it is answered."""
    bench = await Bench.open(dut)
    await bench.write("host", "START", 1)
    assert dut.started.value
    for client in random.sample(range(CLIENTS), CLIENTS):
        for name in ("TAIL", "CONTROL"):
            waiting = cocotb.start_soon(bench.drivers["processor"].access(offset("WAIT"), limit=100))
            await cycles(dut, 2)
            for _ in range(20):
                await cycles(dut, 1)
                assert dut.waiting.value and not waiting.done()
            await bench.write("host", f"CLIENT{client}_{name}", 1)
            assert await waiting == Answer(Event.DOORBELL)
            assert await bench.read("processor", "DOORBELLS") == 1 << client
            await bench.write("processor", "DOORBELLS", 1 << client)
            await bench.write("processor", "EVENTS", Event.DOORBELL)
            assert await bench.read("processor", "DOORBELLS") == 0
        for name in ("BASE", "SIZE", "LIMIT"):  # no doorbells
            await bench.write("host", f"CLIENT{client}_{name}", 1)
        assert await bench.read("processor", "EVENTS") == 0
    await bench.pulse(event=Event.JOB | Event.TIMER)
    await bench.write("processor", "EVENTS", Event.JOB)
    assert await bench.read("processor", "WAIT") == Event.TIMER


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=PLANTED)
async def interrupts_resets_and_a_halt(dut):
    bench = await Bench.open(dut)
    await bench.write("host", "START", 1)
    await bench.write("processor", "CLIENT_IRQ", 0b101)
    assert not dut.client_irq.value, "not enabled"
    await bench.write("host", "CLIENT_IRQ_ENABLE", 0b100)
    assert dut.client_irq.value
    await bench.write("host", "CLIENT_IRQ", 0b100)
    assert not dut.client_irq.value and await bench.read("host", "CLIENT_IRQ") == 1
    await bench.write("host", "CLIENT_RESET", 0x81)
    assert await bench.read("processor", "WAIT") == Event.DOORBELL
    await bench.write("processor", "CLIENT_RESET", 0x80)
    assert await bench.read("host", "CLIENT_RESET") == 1
    await bench.write("host", "CLIENT_IRQ_ENABLE", 1 << CLIENTS)
    dut.halt_address.value = 0x1234
    dut.halt.value = 1
    await cycles(dut, 4)
    assert dut.client_irq.value
    assert await bench.read("host", "CONTROLLER_STATUS") == BootState.HALTED
    assert await bench.read("host", "DETAIL") == 0x1234
    await bench.write("host", "START", 0)
    assert not dut.started.value and not dut.client_irq.value
    assert await bench.read("host", "CONTROLLER_STATUS") == BootState.OFF


ERRORS = [
    PlantedError("host__error", "host reads 0x[0-9a-f]+: error is True"),
    PlantedError("processor__error", r"processor \w+ 0x[0-9a-f]+: error is \w+", first=3),
    PlantedError("host__read_data", r"host reads 0x[0-9a-f]+: 0x[0-9a-f]+, not 0x[0-9a-f]+"),
    PlantedError("host__done", "host: a second answer to one access to 0x4", first=2),
    PlantedError("processor__done", "processor: no answer to an access to 0x4 within 20 cycles", clear=True),
    PlantedError("timer_write", r"host reads 0x4: strobes \['TIMER'"),
    PlantedError("copy_offset", "processor writes 0x[0-9a-f]+: it holds 0x", 1 << 31),
    PlantedError("host_stored__write", r"host reads 0x[0-9a-f]+: 0x[0-9a-f]+, not 0x0"),
    PlantedError("processor_stored__address", "the stored words are not those of the model|0x[0-9a-f]+, not 0x"),
    PlantedError("processor_stored__write_data", "the stored words are not those of the model", 1 << 16),
]


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=not PLANTED)
@cocotb.parametrize(number=range(len(ERRORS)))
async def registers_with_a_wrong_output(dut, number):
    """Must fail."""
    await every_register(await Bench.open(ERRORS[number].planted(dut)))


def test_mailbox():
    run_cocotb(Mailbox(), "mailbox", __name__)


def test_planted_errors_are_reported():
    check_messages(failing_cocotb(Mailbox(), "mailbox", __name__, parameters={"planted": True}), ERRORS)
