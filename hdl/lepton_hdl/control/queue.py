"""A short queue of whole commands, filled word by word as they come from memory."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch.record import Record

from ..layouts import layout


class CommandQueue(wiring.Component):
    """`depth` slots of one command each, and one more at the output.

    A cycle with `write` appends a word of `data_bytes`; the command is complete with its last
    word. The writer keeps account of the room: it starts with `depth` slots, and `freed` is high
    for a cycle whenever one has become free.

    Every word of a slot lies in its own small memory, whose read register is that word of the output.
    So a command of 1024 bits moves once, when it becomes the next one, and never passes a multiplexer.
    """

    def __init__(self, record: Record, data_bytes: int, depth: int):
        if record.size % data_bytes:
            raise ValueError(
                f"data_bytes must divide the {record.size} bytes of a {record.name} command, not {data_bytes!r}")
        self._data_bytes = data_bytes
        self._words = record.size // data_bytes
        self._depth = depth
        super().__init__({
            "write": In(1),
            "word": In(8 * data_bytes),
            "last_word": Out(1),
            "freed": Out(1),
            "o": Out(stream.Signature(layout(record))),
        })

    def elaborate(self, platform):
        m = Module()
        position = Signal(range(max(self._words, 2)))
        write_slot, read_slot = (Signal(range(self._depth), name=name) for name in ("write_slot", "read_slot"))
        level = Signal(range(self._depth + 1))

        complete = Signal()
        load = Signal()
        m.d.comb += [
            self.last_word.eq(position == self._words - 1),
            complete.eq(self.write & self.last_word),
            load.eq((level != 0) & (~self.o.valid | self.o.ready)),
            self.freed.eq(load),
        ]
        with m.If(self.write):
            m.d.sync += position.eq(position + 1)
        with m.If(complete):
            m.d.sync += [position.eq(0), write_slot.eq(self._after(write_slot))]
        with m.If(load):
            m.d.sync += [read_slot.eq(self._after(read_slot)), self.o.valid.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        m.d.sync += level.eq(level + complete - load)

        words = []
        for i in range(self._words):
            m.submodules[f"word_{i}"] = slots = memory.Memory(shape=8 * self._data_bytes, depth=self._depth, init=[])
            write = slots.write_port()
            read = slots.read_port()
            m.d.comb += [
                write.addr.eq(write_slot), write.data.eq(self.word), write.en.eq(self.write & (position == i)),
                read.addr.eq(read_slot), read.en.eq(load),
            ]
            words.append(read.data)
        m.d.comb += self.o.p.eq(Cat(words))
        return m

    def _after(self, slot):
        return (slot + 1) % self._depth
