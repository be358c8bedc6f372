"""The errors of the issue stage: which word is the last, what is reported, and that nothing goes on."""

import cocotb
import pytest
from lepton.arch import ErrorCode, Tensor
from lepton_hdl.tensor.issue import Issue

from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL
from tests.hdl.tensor.issue_bench import Bench
from tests.hdl.tensor.issue_model import OPEN, Command, Fault, complete, walk

INDEX = 1234  # of the command that fails


async def expect_error(bench: Bench, command: Command, words: int, fault: Fault) -> None:
    """`command` fails after `words`, and nothing goes on until reset."""
    pins = bench.pins
    bench.driver.offered = INDEX
    bench.driver.drive(OPEN, 0, command)
    await pins.tick()
    bench.driver.offer(complete())
    issued = 0
    for cycle in range(60):
        await pins.settle()
        observed = bench.monitor.sample()
        issued += observed.payload is not None
        if observed.failed:
            assert (ErrorCode(pins.get("code")), pins.get("bad_address")) == fault, command
            assert (pins.get("index"), pins.get("layer")) == (INDEX, command["layer"])
            assert not observed.ready and observed.payload is None
        else:
            assert cycle < 50, f"{fault} is not reported"
        await pins.tick()
    assert issued == words, f"{issued} words before {fault}, not {words}"


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
    cases.append(({"uniform": 1, "add": 1}, ErrorCode.ILLEGAL_FIELD, 1))
    cases.append(({"add": 1, "multiply": 1, "add_shift_a": 1}, ErrorCode.ILLEGAL_FIELD, 1))
    cases += [({name: lanes + 1, "add": 1}, ErrorCode.LOCAL_ALIGNMENT, lanes + 1)
              for name in ("out_addr", "out_x", "out_y", "out_z", "res_addr", "res_x", "res_y", "res_z")]
    cases += [({"out_x": -1}, ErrorCode.LOCAL_ALIGNMENT, (1 << 32) - 1)]
    for change, code, address in cases:
        await bench.again()
        await expect_error(bench, complete(layer=77, **change), 0, (code, address))
    # What a command does not use may be anything.
    for unused in (dict(last=0, out_addr=3, out_x=1), dict(res_addr=1, res_x=3), dict(last=0, add=1, res_y=2),
                   dict(multiply=1, add_shift_a=1)):
        await bench.again()
        await bench.run([complete(**unused)], lambda: OPEN)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def errors_of_the_walk(dut):
    """The walk stops before the first pixel that leaves a memory, after all pixels before it."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    lanes = bench.config.lanes
    size = config.scratchpad_bytes
    rows = config.accumulator_rows
    cases = [
        dict(nx=5, acc=rows - 3), dict(acc=65535), dict(nx=4, in_w=9, stride_x=1, in_addr=size - 2 * lanes, in_x=lanes),
        dict(in_addr=size - lanes + 1), dict(in_addr=-1), dict(blocks=3, in_block=-8, in_addr=8),
        dict(nx=3, out_addr=size - 2 * lanes, out_x=lanes), dict(ny=3, out_addr=lanes, out_y=-lanes),
        dict(blocks=2, nx=2, out_addr=size),  # only the last pass sends anything
        dict(kernel_x=2, in_w=2, dilation_x=1, in_kx=1 << 30), dict(nz=2, in_z=-(1 << 31)),
    ]
    for fields in cases:
        command = complete(layer=500, **fields)
        words, fault = walk(config, command)
        assert fault is not None, fields
        await bench.again()
        await expect_error(bench, command, len(words), fault)
    # Outside the image an address may be anything.
    await bench.again()
    await bench.run([complete(nx=4, ix0=-2, in_w=2, stride_x=1, in_addr=-2 * lanes, in_x=lanes)], lambda: OPEN)


@pytest.mark.parametrize("lanes", [4, 16])
def test_issue_errors(lanes):
    run_cocotb(Issue(SMALL[lanes]), f"issue{lanes}", __name__, parameters={"lanes": lanes})
