"""The register file: the access rule of every register of the description, and AXI4-Lite's freedoms."""

import itertools
import random

import cocotb
import pytest
from cocotbext.axi import AxiResp
from lepton.arch import PRESETS, REGISTERS
from lepton.arch.registers import ADDRESS_BITS, SNAPSHOT_BASE
from lepton_hdl.control.registers import SLOT_BYTES, RegisterFile

from tests.bench.disturbed import DamagedPins
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.control.registers_bench import (
    ALL_BYTES,
    BY_OFFSET,
    RW,
    Bench,
    RawBus,
    Registers,
    chip_config,
    snapshot_end,
)

OK = AxiResp.OKAY
BAD = AxiResp.SLVERR


async def open_bench(pins: Pins, stall: float = 0.0) -> Bench:
    bench = Bench(pins, stall)
    await bench.start()
    return bench


async def open_raw(dut) -> tuple[Registers, RawBus]:
    registers = Registers(Pins(dut))
    await registers.start(bus__awvalid=0, bus__wvalid=0, bus__arvalid=0, bus__bready=0, bus__rready=0)
    return registers, RawBus(registers.pins)


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(stall=[0.0, 0.5])
async def every_register_follows_its_access_rule(dut, stall):
    bench = await open_bench(Pins(dut), stall)
    for register in REGISTERS.values():
        await bench.read(register.offset)
        response = await bench.write(register.offset, random.getrandbits(32) | 1)
        assert response == (BAD if register.access == "ro" else OK), register
        await bench.read(register.offset)


@cocotb.test(timeout_time=200, timeout_unit="us")
async def a_running_job_locks_its_registers_and_no_others(dut):
    bench = await open_bench(Pins(dut))
    for register in RW:
        await bench.write(register.offset, 0x1111_1111)
    bench.lock()
    for register in (r for r in REGISTERS.values() if r.access != "ro"):
        assert await bench.write(register.offset, 0x2222_2223) == (BAD if register.job else OK), register
    for register in RW:
        assert await bench.read(register.offset) == (0x1111_1111 if register.job else 0x2222_2223), register


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def unknown_offsets_answer_slverr(dut):
    bench = await open_bench(Pins(dut))
    offsets = [offset for offset in range(0, 0x140, 4) if offset not in BY_OFFSET] + [0x1000, 0x1FFC]
    if snapshot_end() < 1 << ADDRESS_BITS:
        offsets += [snapshot_end(), (1 << ADDRESS_BITS) - 4]
    for offset in offsets:
        assert bench.model.read(offset) == (0, BAD)
        await bench.read(offset)
        assert await bench.write(offset, 0xFFFF_FFFF) == BAD
    assert await bench.write(SNAPSHOT_BASE, 1) == BAD, "snapshots are read only"


async def random_accesses(bench: Bench, count: int) -> None:
    """Reads and writes of registers, of snapshots and of nothing, while jobs begin and end."""
    offsets = [*BY_OFFSET, *range(0, 0x140, 4), *range(SNAPSHOT_BASE, snapshot_end(), 4)]
    for _ in range(count):
        if random.random() < 0.1:
            bench.lock(random.random() < 0.5)
        offset = random.choice(random.choice([list(BY_OFFSET), offsets]))
        if random.random() < 0.5:
            await bench.read(offset)
        else:
            await bench.write(offset, random.choice([0, 1, random.getrandbits(32)]))


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def random_traffic(dut, stall):
    await random_accesses(await open_bench(Pins(dut), stall), 400)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("port", "value", "message"), [
    (RW[0].name.lower(), None, f"{RW[0].name.lower()} is"), ("doorbell_write", 1, "written: "),
    ("doorbell_write", 0, "written: "), ("irq_status_clear", None, "written: ")]))
