"""The processor: PicoRV32 (RV32I) from PyPI's pythondata-cpu-picorv32, with its memories.

The core's Verilog stays in its package: `platform.add_file` hands it to the program that converts the design.
"""

import importlib.util
from pathlib import Path

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from lepton.arch.controller import (
    CHIP_BASE,
    CODE_BASE,
    CODE_BYTES,
    DATA_BASE,
    DATA_BYTES,
    PERIPHERAL_BASE,
    ROM_BASE,
    ROM_BYTES,
)

from .bus import BusSignature
from .copy import LOCAL_BITS

PARAMETERS = {  # those that differ from the core's defaults or that the firmware relies on
    "ENABLE_COUNTERS": 0, "ENABLE_COUNTERS64": 0, "BARREL_SHIFTER": 1, "COMPRESSED_ISA": 0, "ENABLE_MUL": 0,
    "ENABLE_DIV": 0, "ENABLE_IRQ": 0, "CATCH_MISALIGN": 1, "CATCH_ILLINSN": 1, "PROGADDR_RESET": ROM_BASE,
}


class CoreMissing(ImportError):
    """The package with the processor's Verilog is not installed."""


def core_source() -> Path:
    """The core's Verilog file in its package. Raises `CoreMissing`."""
    spec = importlib.util.find_spec("pythondata_cpu_picorv32")
    if spec is None:
        raise CoreMissing("a chip with controller=True needs the package pythondata-cpu-picorv32; "
                          "install it with pip install 'lepton-chip[firmware]'", name="pythondata_cpu_picorv32")
    return Path(spec.origin).parent / "verilog" / "picorv32.v"


class Processor(wiring.Component):
    """The core with ROM (`rom`: its words), code memory and data memory; everything else goes to `peripheral`
    (the controller's registers) or `chip` (the chip's), whose addresses count from the start of either.

    The core stands still while `run` is low, and begins at the ROM when it rises. `trap`: it met an illegal
    instruction, an unaligned or an unmapped address or an access that was refused; it stays so until `run` is low.
    `trap_address`: of the last access, from the cycle after.
    The clock may stand still while it waits for `peripheral` or `chip`.

    `copy_*`: the copy engine's port to code and data memory; data follow a read one cycle later.
    """

    def __init__(self, rom: list[int]):
        if len(rom) > ROM_BYTES // 4:
            raise ValueError(f"rom must be at most {ROM_BYTES // 4} words, not {len(rom)}")
        self._rom = rom
        super().__init__({
            "run": In(1), "trap": Out(1), "trap_address": Out(32),
            "peripheral": Out(BusSignature(12)), "chip": Out(BusSignature(14)),
            "copy_address": In(LOCAL_BITS), "copy_read": In(1), "copy_data": Out(32),
            "copy_write_data": In(32), "copy_write_code": In(1), "copy_write_memory": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        if hasattr(platform, "add_file"):
            platform.add_file("picorv32.v", core_source().read_text())
        valid = Signal()
        ready = Signal()
        address = Signal(32)
        write_data = Signal(32)
        strobe = Signal(4)
        read_data = Signal(32)
        ahead_read = Signal()
        ahead_address = Signal(32)
        core_trap = Signal()
        fault = Signal()
        m.submodules.core = Instance(
            "picorv32", *(("p", name, Const(value, 32 if name.startswith("PROGADDR") else 1))
                          for name, value in PARAMETERS.items()),
            i_clk=ClockSignal(), i_resetn=self.run, o_trap=core_trap,
            o_mem_valid=valid, i_mem_ready=ready, o_mem_addr=address, o_mem_wdata=write_data, o_mem_wstrb=strobe,
            i_mem_rdata=read_data, o_mem_la_read=ahead_read, o_mem_la_addr=ahead_address,
            i_pcpi_wr=Const(0), i_pcpi_rd=Const(0, 32), i_pcpi_wait=Const(0), i_pcpi_ready=Const(0),
            i_irq=Const(0, 32))

        # The memories are asked with the look-ahead address, so that they answer without a wait.
        rom = self._memory(m, "rom", ROM_BYTES, ROM_BASE, self._rom, ahead_read, ahead_address)
        code = self._memory(m, "code", CODE_BYTES, CODE_BASE, [], ahead_read, ahead_address)
        data = self._memory(m, "data", DATA_BYTES, DATA_BASE, [], ahead_read, ahead_address)
        port = m.submodules.code.write_port()
        m.d.comb += [port.addr.eq(self.copy_address), port.data.eq(self.copy_write_data),
                     port.en.eq(self.copy_write_code)]
        self._data_ports(m, valid & (address[28:] == DATA_BASE >> 28), address, write_data, strobe)

        write = strobe.any()
        inside = Signal()
        for bus, base in ((self.peripheral, PERIPHERAL_BASE), (self.chip, CHIP_BASE)):
            m.d.comb += [
                bus.valid.eq(valid & inside & (address[28:] == base >> 28) & ~fault), bus.write.eq(write),
                bus.address.eq(address), bus.write_data.eq(write_data),
            ]
        with m.Switch(address[28:]):
            for base, size, memory in ((ROM_BASE, ROM_BYTES, rom), (CODE_BASE, CODE_BYTES, code),
                                       (DATA_BASE, DATA_BYTES, data)):
                with m.Case(base >> 28):
                    writable = base == DATA_BASE
                    m.d.comb += [inside.eq((address[:28] < size) & (writable | ~write)), ready.eq(inside),
                                 read_data.eq(memory)]
            for base, bus, size in ((PERIPHERAL_BASE, self.peripheral, 1 << 12), (CHIP_BASE, self.chip, 1 << 14)):
                with m.Case(base >> 28):
                    # Registers have no bytes.
                    m.d.comb += [inside.eq((address[:28] < size) & (~write | strobe.all())),
                                 ready.eq(bus.done & ~bus.error), read_data.eq(bus.read_data)]
        with m.If(valid & (~inside | (self.peripheral.done & self.peripheral.error)
                           | (self.chip.done & self.chip.error))):
            m.d.sync += [fault.eq(1), self.trap_address.eq(address)]
        trapped = Signal()
        m.d.sync += trapped.eq(core_trap)
        with m.If(core_trap & ~trapped & ~fault):
            m.d.sync += self.trap_address.eq(address)
        with m.If(~self.run):
            m.d.sync += fault.eq(0)
        m.d.comb += self.trap.eq(core_trap | fault)
        return m

    @staticmethod
    def _memory(m, name, size, base, init, ahead_read, ahead_address):
        memory = Memory(shape=32, depth=size // 4, init=init)
        m.submodules[name] = memory
        read = memory.read_port()
        m.d.comb += [read.addr.eq(ahead_address[2:]), read.en.eq(ahead_read & (ahead_address[28:] == base >> 28))]
        return read.data

    def _data_ports(self, m, chosen, address, write_data, strobe):
        memory = m.submodules.data
        write = memory.write_port(granularity=8)
        copy_write = memory.write_port()
        copy_read = memory.read_port()
        m.d.comb += [
            write.addr.eq(address[2:]), write.data.eq(write_data),
            copy_write.addr.eq(self.copy_address), copy_write.data.eq(self.copy_write_data),
            copy_write.en.eq(self.copy_write_memory),
            copy_read.addr.eq(self.copy_address), copy_read.en.eq(self.copy_read), self.copy_data.eq(copy_read.data),
        ]
        with m.If(chosen & (address[:28] < DATA_BYTES)):
            m.d.comb += write.en.eq(strobe)
