"""The bench of the register file: a model of every register, drivers of the bus, and monitors of what writes do."""

import random

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp
from lepton.arch import PRESETS, REGISTERS, ChipConfig
from lepton.arch.registers import SNAPSHOT_BASE
from lepton_hdl.control.registers import SLOT_BYTES, constants

from tests.bench.checker import Outputs
from tests.bench.pins import Pins
from tests.cocotb_harness import parameters
from tests.hdl.control.peers import Host

BY_OFFSET = {register.offset: register for register in REGISTERS.values()}
RW = [register for register in REGISTERS.values() if register.access == "rw"]
INTERRUPTS = 0x5A5A_0003  # what IRQ_STATUS shows: any value
STATUS = 0xC000_0000  # plus its offset: what a read-only register shows, so that each is another value
ALL_BYTES = 0b1111  # strobe
LIMIT = 100  # cycles for one access of the bus

Pulse = tuple[str, int]
"""The register that is written, and the value."""


def chip_config() -> ChipConfig:
    """The chip of this run, as the pytest function says."""
    return PRESETS["tiny"].with_(layer_slots=parameters()["layer_slots"])


def snapshot_end() -> int:
    """The offset behind the last snapshot."""
    return SNAPSHOT_BASE + SLOT_BYTES * chip_config().layer_slots


class Model:
    """The registers, as the description of the register map says. `pulses`: writes that have an effect elsewhere."""

    def __init__(self) -> None:
        self.values = {register.name: 0 for register in RW}
        self.locked = False
        self.pulses: list[Pulse] = []
        self._constants = constants(chip_config())

    def read(self, offset: int) -> tuple[int, AxiResp]:
        """Value and response."""
        register = BY_OFFSET.get(offset)
        if register is None:
            if offset % 4 == 0 and SNAPSHOT_BASE <= offset < snapshot_end():
                slot, counter = divmod(offset - SNAPSHOT_BASE, SLOT_BYTES)
                return slot << 8 | counter // 4, AxiResp.OKAY
            return 0, AxiResp.SLVERR
        value = {"ro": self._constants.get(register.name, STATUS + offset), "rw": self.values.get(register.name, 0),
                 "w1c": INTERRUPTS, "wo": 0}[register.access]
        return value, AxiResp.OKAY

    def write(self, offset: int, value: int, strobe: int = ALL_BYTES) -> AxiResp:
        """The response."""
        register = BY_OFFSET.get(offset)
        if register is None or register.access == "ro" or strobe != ALL_BYTES or (register.job and self.locked):
            return AxiResp.SLVERR
        if register.access == "rw":
            self.values[register.name] = value
        elif register.access == "wo" or value:
            self.pulses.append((register.name, value))
        return AxiResp.OKAY

    def outputs(self) -> dict[str, int]:
        """The ports of the registers that hold a value."""
        return {name.lower(): value for name, value in self.values.items()}


class PulseMonitor:
    """The writes to registers that hold nothing: a pulse with the value, or the bits to clear."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.seen: list[Pulse] = []
        self._names = [register.name for register in REGISTERS.values() if register.access == "wo"]
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            await RisingEdge(self.pins.dut.clk)
            for name in self._names:
                if self.pins.get(f"{name.lower()}_write"):
                    self.seen.append((name, self.pins.get("write_data")))
            if clear := self.pins.get("irq_status_clear"):
                self.seen.append(("IRQ_STATUS", clear))


class Slots:
    """The snapshots: each counter shows its slot and number, from the cycle behind its request to the next.

    In some cycles one is written; no request may come then.
    """

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut = self.pins.dut
        while True:
            await RisingEdge(dut.clk)
            written = int(dut.snapshot_written.value)
            dut.snapshot_written.value = random.random() < 0.3
            if dut.snapshot_read.value:
                assert not written, "a snapshot is read while one is written"
                dut.snapshot_data.value = int(dut.snapshot_slot.value) << 8 | int(dut.snapshot_counter.value)


class Registers:
    """The block with everything but its bus: inputs, monitors, model and checker."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.model = Model()
        self.checker = Outputs(pins)
        self.pulses = PulseMonitor(pins)
        Slots(pins)

    async def start(self, **inputs: int) -> None:
        shown = {register.name.lower(): STATUS + register.offset for register in REGISTERS.values()
                 if register.access == "ro" and register.name not in constants(chip_config())}
        await self.pins.start(locked=0, irq_status=INTERRUPTS, snapshot_written=0, **shown, **inputs)
        await self.pins.tick()

    def lock(self, locked: bool = True) -> None:
        """A job runs, or none does."""
        self.pins.set(locked=locked)
        self.model.locked = locked

    def check(self, where: object = "") -> None:
        """Every register as the model says; pulses since the last check."""
        self.checker.check(self.model.outputs(), where)
        assert self.pulses.seen == self.model.pulses, f"written: {self.pulses.seen}, not {self.model.pulses}; {where}"
        self.pulses.seen.clear()
        self.model.pulses.clear()


