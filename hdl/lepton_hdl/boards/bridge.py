"""The serial port's requests to the chip's registers and to memory (`lepton.arch.serial`)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from lepton.arch.registers import ADDRESS_BITS
from lepton.arch.serial import HEADER_BYTES, MAGIC, MAX_DATA, MAX_FRAME, VERSION, RequestKind, Status

from ..axi import Axi4LiteSignature
from .frames import FrameReceiver, FrameSender
from .register_access import RegisterAccess
from .requests import MemorySignature

_HEADER = data.StructLayout({"sequence": 8, "operation": 8, "address": 32, "length": 32})
assert _HEADER.size == 8 * HEADER_BYTES
_ANSWER_BYTES = len(MAGIC) + 3 * 4  # the longest answer that is not memory: IDENTIFY's


class Bridge(wiring.Component):
    """Carries out one request after another and answers it.

    Members
    -------
    rx, tx: the bytes of the line.
    host: the chip's registers. irq: its interrupt.
    memory: the board's memory, of `memory_bytes`.
    """

    def __init__(self, data_bytes: int, memory_bytes: int, clock_hz: int):
        self.data_bytes = data_bytes
        self.memory_bytes = memory_bytes
        self.clock_hz = clock_hz
        super().__init__({
            "rx": In(stream.Signature(8)),
            "tx": Out(stream.Signature(8)),
            "host": Out(Axi4LiteSignature(ADDRESS_BITS)),
            "irq": In(1),
            "memory": Out(MemorySignature(data_bytes)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.sender = sender = FrameSender()
        m.submodules.registers = registers = RegisterAccess()
        connect(m, flipped(self.rx), receiver.i)
        connect(m, sender.o, flipped(self.tx))
        connect(m, registers.host, flipped(self.host))

        header = Signal(_HEADER)
        index = Signal(range(MAX_FRAME + 1))  # of the frame's byte that is read
        status = Signal(Status)
        answer = Signal(8 * _ANSWER_BYTES)
        answer_left = Signal(range(_ANSWER_BYTES + 1))
        moved = Signal(range(MAX_DATA + 1))  # bytes of memory
        known = Signal()  # a register access has been done, and may be asked for again
        m.d.comb += receiver.address.eq(index)

        def respond(how, value=0, size=0):
            m.d.sync += [status.eq(how), answer.eq(value), answer_left.eq(size)]
            m.next = "SEQUENCE"

        with m.FSM(name="bridge"):
            with m.State("IDLE"):
                m.d.sync += [index.eq(0), moved.eq(0)]
                with m.If(receiver.valid):
                    m.next = "HEADER"
            with m.State("HEADER"):  # `receiver.data` is the byte before `index`
                m.d.sync += index.eq(index + 1)
                with m.If(index != 0):
                    m.d.sync += header.eq(Cat(header.as_value()[8:], receiver.data))
                with m.If(index == HEADER_BYTES):
                    m.d.sync += index.eq(index)
                    m.next = "DECODE"
            with m.State("DECODE"):
                self._decode(m, header, receiver.length, known, respond)
            self._register_states(m, header, receiver, registers, index, known, respond)
            self._write_states(m, header, receiver, index, moved, respond)
            with m.State("WAIT"):
                m.d.sync += header.address.eq(header.address - 1)
                with m.If(self.irq | (header.address == 0)):
                    respond(Status.OK, self.irq, 1)

            out = sender.i
            with m.State("SEQUENCE"):
                m.d.comb += [out.valid.eq(1), out.payload.byte.eq(header.sequence)]
                with m.If(out.ready):
                    m.next = "STATUS"
            with m.State("STATUS"):
                reads = Signal()
                m.d.comb += [
                    reads.eq((header.operation == RequestKind.READ_MEMORY) & (status == Status.OK)),
                    out.valid.eq(1), out.payload.byte.eq(status), out.payload.last.eq(~reads & (answer_left == 0)),
                ]
                with m.If(out.ready):
                    with m.If(reads):
                        m.next = "READ_WORD"
                    with m.Elif(answer_left == 0):
                        m.d.comb += receiver.done.eq(1)
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [out.valid.eq(1), out.payload.byte.eq(answer), out.payload.last.eq(answer_left == 1)]
                with m.If(out.ready):
                    m.d.sync += [answer.eq(answer >> 8), answer_left.eq(answer_left - 1)]
                    with m.If(answer_left == 1):
                        m.d.comb += receiver.done.eq(1)
                        m.next = "IDLE"
            self._read_states(m, header, receiver, out, moved)
        return m

    def _decode(self, m, header, frame_length, known, respond):
        """The header's bytes are there, and the frame's first byte of data."""
        carries = Signal(range(MAX_FRAME + 1))
        m.d.comb += carries.eq(frame_length - HEADER_BYTES)
        nothing = carries == 0
        in_memory = ((header.length != 0) & (header.length <= MAX_DATA)
                     & (header.address + header.length <= self.memory_bytes))
        register = (header.length == 4) & (header.address < 1 << ADDRESS_BITS)
        bad = Signal()
        m.d.comb += bad.eq(1)
        with m.If(frame_length >= HEADER_BYTES), m.Switch(header.operation):
            with m.Case(RequestKind.IDENTIFY):
                m.d.comb += bad.eq((header.length != 0) | ~nothing)
            with m.Case(RequestKind.READ_REGISTER):
                m.d.comb += bad.eq(~register | ~nothing)
            with m.Case(RequestKind.WRITE_REGISTER):
                m.d.comb += bad.eq(~register | (carries != header.length))
            with m.Case(RequestKind.READ_MEMORY):
                m.d.comb += bad.eq(~in_memory | ~nothing)
            with m.Case(RequestKind.WRITE_MEMORY):
                m.d.comb += bad.eq(~in_memory | (carries != header.length))
            with m.Case(RequestKind.WAIT):
                m.d.comb += bad.eq((header.length != 0) | ~nothing)
        # A request comes again before any other does. Later its number may be that of a new request.
        with m.If((header.operation != RequestKind.READ_REGISTER) & (header.operation != RequestKind.WRITE_REGISTER)):
            m.d.sync += known.eq(0)
        with m.If(bad):
            respond(Status.BAD_REQUEST)
        with m.Else(), m.Switch(header.operation):
            with m.Case(RequestKind.IDENTIFY):
                about = int.from_bytes(MAGIC, "little"), VERSION, self.clock_hz, self.memory_bytes
                respond(Status.OK, Cat(Const(value, 32) for value in about), _ANSWER_BYTES)
            with m.Case(RequestKind.READ_REGISTER, RequestKind.WRITE_REGISTER):
                m.next = "REGISTER"
            with m.Case(RequestKind.READ_MEMORY):
                respond(Status.OK)
            with m.Case(RequestKind.WRITE_MEMORY):
                m.next = "WRITE_BYTE"
            with m.Case(RequestKind.WAIT):
                m.next = "WAIT"

    def _register_states(self, m, header, receiver, registers, index, known, respond):
        """One access, unless it is the last one again: its answer was lost, but what it did was done."""
        value = Signal(32)
        taken = Signal(range(5))
        last = Signal(_HEADER)
        last_value = Signal(32)
        last_answer = Signal.like(registers.answer.payload)
        access = registers.access
        m.d.comb += [access.payload.write.eq(header.operation == RequestKind.WRITE_REGISTER),
                     access.payload.address.eq(header.address), access.payload.data.eq(value)]
        size = Mux(access.payload.write, 0, 4)
        with m.State("REGISTER"):
            m.d.sync += taken.eq(0)
            m.next = "REGISTER_BYTE"
        with m.State("REGISTER_BYTE"):  # `receiver.data` is the byte at `index`; of a read there is none, nor used
            m.d.sync += [value.eq(Cat(value[8:], receiver.data)), index.eq(index + 1), taken.eq(taken + 1)]
            m.next = "REGISTER_NEXT"
        with m.State("REGISTER_NEXT"):
            with m.If(taken != 4):
                m.next = "REGISTER_BYTE"
            with m.Elif(known & (last == header) & (~access.payload.write | (last_value == value))):
                respond(last_answer.status, last_answer.data, size)
            with m.Else():
                m.d.sync += known.eq(0)
                m.next = "ACCESS"
        with m.State("ACCESS"):
            m.d.comb += access.valid.eq(1)
            with m.If(access.ready):
                m.next = "ACCESSED"
        with m.State("ACCESSED"), m.If(registers.answer.valid):
            m.d.sync += [known.eq(1), last.eq(header), last_value.eq(value),
                         last_answer.eq(registers.answer.payload)]
            respond(registers.answer.payload.status, registers.answer.payload.data, size)

    def _lane(self, header, moved):
        """Place in its word of the next byte of memory, and that word's index."""
        address = header.address + moved
        return address % self.data_bytes, address // self.data_bytes

    def _write_states(self, m, header, receiver, index, moved, respond):
        word = Signal(8 * self.data_bytes)
        strobe = Signal(self.data_bytes)
        place = Signal(32)
        lane, address = self._lane(header, moved)
        request = self.memory.request
        with m.State("WRITE_BYTE"):  # `receiver.data` is the byte at `index`
            m.d.sync += [word.word_select(lane, 8).eq(receiver.data), strobe.bit_select(lane, 1).eq(1),
                         place.eq(address), moved.eq(moved + 1), index.eq(index + 1)]
            with m.If((lane == self.data_bytes - 1) | (moved + 1 == header.length)):
                m.next = "WRITE_WORD"
            with m.Else():
                m.next = "WRITE_NEXT"
        with m.State("WRITE_NEXT"):
            m.next = "WRITE_BYTE"
        with m.State("WRITE_WORD"):
            m.d.comb += [request.valid.eq(1), request.payload.write.eq(1), request.payload.address.eq(place),
                         request.payload.data.eq(word), request.payload.strobe.eq(strobe)]
            with m.If(request.ready):
                m.d.sync += strobe.eq(0)
                with m.If(moved == header.length):
                    respond(Status.OK)
                with m.Else():
                    m.next = "WRITE_BYTE"

    def _read_states(self, m, header, receiver, out, moved):
        word = Signal(8 * self.data_bytes)
        lane, address = self._lane(header, moved)
        request = self.memory.request
        last = Signal()
        m.d.comb += last.eq(moved + 1 == header.length)
        with m.State("READ_WORD"):
            m.d.comb += [request.valid.eq(1), request.payload.address.eq(address)]
            with m.If(request.ready):
                m.next = "READ_ANSWER"
        with m.State("READ_ANSWER"):
            m.d.sync += word.eq(self.memory.read_data.payload)
            with m.If(self.memory.read_data.valid):
                m.next = "READ_BYTE"
        with m.State("READ_BYTE"):
            m.d.comb += [out.valid.eq(1), out.payload.byte.eq(word.word_select(lane, 8)), out.payload.last.eq(last)]
            with m.If(out.ready):
                m.d.sync += moved.eq(moved + 1)
                with m.If(last):
                    m.d.comb += receiver.done.eq(1)
                    m.next = "IDLE"
                with m.Elif(lane == self.data_bytes - 1):
                    m.next = "READ_WORD"
