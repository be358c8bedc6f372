"""The board's own top level: serial line, SDRAM controller and chip, against an SDRAM chip that checks its timing."""

import random

import lepton.device
import numpy as np
import pytest
from lepton import models
from lepton.arch import PRESETS
from lepton.arch.registers import REGISTERS
from lepton.arch.serial import FLAG, MAX_FRAME, RequestKind
from lepton.compiler import compile_graph
from lepton.device import DeviceError
from lepton.runtime import Session
from lepton.serial.link import LineRequest
from lepton_sim.serial_board import SimulatedSerialBoard

from tests.seeds import base_seed
from tests.system.serial_boards import BAUD, CLOCK_HZ, new_model, opened

TIMEOUT = REGISTERS["TIMEOUT"].offset  # 32 bits that may be read and written at any time


@pytest.fixture
def model():
    board = new_model()
    yield board
    board.close()


def random_bytes(generator, size):
    return np.frombuffer(generator.randbytes(size), np.uint8)


def test_says_what_it_is(model):
    device = opened(model)
    assert (device.clock_hz, device.memory_bytes) == (CLOCK_HZ, 32 << 20)


def test_memory_at_every_alignment(model):
    generator = random.Random(base_seed())
    device = opened(model)
    expected = model.memory.copy()
    places = [0, device.memory_bytes - 1500, *(generator.randrange(1 << 25) for _ in range(6))]
    for place in places:
        size = min(generator.choice([1, 2, 15, 16, 17, 1023, 1024, 1025]), device.memory_bytes - place)
        content = random_bytes(generator, size)
        expected[place:place + size] = content
        device.write_memory(place, content)
        around = max(0, place - 20), min(device.memory_bytes, place + size + 20)
        assert np.array_equal(device.read_memory(around[0], around[1] - around[0]), expected[slice(*around)])
    assert np.array_equal(model.memory, expected)
    assert device.read_memory(5, 0).size == 0


def test_bulk_transfers_use_the_line(model):
    device = opened(model)
    content = random_bytes(random.Random(base_seed()), 6 << 10)
    bit = CLOCK_HZ // BAUD
    start = model.status().cycles
    device.write_memory(0, content)
    written = model.status().cycles
    assert np.array_equal(device.read_memory(0, content.size), content)
    for cycles in (written - start, model.status().cycles - written):
        assert 10 * bit * content.size <= cycles < 1.06 * 10 * bit * content.size  # ten bits a byte


def test_a_line_that_damages_bytes(model):
    generator = random.Random(base_seed())
    device = opened(model, damage=3000, seed=base_seed())
    expected = model.memory.copy()
    for _ in range(3):
        place = generator.randrange(1 << 20)
        size = generator.randrange(1000, 2000)
        content = random_bytes(generator, size)
        expected[place:place + size] = content
        device.write_memory(place, content)
        assert np.array_equal(device.read_memory(place, size), content)
        device.write_register(TIMEOUT, size)
        assert device.read_register(TIMEOUT) == size
    assert np.array_equal(model.memory, expected)
    assert device.link.repeated > 0


def test_garbage_before_a_request(model):
    device = opened(model)
    model.send(bytes([FLAG]) + random.Random(base_seed()).randbytes(MAX_FRAME))
    assert device.read_memory(0, 100).size == 100


def test_answers_of_a_request_that_is_wrong(model):
    device = opened(model)
    wrong = [LineRequest(RequestKind.READ_MEMORY, device.memory_bytes - 3, 4),
             LineRequest(RequestKind.READ_MEMORY, 0, 0),
             LineRequest(RequestKind.READ_MEMORY, 0, 1025), LineRequest(RequestKind.READ_MEMORY, 0xFFFF_FFFF, 1),
             LineRequest(RequestKind.WRITE_MEMORY, 0, 5, b"four"), LineRequest(RequestKind.READ_REGISTER, 0, 2),
             LineRequest(RequestKind.READ_REGISTER, 1 << 20, 4), LineRequest(RequestKind.WAIT, 1, 1)]
    before = model.memory.copy()
    for request in wrong:
        with pytest.raises(DeviceError, match=rf"{request.operation.name} at {request.address:#x}, {request.length} "
                                              "bytes, was refused by the board"):
            device.link.ask(request)
    with pytest.raises(DeviceError, match="READ_REGISTER at 0xffc, 4 bytes, ended with SLVERR"):
        device.read_register(0xFFC)
    assert np.array_equal(model.memory, before)


def test_arguments_that_are_wrong(model):
    device = opened(model)
    with pytest.raises(DeviceError, match=r"bytes 0x1fffff0 to 0x2000004 are not in the board's memory"):
        device.read_memory(0x1FFFFF0, 20)
    with pytest.raises(DeviceError, match="must fit in 32 bits"):
        device.write_register(0, 1 << 32)
    device.close()
    with pytest.raises(DeviceError, match="the board is closed"):
        device.read_register(0)


@pytest.mark.parametrize("error", [-0.02, 0.02])
def test_the_rates_of_host_and_board_may_differ(error):
    board = new_model(rate_error=error)
    device = opened(board)
    content = random_bytes(random.Random(base_seed()), 1000)
    device.write_memory(77, content)
    assert np.array_equal(device.read_memory(77, 1000), content)
    assert device.link.repeated == 0
    board.close()


def test_the_shipped_network_over_a_pseudo_terminal():
    network = models.load("mnist")
    compiled = compile_graph(network.graph(), PRESETS["tiny"])
    image = np.random.default_rng(base_seed()).integers(-128, 128, (1, 28, 28, 1), dtype=np.int8)
    with lepton.device.open("golden", config="tiny") as golden, Session(compiled, golden) as session:
        expected = session.run(image)
    with SimulatedSerialBoard("tiny", baud=BAUD) as board, \
            lepton.device.open(board.url, config="tiny", silence=5.0) as device, Session(compiled, device) as session:
        result = session.run(image)
    for name, output in expected.outputs.items():
        assert np.array_equal(result.outputs[name], output)
    assert result.report.cycles > 0
