"""A chip without row lanes: it has a stream for ROWS, and refuses every command in it."""

import cocotb
from lepton.arch import PRESETS, Engine, ErrorCode
from lepton.arch.commands import ENGINE_OPCODES
from lepton.arch.registers import State
from lepton_hdl.control import ControlBlock

from tests.cocotb_harness import run_cocotb
from tests.hdl.control.bench import Bench
from tests.hdl.control.expose import Exposed
from tests.hdl.control.programs import random_streams


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def commands_for_a_missing_engine_are_refused(dut):
    bench = await Bench.open(dut)
    for opcode in (*ENGINE_OPCODES[Engine.ROWS], 0xFF):
        assert await bench.run({Engine.ROWS: [{"opcode": opcode, "layer": 5}]}) is State.ERROR
        assert await bench.error() == (ErrorCode.ILLEGAL_OPCODE, Engine.ROWS, 0, 5, opcode)
        assert not bench.engines[Engine.ROWS].started
    streams = random_streams((9, 9, 9, 0))
    assert await bench.run(streams) is State.DONE
    bench.check_history(streams)


def test_missing_engine():
    config = PRESETS["tiny"].with_(bus_bytes=16, layer_slots=8, row_lanes=0)
    run_cocotb(Exposed(ControlBlock(config)), "control", __name__, parameters={"bus_bytes": 16, "layer_slots": 8})
