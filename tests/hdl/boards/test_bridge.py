"""The serial bridge alone: every request, and every request that is wrong."""

import random
import struct

import cocotb
from cocotb.triggers import RisingEdge
from lepton.arch.serial import MAX_DATA, RequestKind, Status
from lepton.serial.frames import Decoder, encode
from lepton_hdl.boards.bridge import Bridge
from lepton_hdl.boards.register_access import LIMIT

from tests.bench.clock import cycles, start_clock, until
from tests.bench.stalls import MOST, NONE, SOME, stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor
from tests.cocotb_harness import run_cocotb
from tests.hdl.boards.peers import WordMemory

DATA_BYTES = 16
MEMORY_BYTES = 1 << 16
CLOCK_HZ = 60_000_000
_ANSWER_LIMIT = 80_000  # cycles


class Registers:
    """An AXI4-Lite subordinate with one register an address. `hangs`: it takes accesses and does not answer."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.values: dict[int, int] = {}
        self.accesses: list[tuple[str, int]] = []
        self.hangs = False
        self._address: int | None = None
        self._data: int | None = None
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut = self.dut
        for name in ("awready", "wready", "arready", "bvalid", "rvalid"):
            getattr(dut, f"host__{name}").value = 0
        pending: tuple[str, int, int] | None = None
        while True:
            await RisingEdge(dut.clk)
            if dut.rst.value:
                continue
            if dut.host__awvalid.value and dut.host__awready.value:
                self._address = int(dut.host__awaddr.value)
            if dut.host__wvalid.value and dut.host__wready.value:
                self._data = int(dut.host__wdata.value)
            if dut.host__arvalid.value and dut.host__arready.value:
                address = int(dut.host__araddr.value)
                self.accesses.append(("read", address))
                pending = "r", 2 if address == 0xFFC else 0, self.values.get(address, 0)
            if self._address is not None and self._data is not None:
                self.accesses.append(("write", self._address))
                self.values[self._address] = self._data
                pending = "b", 3 if self._address == 0xFFC else 0, 0
                self._address = self._data = None
            for name in ("awready", "wready", "arready"):
                getattr(dut, f"host__{name}").value = random.random() < 0.5
            for channel in ("b", "r"):
                getattr(dut, f"host__{channel}valid").value = 0
            if pending and not self.hangs and random.random() < 0.5:
                channel, response, value = pending
                getattr(dut, f"host__{channel}valid").value = 1
                getattr(dut, f"host__{channel}resp").value = response
                dut.host__rdata.value = value
                pending = None


class Host:
    """Sends requests as the driver does, and gives the payloads that come back."""

    def __init__(self, dut, pause) -> None:
        self.dut = dut
        self.sequence = 0
        self.registers = Registers(dut)
        self.memory = WordMemory(dut, "memory", DATA_BYTES, pause)
        self._driver = StreamDriver(dut, "rx", lambda byte: byte, pause)
        ReadyDriver(dut, "tx", pause)
        self._decoder = Decoder()
        self._answers: list[bytes] = []
        StreamMonitor(dut, "tx", lambda bits: bits,
                      lambda byte: self._answers.extend(self._decoder.feed(bytes([byte]))))

    async def raw(self, payload: bytes) -> bytes:
        self._driver.send(*encode(payload))
        await until(self.dut, lambda: self._answers, _ANSWER_LIMIT)
        return self._answers.pop(0)

    async def ask(self, operation, address=0, length=0, data=b"", repeat=False) -> tuple[int, bytes]:
        self.sequence = (self.sequence + (not repeat)) % 256
        answer = await self.raw(struct.pack("<BBII", self.sequence, operation, address, length) + data)
        assert answer[0] == self.sequence
        return answer[1], answer[2:]


async def start(dut, pause=NONE) -> Host:
    host = Host(dut, stall(pause))
    await start_clock(dut, irq=0)
    return host


@cocotb.test(timeout_time=60, timeout_unit="ms")
@cocotb.parametrize(pause=[NONE, SOME])
async def memory(dut, pause):
    host = await start(dut, pause)
    expected = bytearray(MEMORY_BYTES)
    for _ in range(25):
        length = random.choice([1, 3, 15, 16, 17, 64, 200, MAX_DATA] if pause == NONE else [1, 3, 15, 16, 17, 50])
        address = random.choice([random.randrange(MEMORY_BYTES - length + 1), MEMORY_BYTES - length, 0])
        data = random.randbytes(length)
        expected[address:address + length] = data
        assert await host.ask(RequestKind.WRITE_MEMORY, address, length, data) == (Status.OK, b"")
        around = max(0, address - 5)
        size = min(length + 10, MEMORY_BYTES - around, MAX_DATA)
        answer = await host.ask(RequestKind.READ_MEMORY, around, size)
        assert answer == (Status.OK, bytes(expected[around:around + size]))
    assert all(host.memory.bytes.get(at, 0) == byte for at, byte in enumerate(expected))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(pause=[NONE, MOST])
async def registers(dut, pause):
    host = await start(dut, pause)
    for _ in range(10):
        address = random.randrange(0, 0x800, 4)
        value = random.getrandbits(32)
        assert await host.ask(RequestKind.WRITE_REGISTER, address, 4, value.to_bytes(4, "little")) == (Status.OK, b"")
        assert await host.ask(RequestKind.READ_REGISTER, address, 4) == (Status.OK, value.to_bytes(4, "little"))
    assert (await host.ask(RequestKind.WRITE_REGISTER, 0xFFC, 4, bytes(4)))[0] == Status.DECERR
    assert (await host.ask(RequestKind.READ_REGISTER, 0xFFC, 4))[0] == Status.SLVERR
    assert host.memory.log == []


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def a_repeated_access_happens_once(dut):
    """A request that comes again is answered as before. With another number, or after memory, it is carried out."""
    host = await start(dut)
    write = RequestKind.WRITE_REGISTER, 8, 4, b"\1\2\3\4"
    first = await host.ask(*write)
    assert [await host.ask(*write, repeat=True) for _ in range(3)] == [first] * 3
    assert host.registers.accesses == [("write", 8)]
    await host.ask(*write)
    assert host.registers.accesses == [("write", 8)] * 2
    other = RequestKind.WRITE_REGISTER, 8, 4, b"\5\6\7\0"  # the same number and address: of a host that began anew
    assert await host.ask(*other, repeat=True) == first
    assert host.registers.values[8] == int.from_bytes(b"\5\6\7\0", "little")
    value = await host.ask(RequestKind.READ_REGISTER, 8, 4)
    host.registers.values[8] = 5
    assert await host.ask(RequestKind.READ_REGISTER, 8, 4, repeat=True) == value
    for other in ((RequestKind.IDENTIFY,), (RequestKind.READ_MEMORY, 0, 1)):
        host.registers.values[8] += 1
        await host.ask(*other, repeat=True)
        expected = host.registers.values[8].to_bytes(4, "little")
        assert await host.ask(RequestKind.READ_REGISTER, 8, 4, repeat=True) == (Status.OK, expected)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def wrong_requests(dut):
    host = await start(dut)
    good = {RequestKind.IDENTIFY: (0, 0, b""), RequestKind.READ_REGISTER: (0, 4, b""), RequestKind.WAIT: (3, 0, b""),
            RequestKind.WRITE_REGISTER: (0, 4, b"1234"), RequestKind.READ_MEMORY: (9, 7, b""),
            RequestKind.WRITE_MEMORY: (9, 7, b"seven b")}
    for operation, (address, length, data) in good.items():
        assert (await host.ask(operation, address, length, data))[0] == Status.OK, operation
        for wrong in [(address, length + 1, data), (address, length, data + b"x")]:
            if operation == RequestKind.READ_MEMORY and wrong[2] == b"":
                continue  # one byte more is as good
            assert await host.ask(operation, *wrong) == (Status.BAD_REQUEST, b""), (operation, wrong)
    for operation in (6, 7, 99, 255):
        assert await host.ask(operation) == (Status.BAD_REQUEST, b"")
    for operation in (RequestKind.READ_MEMORY, RequestKind.WRITE_MEMORY):
        for address, length in [(MEMORY_BYTES - 3, 4), (MEMORY_BYTES, 1), (0xFFFF_FFFF, 1), (0, 0), (0, MAX_DATA + 1)]:
            data = bytes(length) if operation == RequestKind.WRITE_MEMORY and length <= MAX_DATA else b""
            assert await host.ask(operation, address, length, data) == (Status.BAD_REQUEST, b"")
    assert await host.ask(RequestKind.READ_REGISTER, 1 << 16, 4) == (Status.BAD_REQUEST, b"")
    log = list(host.memory.log)
    answer = await host.raw(b"\7")  # too short for a header: what the last one was counts for nothing
    assert answer[1:] == bytes([Status.BAD_REQUEST])
    assert host.memory.log == log


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def waits_for_the_interrupt(dut):
    host = await start(dut)
    assert await host.ask(RequestKind.WAIT, 300) == (Status.OK, b"\0")
    waiting = cocotb.start_soon(host.ask(RequestKind.WAIT, 1_000_000))
    await cycles(dut, 3000)
    dut.irq.value = 1
    assert await waiting == (Status.OK, b"\1")
    assert await host.ask(RequestKind.WAIT, 1_000_000) == (Status.OK, b"\1")


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def a_chip_that_does_not_answer(dut):
    """Accesses have no answer until the chip ends the one that hangs; memory goes on working."""
    host = await start(dut)
    host.registers.hangs = True
    assert LIMIT < _ANSWER_LIMIT
    assert (await host.ask(RequestKind.READ_REGISTER, 4, 4))[0] == Status.NO_ANSWER
    assert (await host.ask(RequestKind.WRITE_REGISTER, 4, 4, b"1234"))[0] == Status.NO_ANSWER
    assert (await host.ask(RequestKind.WRITE_MEMORY, 4, 4, b"1234"))[0] == Status.OK
    assert host.registers.accesses == [("read", 4)]
    host.registers.hangs = False
    await cycles(dut, 100)
    assert await host.ask(RequestKind.WRITE_REGISTER, 4, 4, b"1234") == (Status.OK, b"")
    assert await host.ask(RequestKind.READ_REGISTER, 4, 4) == (Status.OK, b"1234")


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def identifies(dut):
    host = await start(dut)
    about = struct.pack("<4sIII", b"LEPT", 1, CLOCK_HZ, MEMORY_BYTES)
    assert await host.ask(RequestKind.IDENTIFY) == (Status.OK, about)


def test_bridge():
    run_cocotb(Bridge(DATA_BYTES, MEMORY_BYTES, CLOCK_HZ), "bridge", __name__)
