"""One dispatcher alone: what it shows to its engine, and when not."""

import random
from collections import deque
from dataclasses import dataclass, replace

import cocotb
from lepton.arch import PRESETS, Engine, ErrorCode
from lepton.arch.commands import ENGINE_OPCODES, Dma
from lepton_hdl.control.dispatch import Dispatcher
from lepton_hdl.control.faults import FAULT
from lepton_hdl.interfaces import DONE

from tests.bench.cycles import CycleBench
from tests.bench.disturbed import DamagedPins
from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.control.expose import Exposed

ENGINE = Engine.LOAD
IN_FLIGHT = 64  # commands that the dispatcher lets an engine have at once
WATCHED = ("fault__valid", "command__valid", "i__ready", "semaphores__request", "semaphores__post_index", "blocked",
           "issued", "layer", "finished", "outstanding")
COMMAND = {"opcode": 0x10, "wait": 6, "layer": 11}

Fields = dict[str, int]


@dataclass(frozen=True)
class Inputs:
    """What the dispatcher is given in one cycle."""

    command: Fields | None = None  # that the repeater offers
    last: int = 1  # it is the last of its record
    count: int = 3  # of records
    halt: int = 0
    ready: int = 0  # the engine takes a command
    grant: int = 0
    missing: int = 0  # mask of the semaphores
    done: tuple[int, int] | None = None  # post and layer of a command that has finished