async def a_wrong_bit_is_reported(dut, port, value, message):
    """The monitor and the checker notice a planted error of an output in a single cycle."""
    pins = DamagedPins(dut, port, read=0 if value else 20, value=value)
    bench = await open_bench(pins)
    with pins.reported(message):
        await bench.write(REGISTERS["DOORBELL"].offset, 1)
        await random_accesses(bench, 100)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_wrong_answer_is_reported(dut):
    """The checker notices a planted error of a value that is read, and of a response."""
    bench = await open_bench(Pins(dut))
    bench.model.values[RW[0].name] ^= 1
    with pytest.raises(AssertionError, match=f"the read of {RW[0].offset:#x} is answered with"):
        await bench.read(RW[0].offset)
    bench.model.locked = True
    with pytest.raises(AssertionError, match=r"is answered with <AxiResp\.OKAY"):
        await bench.write(next(r.offset for r in RW if r.job), 1)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def partial_strobes_and_unaligned_addresses_answer_slverr(dut):
    registers, bus = await open_raw(dut)
    offset = RW[0].offset
    for strobe in range(ALL_BYTES + 1):
        expected = registers.model.write(offset, 0x100 + strobe, strobe)
        assert await bus.write(offset, 0x100 + strobe, strobe) == expected == (OK if strobe == ALL_BYTES else BAD)
        registers.check(f"strobe {strobe}")
    for low in (1, 2, 3):
        assert await bus.write(offset + low, 0) == registers.model.write(offset + low, 0) == BAD
        registers.check(f"offset + {low}")
        for base in (offset, SNAPSHOT_BASE):
            assert await bus.read_word(base + low) == registers.model.read(base + low) == (0, BAD)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def address_and_data_come_in_any_order(dut):
    """The manager is idle between the two."""
    registers, bus = await open_raw(dut)
    delays = [(0, 0), *((0, gap) for gap in (1, 2, 5)), *((gap, 0) for gap in (1, 2, 5))]
    for register, (address_at, data_at) in zip(itertools.cycle(RW), delays, strict=False):
        value = random.getrandbits(32)
        response = await bus.write(register.offset, value, address_at=address_at, data_at=data_at)
        assert response == registers.model.write(register.offset, value) == OK
        registers.check(f"address in cycle {address_at}, data in cycle {data_at}")


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_read_passes_a_write_that_waits(dut):
    """A manager that does not take its write response can still read, and loses nothing."""
    registers, bus = await open_raw(dut)
    offset = RW[0].offset
    bus.offer_address(offset)
    bus.offer_data(77)
    for _ in range(6):
        await bus.cycle()
    assert registers.pins.get("bus__bvalid") and registers.model.write(offset, 77) == OK
    assert await bus.read_word(offset) == registers.model.read(offset) == (77, OK)
    assert registers.pins.get("bus__bvalid") and not bus.written
    registers.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def every_write_gets_its_own_response(dut):
    """A second write waits, without effect, for the manager to take the response of the first."""
    registers, bus = await open_raw(dut)
    writes = [(RW[0].offset, 1), (REGISTERS["ID"].offset, 2), (RW[0].offset, 3)]
    waiting = iter(writes)

    async def cycles(count: int) -> None:
        """The next write is offered as soon as the one before has been taken."""
        for _ in range(count):
            idle = not registers.pins.get("bus__awvalid") and not registers.pins.get("bus__wvalid")
            if idle and (write := next(waiting, None)) is not None:
                bus.offer_address(write[0])
                bus.offer_data(write[1])
            await bus.cycle()

    for offset, value in writes:
        await cycles(10)
        assert registers.pins.get("bus__bvalid")
        expected = registers.model.write(offset, value)
        registers.check(f"write of {value}")
        registers.pins.set(bus__bready=1)
        await cycles(1)
        registers.pins.set(bus__bready=0)
        assert bus.written[-1] == expected
    await cycles(10)
    assert not registers.pins.get("bus__bvalid") and len(bus.written) == len(writes)


@cocotb.test(timeout_time=500, timeout_unit="us")
async def the_snapshot_window_asks_for_slot_and_counter(dut):
    bench = await open_bench(Pins(dut))
    count = chip_config().layer_slots
    for slot in {0, 1, count // 2, count - 1}:
        for counter in range(SLOT_BYTES // 4):
            assert await bench.read(SNAPSHOT_BASE + SLOT_BYTES * slot + 4 * counter) == slot << 8 | counter


@pytest.mark.parametrize("layer_slots", [256, 2])
def test_registers(layer_slots):
    config = PRESETS["tiny"].with_(layer_slots=layer_slots)
    run_cocotb(RegisterFile(config), "register_file", __name__, parameters={"layer_slots": layer_slots})