class Bench(Registers):
    """With a host that keeps the rules of AXI4-Lite."""

    def __init__(self, pins: Pins, stall: float = 0.0) -> None:
        super().__init__(pins)
        self.host = Host(pins.dut, "bus_")
        self.host.stall(stall)

    async def write(self, offset: int, value: int) -> AxiResp:
        """Write and check all that follows; the response."""
        expected = self.model.write(offset, value)
        response = await self.host.write(offset, value)
        assert response == expected, f"the write to {offset:#x} is answered with {response!r}"
        self.check(f"write to {offset:#x}")
        return response

    async def read(self, offset: int) -> int:
        """Read and check; the value."""
        expected = self.model.read(offset)
        answer = await self.host.read(offset)
        assert answer == expected, f"the read of {offset:#x} is answered with {answer}, not {expected}"
        return expected[0]


class RawBus:
    """Drives the channels one by one, and monitors the responses that are taken."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.written: list[int] = []  # responses
        self.read: list[tuple[int, int]] = []  # values and responses

    async def cycle(self) -> None:
        """One cycle; what is offered is withdrawn behind the edge that takes it."""
        get = self.pins.get
        await self.pins.settle()
        taken = [name for name in ("aw", "w", "ar") if get(f"bus__{name}valid") and get(f"bus__{name}ready")]
        if get("bus__bvalid") and get("bus__bready"):
            self.written.append(get("bus__bresp"))
        if get("bus__rvalid") and get("bus__rready"):
            self.read.append((get("bus__rdata"), get("bus__rresp")))
        await self.pins.tick()
        self.pins.set(**{f"bus__{name}valid": 0 for name in taken})

    def offer_address(self, address: int) -> None:
        self.pins.set(bus__awvalid=1, bus__awaddr=address)

    def offer_data(self, data: int, strobe: int = ALL_BYTES) -> None:
        self.pins.set(bus__wvalid=1, bus__wdata=data, bus__wstrb=strobe)

    async def write(self, address: int, data: int, strobe: int = ALL_BYTES, *, address_at: int = 0,
                    data_at: int = 0) -> int:
        """A write whose address and data are offered in these cycles; the response."""
        self.pins.set(bus__bready=1)
        before = len(self.written)
        for cycle in range(LIMIT):
            if cycle == address_at:
                self.offer_address(address)
            if cycle == data_at:
                self.offer_data(data, strobe)
            await self.cycle()
            if len(self.written) > before:
                return self.written[-1]
        raise AssertionError(f"the write to {address:#x} is not answered")

    async def read_word(self, address: int) -> tuple[int, int]:
        """Value and response."""
        before = len(self.read)
        self.pins.set(bus__arvalid=1, bus__araddr=address, bus__rready=1)
        for _ in range(LIMIT):
            await self.cycle()
            if len(self.read) > before:
                return self.read[-1]
        raise AssertionError(f"the read of {address:#x} is not answered")
