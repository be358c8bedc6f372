"""The AXI4-Lite register file, generated from `lepton.arch.registers`.

Responses follow the description: SLVERR, and no effect, for an offset that is not listed, an
unaligned address, a write that does not carry all four bytes, a write to a read-only register,
and a write to a job register while `locked`. Write-only registers read as zero.

Both channels are registered at their inputs, so no READY depends combinationally on a VALID
(Arm IHI 0022, A3.2.1), and AW and W may come in either order.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import REGISTERS, ChipConfig
from lepton.arch.registers import ADDRESS_BITS, IDENTIFICATION, SNAPSHOT_BASE, SNAPSHOT_COUNTERS, VERSION

from ..axi import Axi4LiteSignature, Resp

SLOT_BYTES = 4 * len(SNAPSHOT_COUNTERS)


def constants(config: ChipConfig) -> dict[str, int]:
    """Values of the registers that say which chip this is."""
    return {
        "ID": IDENTIFICATION,
        "VERSION": VERSION,
        "GEOMETRY": config.lanes | config.columns << 8 | config.bus_bytes << 16 | config.row_lanes << 24,
        "SCRATCHPAD": config.scratchpad_bytes,
        "WEIGHTS": config.weight_bytes,
        "ACCUMULATORS": config.accumulator_rows,
    }


class RegisterFile(wiring.Component):
    """Ports in addition to `bus`, one or more per register, named like it in lower case:

    - "rw": `name` Out(32), its value
    - "ro": `name` In(32), what reads return; those of `constants` have no port
    - "w1c": `name` In(32), what reads return, and `name_clear` Out(32), ones to clear for one cycle
    - "wo": `name_write` Out(1), high for one cycle with the value on `write_data`

    `locked` refuses writes to job registers. `snapshot_read` asks for counter `snapshot_counter`
    of slot `snapshot_slot`; `snapshot_data` must hold it from the next cycle until the next request. With
    `snapshot_written` it does not ask: the slot may be the one that is written.
    """

    def __init__(self, config: ChipConfig):
        self._config = config
        self._constants = constants(config)
        ports = {
            "bus": In(Axi4LiteSignature(ADDRESS_BITS)),
            "locked": In(1),
            "write_data": Out(32),
            "snapshot_read": Out(1),
            "snapshot_slot": Out(range(max(config.layer_slots, 2))),
            "snapshot_counter": Out(range(len(SNAPSHOT_COUNTERS))),
            "snapshot_data": In(32),
            "snapshot_written": In(1),
        }
        for register in REGISTERS.values():
            name = register.name.lower()
            if register.access == "rw":
                ports[name] = Out(32)
            elif register.access == "wo":
                ports[f"{name}_write"] = Out(1)
            elif register.access == "w1c":
                ports |= {name: In(32), f"{name}_clear": Out(32)}
            elif register.name not in self._constants:
                ports[name] = In(32)
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        self._write_channel(m)
        self._read_channel(m)
        return m

    def _write_channel(self, m):
        bus = self.bus
        address = Signal(ADDRESS_BITS)
        strobe = Signal(4)
        have_address = Signal()
        have_data = Signal()
        m.d.comb += [bus.awready.eq(~have_address), bus.wready.eq(~have_data)]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [have_address.eq(1), address.eq(bus.awaddr)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [have_data.eq(1), self.write_data.eq(bus.wdata), strobe.eq(bus.wstrb)]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)

        execute = Signal()
        okay = Signal()
        m.d.comb += execute.eq(have_address & have_data & (~bus.bvalid | bus.bready))
        with m.If(execute):
            m.d.sync += [have_address.eq(0), have_data.eq(0), bus.bvalid.eq(1),
                         bus.bresp.eq(Resp.SLVERR)]
            with m.If(okay):
                m.d.sync += bus.bresp.eq(Resp.OKAY)
            with m.If(strobe.all()), m.Switch(address):
                for register in REGISTERS.values():
                    if register.access != "ro":
                        with m.Case(register.offset):
                            self._write_register(m, register, okay)

    def _write_register(self, m, register, okay):
        name = register.name.lower()
        allowed = ~self.locked if register.job else 1
        with m.If(allowed):
            m.d.comb += okay.eq(1)
            if register.access == "rw":
                m.d.sync += getattr(self, name).eq(self.write_data)
            elif register.access == "w1c":
                m.d.comb += getattr(self, f"{name}_clear").eq(self.write_data)
            else:
                m.d.comb += getattr(self, f"{name}_write").eq(1)

    def _read_channel(self, m):
        bus = self.bus
        address = Signal(ADDRESS_BITS)
        slot_bits = exact_log2(self._config.layer_slots)
        counter_bits = exact_log2(len(SNAPSHOT_COUNTERS))
        in_window = Signal()
        m.d.comb += [
            in_window.eq((address >= SNAPSHOT_BASE) & (address[:2] == 0)
                         & (address < SNAPSHOT_BASE + SLOT_BYTES * self._config.layer_slots)),
            self.snapshot_counter.eq(address[2:2 + counter_bits]),
            self.snapshot_slot.eq(address[2 + counter_bits:2 + counter_bits + slot_bits]),
        ]
        with m.FSM():
            with m.State("ADDRESS"):
                m.d.comb += bus.arready.eq(1)
                with m.If(bus.arvalid):
                    m.d.sync += address.eq(bus.araddr)
                    m.next = "READ"
            with m.State("READ"):
                m.next = "RESPOND"
                m.d.sync += [bus.rdata.eq(0), bus.rresp.eq(Resp.SLVERR), bus.rvalid.eq(1)]
                with m.If(in_window):
                    m.d.comb += self.snapshot_read.eq(~self.snapshot_written)
                    m.d.sync += bus.rvalid.eq(0)
                    m.next = "SNAPSHOT"
                    with m.If(self.snapshot_written):
                        m.next = "READ"
                with m.Switch(address):
                    for register in REGISTERS.values():
                        with m.Case(register.offset):
                            m.d.sync += [bus.rdata.eq(self._value(register)), bus.rresp.eq(Resp.OKAY)]
            with m.State("SNAPSHOT"):
                m.d.sync += [bus.rdata.eq(self.snapshot_data), bus.rresp.eq(Resp.OKAY), bus.rvalid.eq(1)]
                m.next = "RESPOND"
            with m.State("RESPOND"), m.If(bus.rready):
                m.d.sync += bus.rvalid.eq(0)
                m.next = "ADDRESS"

    def _value(self, register):
        if register.access == "wo":
            return 0
        return self._constants.get(register.name, getattr(self, register.name.lower(), None))
