"""A board: the chip, its memory controller and the serial bridge, without the pins of one kind of board."""

from amaranth.hdl import Module
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from lepton.arch import ChipConfig
from lepton.arch.serial import MAX_FRAME

from ..chip import Chip
from .axi_memory import AxiReader, AxiWriter
from .bridge import Bridge
from .sdram import Sdram, SdramPins
from .sdram_timing import SdramChip
from .share import Share
from .uart import UartReceiver, UartTransmitter, divisor

# Requests that wait while one is answered: two whole frames, escapes included where they are rare.
_INPUT_BYTES = 2 * MAX_FRAME
_READER, _WRITER, _BRIDGE = range(3)


class BoardSystem(wiring.Component):
    """Members
    -------
    rx, tx: the serial line.
    sdram: the memory chip's pins but its clock.
    irq: the chip's interrupt, for a light.

    `rom`: for a chip with a controller. `chip`: another component with the ports of `Chip`. `pin_cycles`: registers
    between these pins and those of the SDRAM chip, both ways together.
    Raises `ValueError` for a clock that cannot make the line's rate.
    """

    def __init__(self, config: ChipConfig, sdram: SdramChip, clock_hz: int, baud: int, rom: list[int] | None = None, *,
                 chip: wiring.Component | None = None, pin_cycles: int = 0):
        self.config = config
        self.chip = chip or Chip(config, rom)
        self.sdram_chip = sdram
        self.pin_cycles = pin_cycles
        self.clock_hz = clock_hz
        self.divisor = divisor(clock_hz, baud)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "sdram": Out(SdramPins(sdram)), "irq": Out(1)})

    def elaborate(self, platform):
        m = Module()
        width = self.config.bus_bytes
        words = self.sdram_chip.size // width
        m.submodules.chip = chip = self.chip
        m.submodules.sdram = sdram = Sdram(self.sdram_chip, self.clock_hz, width, self.pin_cycles)
        m.submodules.share = share = Share(width, 3)
        m.submodules.reader = reader = AxiReader(width, words)
        m.submodules.writer = writer = AxiWriter(width, words)
        m.submodules.bridge = bridge = Bridge(width, self.sdram_chip.size, self.clock_hz)
        connect(m, sdram.pins, flipped(self.sdram))
        connect(m, share.memory, sdram.memory)
        connect(m, reader.memory, share.clients[_READER])
        connect(m, writer.memory, share.clients[_WRITER])
        connect(m, bridge.memory, share.clients[_BRIDGE])
        connect(m, bridge.host, chip.host)
        for side in (reader, writer):
            if hasattr(chip, "memory_reset"):
                m.d.comb += side.forget.eq(chip.memory_reset)
            for name, member in side.signature.members.items():
                if name not in ("forget", "memory"):
                    inner = getattr(side, name)
                    outer = getattr(chip.memory, name)
                    m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        m.d.comb += [bridge.irq.eq(chip.irq), self.irq.eq(chip.irq)]

        m.submodules.uart_rx = receiver = UartReceiver(self.divisor)
        m.submodules.uart_tx = transmitter = UartTransmitter(self.divisor)
        m.submodules.waiting = waiting = fifo.SyncFIFOBuffered(width=8, depth=_INPUT_BYTES)
        connect(m, bridge.tx, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx),
            # A byte that finds no room is lost, and its frame with it: the host sends it again.
            waiting.w_data.eq(receiver.o.payload), waiting.w_en.eq(receiver.o.valid),
            bridge.rx.valid.eq(waiting.r_rdy), bridge.rx.payload.eq(waiting.r_data),
            waiting.r_en.eq(bridge.rx.ready),
        ]
        return m
