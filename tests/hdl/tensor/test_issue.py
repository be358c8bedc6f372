"""The issue stage, cycle by cycle: the walk as `lepton.arch.commands` writes it, and what holds it back."""

import random

import cocotb
import pytest
from lepton.arch import ErrorCode, Tensor, TensorOpcode
from lepton_hdl.control.counters import Activity
from lepton_hdl.tensor.issue import Issue

from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL
from tests.hdl.tensor.issue_bench import GATES, OPEN, Bench, complete, random_command, walk


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(share=[1.0, 0.9, 0.4])
async def random_commands(dut, share):
    """`share`: how often each gate is open, independently of the others."""
    rng = random.Random(random.getrandbits(32))
    bench = Bench(dut)
    await bench.start()
    commands = [random_command(bench.config, rng)]
    while len(commands) < 80:
        commands.append(random_command(bench.config, rng))
    assert any(p["padding"] for c in commands for p in walk(bench.config, c)[0])

    def gates():
        return {name: rng.random() < share for name in GATES} | {"halt": rng.random() > share ** 0.2}

    await bench.run(commands, gates, lambda: rng.random() < share)
    expected = {Activity.COMPUTE, Activity.SYNC} | ({Activity.WEIGHTS, Activity.IDLE} if share < 1 else set())
    assert set(bench.activities) >= expected


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def wide_strides_do_not_wrap(dut):
    """Columns far outside a 16-bit image stay padding: 255 columns per x and per kernel column, for 8 x."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    long = dict(opcode=TensorOpcode.MAX, last=0, nx=8, kernel_x=255, stride_x=255,
                dilation_x=255, ix0=32767, in_w=65535, in_addr=4)
    pixels, fault = walk(config, complete(**long))
    assert fault is None and {p["padding"] for p in pixels} == {0, 1}
    await bench.run([complete(**long)], lambda: OPEN)
    tall = dict(opcode=TensorOpcode.SUM, last=0, ny=8, kernel_y=200, stride_y=255,
                dilation_y=255, iy0=-32768, in_h=65535, in_addr=4)
    await bench.run([complete(**tall)], lambda: OPEN)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def full_rate_and_one_pixel_passes(dut):
    """A pixel a cycle across passes and commands; a pass of one pixel takes two cycles, for its accumulator row."""
    bench = Bench(dut)
    await bench.start()
    await bench.run([complete(nx=4, blocks=3)] * 3, lambda: OPEN)
    assert bench.activities == [Activity.IDLE] + [Activity.COMPUTE] * 36
    bench.activities.clear()
    await bench.run([complete(blocks=5), complete(opcode=TensorOpcode.SUM)], lambda: OPEN)
    assert bench.activities[1:] == [Activity.COMPUTE, Activity.SYNC] * 5 + [Activity.COMPUTE]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def each_gate_holds(dut):
    """With one gate closed the command stops at the first pixel that needs it, under the right activity."""
    bench = Bench(dut)
    await bench.start()
    command = complete(nx=3, blocks=2, add=1, fence=1, out_x=bench.config.lanes)
    for gate, before, activity in (("tile_ready", 0, Activity.WEIGHTS), ("params_ready", 3, Activity.WEIGHTS),
                                   ("residual_available", 3, Activity.SYNC), ("residual__ready", 3, Activity.SYNC),
                                   ("drained", 0, Activity.SYNC)):
        await bench.again()
        assert await bench.cycle(command, **OPEN)
        for _ in range(20):
            await bench.cycle(**(OPEN | {gate: 0}))
        assert bench.issued == before and bench.activities[-5:] == [activity] * 5, gate
        await bench.run([], lambda: OPEN)
        assert bench.issued == 6, gate
    await bench.again()
    for _ in range(5):
        assert not await bench.cycle(command, **(OPEN | {"room": 0}))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def errors_of_fields(dut):
    """A reserved field that is set, a count of zero, a shift or rounding out of range, a step that is not aligned."""
    bench = Bench(dut)
    await bench.start()
    lanes = bench.config.lanes
    cases = [({f.name: f.maximum}, ErrorCode.ILLEGAL_FIELD, f.maximum) for f in Tensor.fields
             if f.name.startswith("reserved")]
    cases += [({name: 0}, ErrorCode.ILLEGAL_FIELD, 0) for name in ("kernel_x", "kernel_y", "blocks", "nx", "ny", "nz")]
    cases += [({f"add_shift_{n}": v}, ErrorCode.ILLEGAL_FIELD, v) for n in "abo" for v in (32, 255)]
    cases.append(({"rounding": 3}, ErrorCode.ILLEGAL_FIELD, 3))
    cases += [({name: lanes + 1, "add": 1}, ErrorCode.LOCAL_ALIGNMENT, lanes + 1)
              for name in ("out_addr", "out_x", "out_y", "out_z", "res_addr", "res_x", "res_y", "res_z")]
    cases += [({"out_x": -1}, ErrorCode.LOCAL_ALIGNMENT, (1 << 32) - 1)]
    for change, code, address in cases:
        await bench.again()
        bench.ports.set(**OPEN)
        await expect_error(bench, complete(layer=77, **change), 0, (code, address))
    # What a command does not use may be anything.
    for unused in (dict(last=0, out_addr=3, out_x=1), dict(res_addr=1, res_x=3), dict(last=0, add=1, res_y=2)):
        await bench.again()
        await bench.run([complete(**unused)], lambda: OPEN)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def errors_of_the_walk(dut):
    """The walk stops before the first pixel that leaves a memory, after all pixels before it."""
    bench = Bench(dut)
    await bench.start()
    config, lanes = bench.config, bench.config.lanes
    size, rows = config.scratchpad_bytes, config.accumulator_rows
    cases = [
        dict(nx=5, acc=rows - 3), dict(acc=65535), dict(nx=4, in_w=9, stride_x=1, in_addr=size - 2 * lanes, in_x=lanes),
        dict(in_addr=size - lanes + 1), dict(in_addr=-1), dict(blocks=3, in_block=-8, in_addr=8),
        dict(nx=3, out_addr=size - 2 * lanes, out_x=lanes), dict(ny=3, out_addr=lanes, out_y=-lanes),
        dict(blocks=2, nx=2, out_addr=size),  # only the last pass sends anything
        dict(kernel_x=2, in_w=2, dilation_x=1, in_kx=1 << 30), dict(nz=2, in_z=-(1 << 31)),
    ]
    for fields in cases:
        command = complete(layer=500, **fields)
        pixels, fault = walk(config, command)
        assert fault is not None, fields
        await bench.again()
        bench.ports.set(**OPEN)
        await expect_error(bench, command, len(pixels), fault)
    # Outside the image an address may be anything.
    await bench.again()
    await bench.run([complete(nx=4, ix0=-2, in_w=2, stride_x=1, in_addr=-2 * lanes, in_x=lanes)], lambda: OPEN)


async def expect_error(bench, command, pixels, fault):
    """`command` fails after `pixels`, and nothing goes on until reset."""
    ports = bench.ports
    bench.offered = 1234
    bench.offer(command)
    await ports.tick()
    bench.offer(complete())
    issued = 0
    for cycle in range(60):
        await ports.settle()
        issued += ports.get("pixel__valid")
        if ports.get("failed"):
            assert (ErrorCode(ports.get("code")), ports.get("bad_address")) == fault, command
            assert (ports.get("index"), ports.get("layer")) == (1234, command["layer"])
            assert not ports.get("command__ready") and not ports.get("pixel__valid")
        else:
            assert cycle < 50, f"{fault} is not reported"
        await ports.tick()
    assert issued == pixels, f"{issued} pixels before {fault}, not {pixels}"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_command_may_begin_with_the_row_that_the_last_one_ended_with(dut):
    """The row is fetched again from the second cycle on, as `Accumulators` says, also across commands."""
    bench = Bench(dut)
    await bench.start()
    first = complete(opcode=TensorOpcode.SUM, last=0, nx=3)
    await bench.run([first, complete(opcode=TensorOpcode.SUM, first=0, acc=2)], lambda: OPEN)


@pytest.mark.parametrize("lanes", [4, 16])
def test_issue(lanes):
    run_cocotb(Issue(SMALL[lanes]), f"issue{lanes}", __name__, parameters={"lanes": lanes})
