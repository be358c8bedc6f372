"""The core's own instruction tests, from its package, in our integration: our memories, look-ahead and clock gate."""

import json
import random
from pathlib import Path

import cocotb
import pytest
from lepton.arch.controller import CODE_BASE, DATA_BASE
from lepton.firmware.build import compile_c, segments
from lepton_hdl.controller.processor import core_source

from tests.bench.bus import Access
from tests.bench.clock import cycles, until
from tests.bench.disturbed import PlantedError, check_messages
from tests.cocotb_harness import failing_cocotb, parameters, run_cocotb
from tests.hdl.controller.processor_bench import (
    JUMP_TO_CODE,
    PASSED,
    RESULT,
    Gated,
    Outcome,
    ProcessorBench,
    Program,
)

HERE = Path(__file__).parent
NOT_BUILT = ("mul", "div", "rem")  # instructions that the firmware is not compiled for
PLANTED = parameters().get("planted", False)
LOOP = 0x0000_006F  # jal x0, 0
LOAD = 0x0000_A103  # lw x2, 0(x1)
STORE = 0x0020_A023  # sw x2, 0(x1)
STORE_BYTE = 0x0020_8023  # sb x2, 0(x1)
LUI_X1 = 0xB7  # lui x1, with the upper 20 bits of a constant added
# x2 to the word of the result
GIVE_RESULT = (0x2000_21B7, 0xFE21_AE23, LOOP)  # lui x3, 0x20002; sw x2, -4(x3); jal x0, 0


@cocotb.test(timeout_time=50, timeout_unit="ms", skip=PLANTED)
async def every_instruction_test_passes(dut):
    bench = await ProcessorBench.open(dut)
    programs = json.loads(Path(parameters()["programs"]).read_text())
    assert len(programs) >= 36
    outcomes = {name: await bench.run(Program(bytes.fromhex(code), bytes.fromhex(data)))
                for name, (code, data) in programs.items()}
    failed = {name: outcome for name, outcome in outcomes.items() if outcome != Outcome(result=PASSED)}
    assert not failed, failed


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=PLANTED)
async def bad_accesses_trap_with_their_address(dut):
    """A load from an address without memory, a store to ROM and to code, a byte from a register, and what a register
    refuses."""
    bench = await ProcessorBench.open(dut)
    for registers in bench.registers.values():
        registers.refused.add(8)
    for address, instruction in (
            (0x5000_0000, LOAD), (0x1000_4000, LOAD), (0x2000_2000, LOAD), (0x0000_0000, STORE), (0x1000_0000, STORE),
            (0x3000_0000, STORE_BYTE), (0x4000_0000, STORE_BYTE)):
        outcome = await bench.run(Program.of(address | LUI_X1, instruction, LOOP))
        assert outcome == Outcome(trap=address), f"{address:#x}: {outcome}"
    assert not any(bus.log for bus in bench.buses.values()), "an access that the core must trap has reached a bus"
    for base in (0x3000_0000, 0x4000_0000):
        for instruction in (0x0080_A103, 0x0020_A423):  # lw x2, 8(x1); sw x2, 8(x1)
            outcome = await bench.run(Program.of(base | LUI_X1, instruction, 0x1234_5137, *GIVE_RESULT))  # lui x2, ...
            assert outcome == Outcome(trap=base + 8), f"{base:#x}: {outcome}"
            assert not await bench.memory.read_word(RESULT), "the core went on behind a refused access"


async def copy_a_register(bench: ProcessorBench) -> None:
    """Random words of one bus go to a register of the other: every access arrives once, in order, as it was made."""
    for source, target, upper in (("peripheral", "chip", (0x3000_0000, 0x4000_0000)),
                                  ("chip", "peripheral", (0x4000_0000, 0x3000_0000))):
        value = random.getrandbits(31) + 1
        bench.registers[source].words[0x44] = value
        before = {name: len(bus.log) for name, bus in bench.buses.items()}
        outcome = await bench.run(Program.of(
            upper[0] | LUI_X1, 0x0440_A103,  # lw x2, 0x44(x1)
            upper[1] | LUI_X1, 0x0420_A423,  # sw x2, 0x48(x1)
            *GIVE_RESULT), limit=1000)
        assert outcome == Outcome(result=value), f"{source}: {outcome}, not {value:#x}"
        assert bench.buses[source].log[before[source]:] == [Access(0x44)], f"{source}: a wrong read"
        assert bench.buses[target].log[before[target]:] == [Access(0x48, value)], f"{target}: a wrong write"


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=PLANTED)
async def registers_are_read_and_written(dut):
    bench = await ProcessorBench.open(dut)
    for _ in range(4):
        await copy_a_register(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=PLANTED)
@cocotb.parametrize(asleep=[1, 2, 50])
async def a_stopped_clock_keeps_the_wait_for_a_register(dut, asleep):
    """While the gate's `awake` is low nothing changes; the answer arrives whenever it comes."""
    bench = await ProcessorBench.open(dut)
    bench.registers["peripheral"].words[0x44] = 0xCAFE
    await bench.load(Program.of(0x3000_0000 | LUI_X1, 0x0440_A103, *GIVE_RESULT))
    dut.run.value = 1
    await until(dut, lambda: dut.peripheral__valid.value, 200)
    dut.awake.value = 0
    for _ in range(asleep):
        await cycles(dut, 1)
        assert dut.peripheral__valid.value
    dut.awake.value = 1
    await cycles(dut, 60)
    assert await bench.memory.read_word(RESULT) == 0xCAFE


ERRORS = [
    PlantedError("peripheral__address", "peripheral: Outcome|peripheral: a wrong read", 1 << 3),
    PlantedError("chip__write_data", "chip: a wrong write", 1 << 12),
    PlantedError("peripheral__write", r"peripheral: Outcome|peripheral: a wrong read"),
    PlantedError("peripheral__valid", "peripheral: an access was (withdrawn|changed) before it was answered", first=20),
    PlantedError("copy_data", r"peripheral: Outcome\(result=\d+, trap=None\), not 0x", 1 << 9),
    PlantedError("trap", r"peripheral: Outcome\(result=None, trap=\d+\)"),
]


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=not PLANTED)
@cocotb.parametrize(number=range(len(ERRORS)))
async def registers_with_a_wrong_output(dut, number):
    """Must fail."""
    await copy_a_register(await ProcessorBench.open(ERRORS[number].planted(dut)))


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A file with the core's instruction tests: code and data by name, in hexadecimal."""
    folder = tmp_path_factory.mktemp("instructions")
    made: dict[str, tuple[str, str]] = {}
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


def test_planted_errors_are_reported():
    check_messages(failing_cocotb(Gated(JUMP_TO_CODE), "processor", __name__, parameters={"planted": True}), ERRORS)
