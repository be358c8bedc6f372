"""What stops the ROWS engine: illegal commands, words outside the scratchpad, and a halt in any cycle."""

import random

import cocotb
from lepton.arch import ErrorCode
from lepton.arch.rows import ROW_GROUP, Rows, RowsOpcode
from lepton_hdl.rows.engine import RowsEngine
from lepton_sim.golden.errors import CommandError
from lepton_sim.golden.row_walk import rows_command
from lepton_sim.golden.state import ChipState

from tests.bench.clock import cycles
from tests.bench.stalls import SOME
from tests.cocotb_harness import run_cocotb
from tests.hdl.command_bench import EngineError, check_scratchpad, completion_of
from tests.hdl.rows.bench import RowsBench
from tests.hdl.rows.commands import CONFIGS, Fields, blank_chip, random_command

CONFIG = CONFIGS[4, 1]
LANES = CONFIG.lanes
SIZE = CONFIG.scratchpad_bytes
OPCODES = list(RowsOpcode)

RESERVED = [(field.name, 1 << bit) for field in Rows.fields for bit in (0, field.bits - 1)
            if field.name.startswith("reserved") and field.name != "reserved_header"]
EITHER = [
    *({name: value} for name, value in RESERVED),
    *({name: 0} for name in ("nx", "ny", "nz", "length")),
    dict(length=4097), dict(length=0xFFFF), dict(out_shift=41), dict(out_shift=64), dict(out_shift=255),
    *({name: step} for name in ("in_addr", "in_x", "in_y", "in_z", "in_block", "out_addr", "out_x", "out_y", "out_z",
                                "out_block") for step in (1, LANES + LANES // 2)),
    *({name: -1} for name in ("in_x", "out_block")),
    dict(in_addr=SIZE), dict(in_addr=0xFFFF_FFFF // LANES * LANES), dict(out_addr=SIZE),
    dict(in_x=1 << 30), dict(out_y=-(1 << 31)), dict(nz=0, in_addr=1), dict(in_addr=1, out_addr=SIZE),
]
ILLEGAL = {
    RowsOpcode.SOFTMAX: [
        *EITHER, dict(out_shift=32), dict(out_mult=1 << 31), dict(out_mult=0xFFFF_FFFF), dict(table_addr=1),
        dict(table_addr=SIZE - 1024 + LANES), dict(table_addr=0xFFFF_FFFC),
    ],
    RowsOpcode.NORM: [
        *EITHER, dict(out_shift=0), dict(count=0), dict(count=4097), dict(count=0x8000), dict(epsilon=1 << 48),
        dict(epsilon=(1 << 64) - 1), dict(params_addr=LANES // 2), dict(params_addr=SIZE - LANES),
        dict(params_addr=0xFFFF_FFFC),
    ],
}
IGNORED = {  # what the other opcode checks
    RowsOpcode.SOFTMAX: [dict(count=0), dict(epsilon=(1 << 64) - 1), dict(params_addr=0xFFFF_FFFF, center=1)],
    RowsOpcode.NORM: [dict(out_mult=0xFFFF_FFFF), dict(table_addr=0xFFFF_FFFF, load_table=1), dict(out_shift=32)],
}


def outcome(chip: ChipState, fields: Fields) -> EngineError | None:
    """Execute on the golden chip; what it reports."""
    try:
        rows_command(fields, chip)
    except CommandError as error:
        return EngineError(error.code, 0, fields["layer"], error.address & 0xFFFF_FFFF)
    return None


def changed(fields: Fields, change: Fields) -> Fields:
    """The command with some fields changed, negative values where the field has a sign."""
    return Rows.unpack(Rows.pack(**(fields | change)))


async def check(bench: RowsBench, chip: ChipState, fields: Fields) -> EngineError | None:
    """One command on engine and golden chip, and a reset; what both report."""
    bench.memory = chip.scratchpad.copy()
    expected = outcome(chip, fields)
    bench.commands.send(Rows.pack(**fields))
    if expected is None:
        bench.completions.expect(completion_of(fields))
        await bench.finish()
    else:
        assert await bench.stopped() == expected
    check_scratchpad(bench.memory, chip.scratchpad, LANES)
    await bench.again()
    return expected


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(opcode=OPCODES)
async def illegal_commands(dut, opcode):
    """Every check with the value that it reports; nothing is written, and the engine is quiet afterwards."""
    bench = RowsBench(dut, CONFIG)
    await bench.start()
    for change in ILLEGAL[opcode]:
        chip = blank_chip(CONFIG)
        fields = changed(random_command(chip, opcode, (2, 2, 2), LANES + 1), change)
        before = chip.scratchpad.copy()
        error = await check(bench, chip, fields)
        assert error is not None and error.code in (
            ErrorCode.ILLEGAL_FIELD, ErrorCode.LOCAL_ALIGNMENT, ErrorCode.LOCAL_BOUNDS), f"{change}: {error}"
        check_scratchpad(bench.memory, before, LANES)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(opcode=OPCODES)
async def fields_of_the_other_opcode_are_ignored(dut, opcode):
    bench = RowsBench(dut, CONFIG)
    await bench.start()
    for change in IGNORED[opcode]:
        if opcode == RowsOpcode.SOFTMAX:
            change = change | {"load_table": 1}
        chip = blank_chip(CONFIG)
        assert await check(bench, chip, changed(random_command(chip, opcode, (2, 1, 1), LANES), change)) is None


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(opcode=OPCODES)
async def words_outside_in_a_later_group(dut, opcode):
    """All groups before it are written, nothing of its own."""
    bench = RowsBench(dut, CONFIG, SOME)
    await bench.start()
    for rows in (ROW_GROUP + 1, 2 * ROW_GROUP, 2 * ROW_GROUP + 3):
        for name in ("in", "out"):
            chip = blank_chip(CONFIG)
            fields = random_command(chip, opcode, (1, 1, 1), 2 * LANES - 1)
            # Its last row ends behind the scratchpad.
            fields |= {"nx": rows, f"{name}_x": 2 * LANES, f"{name}_block": LANES,
                       f"{name}_addr": SIZE - 2 * LANES * rows + LANES}
            if name == "in":
                fields |= {"out_addr": 0, "out_x": 2 * LANES, "out_block": LANES}
                fields |= {"table_addr": SIZE // 2, "params_addr": SIZE // 2}
            else:
                fields |= {"in_addr": 0, "in_x": 2 * LANES, "in_block": LANES}
                fields |= {"table_addr": SIZE // 2, "params_addr": SIZE // 2}
            error = await check(bench, chip, fields)
            assert error is not None and error.code == ErrorCode.LOCAL_BOUNDS


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def an_error_behind_other_commands(dut):
    """The index of the command; those before it are done, those behind it are not."""
    bench = RowsBench(dut, CONFIG, SOME)
    await bench.start()
    chip = blank_chip(CONFIG)
    first = random_command(chip, RowsOpcode.SOFTMAX, (2, 2, 1), LANES)
    bench.memory = chip.scratchpad.copy()
    rows_command(first, chip)
    rows_command(first, chip)
    bench.send(first, first)
    bench.commands.send(Rows.pack(**(first | {"nx": 0, "layer": 77})), Rows.pack(**first))
    assert await bench.stopped() == EngineError(ErrorCode.ILLEGAL_FIELD, 2, 77, 0)
    bench.completions.finish()
    check_scratchpad(bench.memory, chip.scratchpad, LANES)


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(opcode=OPCODES)
async def a_halt_in_any_cycle(dut, opcode):
    """No completion and no error from then on; soon idle, and after a reset as new."""
    bench = RowsBench(dut, CONFIG, SOME)
    await bench.start()
    for _ in range(40):
        chip = blank_chip(CONFIG)
        fields = random_command(chip, opcode, (4, 1, 1), 2 * LANES)
        bench.memory = chip.scratchpad.copy()
        bench.commands.send(*[Rows.pack(**fields)] * 3)
        bench.completions.expect(*[completion_of(fields)] * 3)
        await cycles(dut, random.choice([random.randint(1, 60), random.randint(1, 2500)]))
        dut.control__halt.value = 1
        await cycles(dut, 2)
        await bench.quiet()
        assert not bench.errors.items
        await bench.again()
        await bench.run(chip, fields)
        await bench.again()


def test_errors():
    run_cocotb(RowsEngine(CONFIG), CONFIG.name, __name__)