class Driver:
    """Puts the inputs of a cycle on the ports; payloads that are not valid are noise."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins

    async def start(self) -> None:
        await self.pins.start(i__valid=0, halt=0, command__ready=0, done__valid=0, semaphores__grant=0)

    def drive(self, inputs: Inputs) -> None:
        record = random.randbytes(Dma.size) if inputs.command is None else Dma.pack(**inputs.command)
        post, layer = inputs.done or (random.getrandbits(16), random.getrandbits(16))
        self.pins.set(
            i__valid=inputs.command is not None, i__payload=int.from_bytes(record, "little"), last=inputs.last,
            count=inputs.count, halt=inputs.halt, command__ready=inputs.ready, semaphores__grant=inputs.grant,
            semaphores__missing=inputs.missing, done__valid=inputs.done is not None,
            done__payload=encode(DONE, post=post, layer=layer))


def fault_of(fields: Fields) -> tuple[ErrorCode, int] | None:
    """Why a command is illegal: code and address."""
    if fields["opcode"] not in list(ENGINE_OPCODES[ENGINE]):
        return ErrorCode.ILLEGAL_OPCODE, fields["opcode"]
    reserved = fields.get("reserved_header", 0)
    return (ErrorCode.ILLEGAL_FIELD, reserved) if reserved else None


class Model:
    """The dispatcher after the text of `Dispatcher`."""

    def __init__(self) -> None:
        self.shown = False  # the command at the input, its semaphores taken
        self.faulty = False
        self.issued = 0  # records
        self.done = 0
        self.under_way: deque[int] = deque()  # for each command with the engine: it is the last of its record

    def outputs(self, inputs: Inputs) -> dict[str, int]:
        """All that are defined with these inputs, but for the grant, on which none depends."""
        command = inputs.command
        looks = (command is not None and not self.shown and not inputs.halt and not self.faulty
                 and len(self.under_way) < IN_FLIGHT)
        fault = fault_of(command) if command is not None else None
        faults = looks and fault is not None and not self.under_way
        expected = {
            "fault__valid": faults, "command__valid": self.shown, "i__ready": self.shown and inputs.ready,
            "semaphores__request": looks and fault is None,
            "blocked": inputs.missing if looks and fault is None else 0, "issued": self.issued,
            "semaphores__post_valid": inputs.done is not None, "semaphores__post_index": self.done,
            "finished": self.done == inputs.count, "outstanding": len(self.under_way) > 0}
        if command is not None:
            expected |= {"semaphores__wait": command["wait"], "layer": command["layer"]}
            record = int.from_bytes(Dma.pack(**command), "little")
            expected["command__payload"] = record | self.issued << 8 * Dma.size
        if faults and fault is not None and command is not None:
            code, address = fault
            expected["fault__payload"] = encode(FAULT, code=code, engine=ENGINE, index=self.issued,
                                                layer=command["layer"], address=address)
        if inputs.done is not None:
            post, layer = inputs.done
            expected |= {"semaphores__post": post, "semaphores__post_layer": layer}
        return {name: int(value) for name, value in expected.items()}

    def step(self, inputs: Inputs) -> None:
        """Over the edge that ends the cycle with these inputs."""
        self.faulty |= bool(self.outputs(inputs)["fault__valid"])
        taken = self.shown and inputs.ready
        if inputs.done is not None:
            self.done += self.under_way.popleft()
        if taken:
            self.under_way.append(inputs.last)
            self.issued += inputs.last
        self.shown = bool(inputs.grant) or (self.shown and not inputs.ready)


class Bench(CycleBench[Inputs, Model]):
    """Driver, model and checker of one run, which may be reset."""

    def __init__(self, pins: Pins) -> None:
        super().__init__(pins, Driver(pins), Model(), WATCHED)

    async def again(self) -> None:
        """Reset."""
        self.pins.set(rst=1)
        await self.pins.tick()
        self.pins.set(rst=0)
        self.model = Model()


async def open_bench(pins: Pins) -> Bench:
    bench = Bench(pins)
    await bench.driver.start()
    await bench.cycles(2, Inputs())
    return bench


OFFERED = Inputs(COMMAND)
GRANTED = replace(OFFERED, grant=1)


@cocotb.test(timeout_time=10, timeout_unit="us")
async def a_command_is_shown_when_its_semaphores_are_granted(dut):
    bench = await open_bench(Pins(dut))
    await bench.cycles(2, OFFERED)
    assert bench.seen["semaphores__request"] and not bench.seen["command__valid"] and not bench.seen["i__ready"]
    await bench.cycle(GRANTED)
    await bench.cycles(10, OFFERED)
    assert bench.seen["command__valid"] and not bench.seen["semaphores__request"] and not bench.seen["outstanding"]
    await bench.cycle(replace(OFFERED, ready=1))
    await bench.cycle(OFFERED)
    assert not bench.seen["command__valid"] and bench.seen["issued"] == 1
    assert bench.seen["outstanding"] and bench.seen["semaphores__request"]


@cocotb.test(timeout_time=10, timeout_unit="us")
async def halt_keeps_back_what_is_not_shown_yet(dut):
    bench = await open_bench(Pins(dut))
    for _ in range(10):
        await bench.cycle(replace(OFFERED, halt=1))
        assert not any(bench.seen[name] for name in ("semaphores__request", "command__valid", "fault__valid"))


@cocotb.test(timeout_time=10, timeout_unit="us")
async def halt_does_not_withdraw_what_is_shown(dut):
    bench = await open_bench(Pins(dut))
    await bench.cycle(GRANTED)
    for _ in range(10):
        await bench.cycle(replace(OFFERED, halt=1))
        assert bench.seen["command__valid"]


@cocotb.test(timeout_time=10, timeout_unit="us")
async def halt_hides_an_illegal_command(dut):
    bench = await open_bench(Pins(dut))
    for _ in range(5):
        await bench.cycle(Inputs(COMMAND | {"opcode": 0x55}, halt=1))
        assert not bench.seen["fault__valid"]


@cocotb.test(timeout_time=10, timeout_unit="us")
async def an_illegal_command_is_reported_once_and_never_shown(dut):
    bench = await open_bench(Pins(dut))
    reported = 0
    for _ in range(10):
        await bench.cycle(Inputs(COMMAND | {"opcode": 0x55}))
        reported += bench.seen["fault__valid"]
        assert not bench.seen["semaphores__request"] and bench.seen["blocked"] == 0
    assert reported == 1


@cocotb.test(timeout_time=10, timeout_unit="us")
async def it_has_finished_when_all_have_and_says_what_it_waits_for(dut):
    """The last of three records is a repeated one; its index and its end are those of the record."""
    bench = await open_bench(Pins(dut))
    for i, last in enumerate((1, 1, 0, 0, 1)):
        await bench.cycle(replace(GRANTED, last=last))
        assert bench.seen["issued"] == min(i, 2)
        await bench.cycle(replace(OFFERED, last=last, ready=1))
    waits = replace(OFFERED, missing=4)
    await bench.cycle(waits)
    assert bench.seen["blocked"] == 4 and bench.seen["layer"] == COMMAND["layer"]
    for i in (0, 1, 2, 2, 2):
        await bench.cycle(replace(waits, done=(0, 0)))
        assert not bench.seen["finished"] and bench.seen["semaphores__post_index"] == i
    await bench.cycle(waits)
    assert bench.seen["finished"] and not bench.seen["outstanding"]


@cocotb.test(timeout_time=10, timeout_unit="us")
async def an_engine_has_no_more_commands_than_can_be_remembered(dut):
    """With IN_FLIGHT commands under way the next asks for no semaphore and is not checked, until one has finished."""
    bench = await open_bench(Pins(dut))
    for _ in range(IN_FLIGHT):
        await bench.cycle(GRANTED)
        await bench.cycle(replace(OFFERED, ready=1))
    for _ in range(3):
        await bench.cycle(replace(OFFERED, ready=1))
        assert not bench.seen["semaphores__request"] and bench.seen["issued"] == IN_FLIGHT
    await bench.cycle(replace(OFFERED, done=(0, 0)))
    await bench.cycle(OFFERED)
    assert bench.seen["semaphores__request"] and bench.seen["semaphores__post_index"] == 1


def random_command(illegal: float) -> Fields:
    fields = {f.name: random.randint(f.minimum, f.maximum) for f in Dma.fields}
    fields |= {"opcode": int(random.choice(ENGINE_OPCODES[ENGINE])), "reserved_header": 0}
    if random.random() < illegal:
        fields |= random.choice(({"opcode": 0x55}, {"reserved_header": random.randint(1, 255)}))
    return fields


async def random_job(bench: Bench, cycles: int) -> None:
    """Commands with semaphores that come late, an engine that stalls, in the end often a halt."""
    ready = random.choice([0.1, 0.9])
    finishes = random.choice([0.02, 0.9])  # the lower share fills the queue of commands under way
    illegal = random.choice([0, 0.02])
    halt = random.choice([cycles, random.randrange(cycles)])
    count = random.randrange(40)
    command = random_command(illegal)
    for at in range(cycles):
        model = bench.model
        done = (random.getrandbits(16), random.getrandbits(16))
        inputs = Inputs(
            command if model.shown or random.random() < 0.8 else None, random.getrandbits(1), count, at >= halt,
            random.random() < ready, 0, command["wait"] & random.choice([0, random.getrandbits(16)]),
            done if model.under_way and random.random() < finishes else None)
        grant = model.outputs(inputs)["semaphores__request"] and not inputs.missing and random.random() < 0.7
        taken = model.shown and inputs.ready
        await bench.cycle(replace(inputs, grant=int(grant)))
        if taken:
            command = random_command(illegal)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def random_jobs(dut):
    bench = await open_bench(Pins(dut))
    for _ in range(30):
        await random_job(bench, 300)
        await bench.again()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(port=["command__valid", "i__ready", "semaphores__request", "blocked", "issued", "finished",
                          "outstanding", "fault__valid", "command__payload", "semaphores__post_index"])
async def a_wrong_bit_is_reported(dut, port):
    """The checker notices a planted error of an output in a single cycle."""
    pins = DamagedPins(dut, port)
    bench = await open_bench(pins)
    with pins.reported(f"{port} is"):
        await random_job(bench, 300)


def test_dispatch():
    run_cocotb(Exposed(Dispatcher(ENGINE, PRESETS["tiny"])), "dispatch", __name__)
