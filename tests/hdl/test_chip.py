"""The chip's pins: registers over AXI4-Lite, a whole job over AXI4, the interrupt, with pauses on every channel."""


import cocotb
import numpy as np
from cocotbext.axi import AxiResp
from lepton.arch import REGISTERS, DmaOpcode, Engine, ErrorCode, Region
from lepton.arch.registers import IDENTIFICATION, VERSION, Interrupt, State
from lepton_hdl.chip import Chip

from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.board import BASE, BLOCKS, CONFIG, PIXELS, SIZE, STREAMS, Board, K, dma, fill_memory, streams


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registers_say_which_chip_it_is(dut):
    board = await Board.open(dut)
    values = {name: await board.read(name) for name in (
        "ID", "VERSION", "GEOMETRY", "SCRATCHPAD", "WEIGHTS", "ACCUMULATORS", "STATUS", "IRQ_STATUS")}
    assert values == {"ID": IDENTIFICATION, "VERSION": VERSION,
                      "GEOMETRY": K | K << 8 | CONFIG.bus_bytes << 16 | CONFIG.row_lanes << 24,
                      "SCRATCHPAD": CONFIG.scratchpad_bytes,
                      "WEIGHTS": CONFIG.weight_bytes, "ACCUMULATORS": CONFIG.accumulator_rows,
                      "STATUS": State.IDLE, "IRQ_STATUS": 0}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def access_right_after_reset(dut):
    """Valids that are up when the reset pin falls, while the core is still in reset, are neither lost nor doubled.

    Pin by pin: cocotbext's manager would begin a cycle too late to meet that case.
    """
    pins = Pins(dut)
    offset = REGISTERS["TIMEOUT"].offset
    value = 0xA5A5_1234
    for early in (("aw",), ("w",), ("aw", "w")):
        todo = ["aw", "w"]
        pins.set(host__awaddr=offset, host__wdata=value, host__wstrb=15, host__araddr=offset, host__bready=1,
                 host__rready=1, host__arvalid=0, **{f"host__{c}valid": 0 for c in todo})
        if early == ("aw",):
            await pins.start()
        else:
            pins.set(rst=1)
            for _ in range(3):
                await pins.tick()
            pins.set(rst=0)
        responses = 0
        for cycle in range(20):
            pins.set(**{f"host__{c}valid": c in todo and (c in early or cycle > 2) for c in ("aw", "w")})
            await pins.settle()
            todo = [c for c in todo if not (pins.get(f"host__{c}valid") and pins.get(f"host__{c}ready"))]
            if pins.get("host__bvalid"):
                assert pins.get("host__bresp") == AxiResp.OKAY
                responses += 1
            await pins.tick()
        assert not todo and responses == 1, f"{early}: {todo} not accepted, {responses} responses"
        pins.set(host__arvalid=1)
        await pins.settle()
        assert pins.get("host__arready")
        await pins.tick()
        pins.set(host__arvalid=0)
        for _ in range(10):
            await pins.settle()
            if pins.get("host__rvalid"):
                break
            await pins.tick()
        assert (pins.get("host__rdata"), pins.get("host__rresp")) == (value, AxiResp.OKAY)
        await pins.tick()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(pause=[0.0, 0.3, 0.8])
async def a_job(dut, pause):
    """LOAD, DOT and STORE; every byte of memory outside the result stays, the counters add up. Twice in a row."""
    board = await Board.open(dut, pause)
    rng = np.random.default_rng(int(10 * pause))
    await board.write("IRQ_ENABLE", Interrupt.DONE | Interrupt.ERROR)
    for _ in range(2):
        output = fill_memory(board.ram, rng)
        program = streams()
        for engine, commands in program.items():
            board.ram.write(BASE[Region.PROGRAM] + STREAMS[engine], b"".join(commands))
        expected = bytearray(board.ram.read(0, 1 << 16))
        expected[BASE[Region.OUTPUT]:BASE[Region.OUTPUT] + SIZE[Region.OUTPUT]] = output
        assert not dut.irq.value
        await board.start_job(program)
        await board.interrupt()
        assert await board.read("STATUS") == State.DONE, ErrorCode(await board.read("ERROR_CODE")).text
        assert bytes(board.ram.read(0, 1 << 16)) == bytes(expected)
        assert await board.read("IRQ_STATUS") == Interrupt.DONE
        await board.write("IRQ_STATUS", Interrupt.DONE)
        assert not dut.irq.value and await board.read("IRQ_STATUS") == 0
        causes = [await board.read(name) for name in ("COMPUTE", "WAIT_READ", "WAIT_WEIGHTS", "WAIT_WRITE",
                                                      "WAIT_SYNC", "IDLE")]
        assert causes[0] == PIXELS * BLOCKS and sum(causes) == await board.read("CYCLES")


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def an_error_and_then_a_job(dut):
    """A program that leaves its region raises the interrupt with the details; the next job is not harmed."""
    board = await Board.open(dut, 0.3)
    await board.write("IRQ_ENABLE", Interrupt.ERROR)
    output = fill_memory(board.ram, np.random.default_rng(9))
    bad = streams() | {Engine.LOAD: [dma(DmaOpcode.LOAD, region=Region.INPUT, offset=SIZE[Region.INPUT] - 8,
                                         row_bytes=16, layer=77)]}
    await board.start_job(bad)
    await board.interrupt()
    assert await board.read("STATUS") == State.ERROR and await board.read("IRQ_STATUS") == Interrupt.ERROR
    details = [await board.read(f"ERROR_{name}") for name in ("CODE", "ENGINE", "COMMAND", "LAYER")]
    assert details == [ErrorCode.MEMORY_BOUNDS, Engine.LOAD, 0, 77]
    await board.write("IRQ_STATUS", Interrupt.ERROR)
    await board.write("IRQ_ENABLE", Interrupt.DONE)
    await board.start_job(streams())
    await board.interrupt()
    assert bytes(board.ram.read(BASE[Region.OUTPUT], SIZE[Region.OUTPUT])) == output


def test_chip():
    run_cocotb(Chip(CONFIG), "chip_tiny", __name__)
