"""The SDRAM controller: words of memory in bursts of 16-bit halves, rows left open."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .requests import MemorySignature
from .sdram_timing import SdramChip

HALF_BYTES = 2  # the width of the chip
_REFRESHES_AT_START = 8  # JEDEC 21-C, 3.11.5.1: between the first PRECHARGE and LOAD MODE
_ALL_BANKS = 1 << 10  # address pin A10 with PRECHARGE

# RAS#, CAS#, WE#, in this order (JEDEC 21-C, 3.11.5: truth table of commands).
NOP = 0b111
ACTIVATE = 0b011
READ = 0b101
WRITE = 0b100
PRECHARGE = 0b010
REFRESH = 0b001
LOAD_MODE = 0b000


class SdramPins(wiring.Signature):
    """The pins of an SDRAM chip but for its clock, as the controller drives them.

    `command`: RAS#, CAS#, WE# (bits 2, 1, 0); CS# is always low. Outputs change at the rising edge of "sync"; `dq_i`
    is sampled there.
    """

    def __init__(self, chip: SdramChip):
        super().__init__({
            "cke": Out(1),
            "command": Out(3, init=NOP),
            "bank": Out(chip.bank_bits),
            "address": Out(chip.row_bits),
            "dqm": Out(HALF_BYTES),
            "dq_o": Out(8 * HALF_BYTES),
            "dq_oe": Out(1),
            "dq_i": In(8 * HALF_BYTES),
        })


class Sdram(wiring.Component):
    """A word of `data_bytes` is one burst. Adjacent words share a row; banks change before rows.

    While a burst is on the data pins the next request's row is opened, so that words that follow each other use every
    cycle of the data pins. The chip's clock must be a quarter of a period behind "sync": its data, `cas_latency` of
    its cycles after READ, are then stable at the edge of "sync" at which `dq_i` is sampled. `pin_cycles`: registers
    between `pins` and the pins of the SDRAM chip, those of both directions together.

    Raises `ValueError` for a word that is no burst of the chip (1, 2, 4 or 8 halves).
    """

    def __init__(self, chip: SdramChip, clock_hz: float, data_bytes: int, pin_cycles: int = 0):
        self.burst = data_bytes // HALF_BYTES
        if self.burst not in (1, 2, 4, 8) or data_bytes % HALF_BYTES:
            raise ValueError(f"a word must have 2, 4, 8 or 16 bytes, the bursts of an SDRAM chip, not {data_bytes}")
        self.chip = chip
        self.pin_cycles = pin_cycles
        self.cycles = chip.cycles(clock_hz)
        self.data_bytes = data_bytes
        super().__init__({
            "memory": In(MemorySignature(data_bytes)),
            "pins": Out(SdramPins(chip)),
        })

    def elaborate(self, platform):
        m = Module()
        chip = self.chip
        cycles = self.cycles
        pins = self.pins
        request = self.memory.request.payload
        # ACTIVATE to ACTIVATE of a bank (rc) is kept by a later PRECHARGE.
        row_cycles = max(cycles.ras, cycles.rc - cycles.rp)

        # The request's place: columns below, then the bank, then the row.
        word_bits = chip.column_bits - (self.burst - 1).bit_length()
        column = request.address[:word_bits] << (self.burst - 1).bit_length()
        bank = request.address[word_bits:word_bits + chip.bank_bits]
        row = request.address[word_bits + chip.bank_bits:][:chip.row_bits]

        opened = Array(Signal(name=f"opened{b}") for b in range(1 << chip.bank_bits))
        rows = Array(Signal(chip.row_bits, name=f"row{b}") for b in range(1 << chip.bank_bits))
        longest = max(row_cycles, self.burst + cycles.wr)
        closing = Array(Signal(range(longest + 1), name=f"closing{b}") for b in range(1 << chip.bank_bits))
        for timer in closing:  # cycles until the bank may be precharged
            with m.If(timer != 0):
                m.d.sync += timer.eq(timer - 1)
        closable = Signal()
        m.d.comb += closable.eq(Cat(timer == 0 for timer in closing).all())

        # READ to WRITE: its data, and a cycle in which neither side drives the pins.
        turn = chip.cas_latency + self.burst + 1
        read_slot = Signal(range(self.burst + 1))  # cycles until READ may follow
        write_slot = Signal(range(turn + 1))
        for slot in (read_slot, write_slot):
            with m.If(slot != 0):
                m.d.sync += slot.eq(slot - 1)
        column_free = Signal()
        m.d.comb += column_free.eq(Mux(request.write, write_slot == 0, read_slot == 0))

        refresh_due = self._refresh_due(m)
        wait = Signal(range(max(cycles.power_up, cycles.rfc) + 1), init=cycles.power_up)
        refreshes = Signal(range(_REFRESHES_AT_START + 1), init=_REFRESHES_AT_START)
        writes = Signal()  # a WRITE is issued
        reads = Signal()  # a READ is issued

        def issue(command, spacing: int, address=0, to_bank=0):
            """The command, and at least `spacing` cycles to the one after it."""
            m.d.sync += [pins.command.eq(command), pins.address.eq(address), pins.bank.eq(to_bank),
                         wait.eq(spacing - 1)]

        m.d.sync += [pins.cke.eq(1), pins.command.eq(NOP)]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Else(), m.FSM(name="sdram"):
            with m.State("POWER_UP"):
                issue(PRECHARGE, cycles.rp, _ALL_BANKS)
                m.next = "REFRESH"
            with m.State("LOAD_MODE"):
                burst_code = (self.burst - 1).bit_length()
                issue(LOAD_MODE, cycles.mrd, chip.cas_latency << 4 | burst_code)
                m.next = "SERVE"
            with m.State("SERVE"):
                with m.If(refresh_due), m.If(closable):
                    issue(PRECHARGE, cycles.rp, _ALL_BANKS)
                    m.d.sync += [is_open.eq(0) for is_open in opened]
                    m.next = "REFRESH"
                with m.Elif(self.memory.request.valid):
                    with m.If(~opened[bank]):
                        issue(ACTIVATE, max(cycles.rcd, cycles.rrd), row, bank)
                        m.d.sync += [opened[bank].eq(1), rows[bank].eq(row), closing[bank].eq(row_cycles - 1)]
                    with m.Elif(rows[bank] != row), m.If(closing[bank] == 0):
                        issue(PRECHARGE, cycles.rp, 0, bank)
                        m.d.sync += opened[bank].eq(0)
                    with m.Elif(column_free):
                        m.d.comb += [self.memory.request.ready.eq(1),
                                     writes.eq(request.write), reads.eq(~request.write)]
                        issue(Mux(request.write, Const(WRITE, 3), Const(READ, 3)), 1, column, bank)
            with m.State("REFRESH"):
                issue(REFRESH, cycles.rfc)
                m.d.sync += refresh_due.eq(0)
                with m.If(refreshes == 0):
                    m.next = "SERVE"
                with m.Else():
                    m.d.sync += refreshes.eq(refreshes - 1)
                    with m.If(refreshes == 1):
                        m.next = "LOAD_MODE"

        def close_after(spacing):
            """The bank stays open for at least `spacing` cycles."""
            with m.If(closing[bank] < spacing):
                m.d.sync += closing[bank].eq(spacing - 1)

        with m.If(reads):
            m.d.sync += [read_slot.eq(self.burst - 1), write_slot.eq(turn - 1)]
            close_after(self.burst)
        with m.If(writes):
            m.d.sync += [read_slot.eq(self.burst - 1), write_slot.eq(self.burst - 1)]
            close_after(self.burst - 1 + cycles.wr)
        self._write(m, writes)
        self._read(m, reads)
        return m

    def _refresh_due(self, m):
        """Set whenever the time between two refreshes has passed; the refresh clears it."""
        interval = self.cycles.refresh
        refresh_in = Signal(range(interval), init=interval - 1)
        refresh_due = Signal()
        with m.If(refresh_in == 0):
            m.d.sync += [refresh_in.eq(interval - 1), refresh_due.eq(1)]
        with m.Else():
            m.d.sync += refresh_in.eq(refresh_in - 1)
        return refresh_due

    def _write(self, m, start):
        """The halves of a word to the data pins, the first with the command."""
        pins = self.pins
        request = self.memory.request.payload
        data = Signal(8 * self.data_bytes)
        mask = Signal(self.data_bytes)
        left = Signal(range(self.burst + 1))
        first = [pins.dq_o.eq(request.data), pins.dqm.eq(~request.strobe), pins.dq_oe.eq(1)]
        with m.If(start):
            m.d.sync += [*first, data.eq(request.data >> 8 * HALF_BYTES), mask.eq(~request.strobe >> HALF_BYTES),
                         left.eq(self.burst - 1)]
        with m.Elif(left != 0):
            m.d.sync += [pins.dq_o.eq(data), pins.dqm.eq(mask), data.eq(data >> 8 * HALF_BYTES),
                         mask.eq(mask >> HALF_BYTES), left.eq(left - 1)]
        with m.Else():
            m.d.sync += [pins.dq_oe.eq(0), pins.dqm.eq(0)]

    def _read(self, m, start):
        """The halves of a word from the data pins; bit 0 of `arriving` says that one is in `sampled`."""
        latency = self.chip.cas_latency + self.pin_cycles  # from the command on the pins to its first half in `sampled`
        sampled = Signal(8 * HALF_BYTES)
        arriving = Signal(latency + self.burst)
        ending = Signal(latency + self.burst)
        word = Signal(8 * self.data_bytes)
        m.d.sync += [
            sampled.eq(self.pins.dq_i),
            arriving.eq(arriving >> 1 | Mux(start, ((1 << self.burst) - 1) << latency, 0)),
            ending.eq(ending >> 1 | Mux(start, 1 << (latency + self.burst - 1), 0)),
            self.memory.read_data.valid.eq(ending[0]),
        ]
        with m.If(arriving[0]):
            m.d.sync += word.eq(Cat(word, sampled)[8 * HALF_BYTES:])
        m.d.comb += self.memory.read_data.payload.eq(word)
