"""The benches of the memory ports notice errors that are planted in what they see."""

import random

import cocotb
import pytest
from lepton.arch import PRESETS
from lepton_hdl.dma import ReadPort, WritePort

from tests.bench.axi_memory import AxiReadMemory, AxiWriteMemory
from tests.bench.clock import cycles, start_clock, until
from tests.bench.disturbed import PlantedError, check_messages
from tests.bench.stalls import MOST, SOME, stall
from tests.cocotb_harness import failing_cocotb, parameters
from tests.hdl.dma.bench import READ_CLIENTS
from tests.hdl.dma.port_bench import ReadClient, WriteClient

CONFIG = PRESETS["base"].with_(bus_bytes=16)
SIZE = 0x2000
BEAT_LAST = 1 << 8 * CONFIG.bus_bytes  # of a beat for a client, behind its data
BEAT_RESP = BEAT_LAST << 2  # the upper bit: 2 is SLVERR
BEAT_ADDRESS = BEAT_LAST << 3
RESPONSE_RESP = 1 << 1

ERRORS = {
    "read_port": [
        PlantedError("clients__0__beat__payload", r"client 0: item 0 is ReadBeat\(.*, not ReadBeat\("),
        PlantedError("clients__0__beat__payload", r"client 0: item 0 is .*last=1.*, not .*last=0", BEAT_LAST),
        PlantedError("clients__0__beat__payload", r"client 0: item 0 is .*resp=2.*, not .*resp=0", BEAT_RESP),
        PlantedError("clients__0__beat__payload", r"client 0: item 0 is .*address=1.*, not .*address=0", BEAT_ADDRESS),
        PlantedError("clients__1__beat__valid", r"client 1: item 0 (was not expected|is ReadBeat)"),
        PlantedError("clients__2__beat__valid", "clients__2__beat: an item was withdrawn before it was taken",
                     held="clients__2__beat__"),
        PlantedError("clients__2__beat__payload", "clients__2__beat: an item was changed before it was taken",
                     held="clients__2__beat__"),
        PlantedError("bus__rready", r"client \d: item \d+ is|missing|an item was (withdrawn|changed)"),
        PlantedError("busy", "still busy"),
    ],
    "write_port": [
        PlantedError("client__response__payload", r"client: item 0 is Response\(resp=2.*, not Response\(resp=0",
                     RESPONSE_RESP),
        PlantedError("client__response__valid", r"client: item \d+ was not expected"),
        PlantedError("bus__wdata", r"byte 0x[0-9a-f]+ is 0x[0-9a-f]+, not 0x[0-9a-f]+", 1 << 20),
        PlantedError("bus__wstrb", r"byte 0x[0-9a-f]+ is 0x[0-9a-f]+, not 0x[0-9a-f]+", 1 << 3),
        PlantedError("bus__awaddr", r"byte 0x[0-9a-f]+ is 0x[0-9a-f]+, not 0x[0-9a-f]+", 1 << 10),
        PlantedError("bus__awlen", r"WLAST is \d on beat", first=2),
        PlantedError("busy", "still busy"),
    ],
}
BLOCK = parameters().get("block", "read_port")


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=BLOCK != "read_port")
@cocotb.parametrize(number=range(len(ERRORS["read_port"])))
async def reads_with_a_wrong_output(dut, number):
    """Must fail."""
    seen = ERRORS[BLOCK][number].planted(dut)
    axi = AxiReadMemory(seen, CONFIG.bus_bytes, bytearray(random.randbytes(SIZE)), pause=stall(SOME))
    clients = [ReadClient(seen, i, axi.contents, stall(SOME), stall(MOST)) for i in range(READ_CLIENTS)]
    await start_clock(dut, timeout=0, restart=0, discard=0)
    for client in clients:
        client.send(0, 50)
        client.send(100, 50)
    await until(dut, lambda: all(client.idle for client in clients), 3000,
                lambda: f"missing {[client.checker.missing for client in clients]}")
    await cycles(dut, 50)
    assert not seen.busy.value, "still busy"


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=BLOCK != "write_port")
@cocotb.parametrize(number=range(len(ERRORS["write_port"])))
async def writes_with_a_wrong_output(dut, number):
    """Must fail."""
    seen = ERRORS[BLOCK][number].planted(dut)
    axi = AxiWriteMemory(seen, CONFIG.bus_bytes, bytearray(SIZE), pause=stall(SOME))
    client = WriteClient(seen, "client", CONFIG.bus_bytes, stall(SOME), stall(SOME))
    await start_clock(dut, timeout=0, restart=0)
    for i in range(10):
        client.send(200 * i, random.randbytes(70))
    await until(dut, lambda: client.idle, 3000, lambda: f"missing {client.checker.missing}")
    await cycles(dut, 50)
    client.check(axi.contents)
    assert not seen.busy.value, "still busy"


@pytest.mark.parametrize("block", ERRORS)
def test_planted_errors_are_reported(block):
    port = ReadPort(CONFIG, READ_CLIENTS) if block == "read_port" else WritePort(CONFIG)
    problems = failing_cocotb(port, block, __name__, parameters={"block": block})
    check_messages(problems, ERRORS[block])
