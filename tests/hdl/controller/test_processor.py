"""The core's own instruction tests, from its package, in our integration: our memories, look-ahead and clock gate."""

import json
from pathlib import Path

import cocotb
import pytest
from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from lepton.arch.controller import CODE_BASE, DATA_BASE
from lepton.firmware.build import compile_c, segments
from lepton_hdl.controller.clock import ClockGate
from lepton_hdl.controller.processor import Processor, core_source

from tests.bench.pins import Pins
from tests.cocotb_harness import parameters, run_cocotb

HERE = Path(__file__).parent
NOT_BUILT = ("mul", "div", "rem")  # instructions that the firmware is not compiled for
RESULT = 0x1FFC // 4  # word of data memory that tells the outcome
PASSED = 0x600D
JUMP_TO_CODE = [0x1000_00B7, 0x0000_8067]  # lui ra, 0x10000; jalr x0, 0(ra)
LIMIT = 30_000


class Gated(wiring.Component):
    """The processor behind the clock gate that the chip has in front of its controller."""

    def __init__(self, rom):
        self.processor = Processor(rom)
        super().__init__({"awake": In(1)} | dict(self.processor.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.domains.awake = ClockDomain()
        m.submodules.gate = gate = ClockGate()
        m.submodules.processor = DomainRenamer("awake")(self.processor)
        m.d.comb += [gate.run.eq(self.awake), ClockSignal("awake").eq(gate.clock),
                     ResetSignal("awake").eq(ResetSignal())]
        for name, member in self.processor.signature.members.items():
            inner, outer = getattr(self.processor, name), getattr(self, name)
            if not member.is_port:
                connect(m, **{f"inner_{name}": inner, f"outer_{name}": flipped(outer)})
            elif member.flow == In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)
        return m


class Bench:
    """The processor with programs put into its memories through the copy engine's port."""

    def __init__(self, dut):
        self.pins = Pins(dut)

    async def start(self):
        await self.pins.start(run=0, copy_address=0, copy_read=0, copy_write_code=0, copy_write_memory=0,
                              copy_write_data=0, awake=1, peripheral__done=0, peripheral__error=0,
                              peripheral__read_data=0, chip__done=0, chip__error=0, chip__read_data=0)

    async def load(self, memory, data):
        for i in range(0, len(data), 4):
            word = int.from_bytes(data[i:i + 4].ljust(4, b"\0"), "little")
            self.pins.set(copy_address=i // 4, copy_write_data=word, **{f"copy_write_{memory}": 1})
            await self.pins.tick()
        self.pins.set(**{f"copy_write_{memory}": 0})

    async def data_word(self, index):
        self.pins.set(copy_address=index, copy_read=1)
        await self.pins.tick()
        return self.pins.get("copy_data")

    async def run(self, text, data):
        self.pins.set(run=0)
        for _ in range(3):
            await self.pins.tick()
        await self.load("code", text)
        await self.load("memory", data.ljust(64, b"\0"))
        self.pins.set(copy_address=RESULT, copy_write_data=0, copy_write_memory=1)
        await self.pins.tick()
        self.pins.set(copy_write_memory=0, run=1)
        for _ in range(LIMIT // 50):
            for _ in range(50):
                await self.pins.tick()
            if outcome := await self.data_word(RESULT):
                return outcome
            if self.pins.get("trap"):
                return f"trap at {self.pins.get('trap_address'):#x}"
        return "no result"


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def every_instruction_test_passes(dut):
    bench = Bench(dut)
    await bench.start()
    programs = json.loads(Path(parameters()["programs"]).read_text())
    assert len(programs) >= 36
    failed = {}
    for name, (text, data) in programs.items():
        outcome = await bench.run(bytes.fromhex(text), bytes.fromhex(data))
        if outcome != PASSED:
            failed[name] = outcome
    assert not failed, failed


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def bad_accesses_trap_with_their_address(dut):
    """A load from nowhere, a store to ROM and to code, a byte from a register, and what a register refuses."""
    bench = Bench(dut)
    await bench.start()
    for register, instruction, where in (
            (0x5000_0000, 0x0000_A103, 0x5000_0000),  # lw x2, 0(x1)
            (0x1000_4000, 0x0000_A103, 0x1000_4000), (0x2000_2000, 0x0000_A103, 0x2000_2000),
            (0x0000_0000, 0x0020_A023, 0x0000_0000),  # sw x2, 0(x1)
            (0x1000_0000, 0x0020_A023, 0x1000_0000), (0x3000_0000, 0x0020_8023, 0x3000_0000)):  # sb x2, 0(x1)
        program = b"".join(word.to_bytes(4, "little") for word in (register | 0xB7, instruction, 0x0000_006F))
        assert await bench.run(program, b"") == f"trap at {where:#x}", hex(register)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_stopped_clock_keeps_the_wait_for_a_register(dut):
    """While the gate's `awake` is low nothing changes; the answer arrives whenever it comes."""
    bench = Bench(dut)
    await bench.start()
    words = (0x3000_00B7, 0x0440_A103, 0x2000_21B7, 0xFE21_AE23, 0x0000_006F)  # lw x2, 0x44(x1); sw x2, -4(x3)
    pins = bench.pins
    await bench.load("code", b"".join(word.to_bytes(4, "little") for word in words))
    await bench.load("memory", bytes(4))
    pins.set(run=1)
    while not pins.get("peripheral__valid"):
        await pins.tick()
    assert pins.get("peripheral__address") == 0x44 and not pins.get("peripheral__write")
    pins.set(awake=0)
    for _ in range(50):
        await pins.tick()
        assert pins.get("peripheral__valid")
    pins.set(awake=1)
    await pins.tick()
    pins.set(peripheral__done=1, peripheral__read_data=0xCAFE)
    await pins.tick()
    pins.set(peripheral__done=0)
    for _ in range(30):
        await pins.tick()
    assert await bench.data_word(RESULT) == 0xCAFE


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("instructions")
    made = {}
    for path in sorted((core_source().parent / "tests").glob("*.S")):
        if path.stem.startswith(NOT_BUILT):
            continue
        elf = folder / f"{path.stem}.elf"
        # The package's own surroundings are left out: their guard is set, ours come first.
        compile_c(["-D_ENV_PICORV32_TEST_H", "-include", str(HERE / "riscv_test.h"), "-T", str(HERE / "link.ld"),
                   str(path), "-o", str(elf)], folder)
        parts = {address: elf.read_bytes()[offset:offset + size]
                 for kind, offset, address, size, _ in segments(elf.read_bytes()) if kind == 1}
        made[path.stem] = parts[CODE_BASE].hex(), parts.get(DATA_BASE, b"").hex()
    file = folder / "programs.json"
    file.write_text(json.dumps(made))
    return file


def test_processor(programs):
    run_cocotb(Gated(JUMP_TO_CODE), "processor", __name__, parameters={"programs": str(programs)})
