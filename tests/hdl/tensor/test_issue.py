"""The issue stage, cycle by cycle: the walk as `lepton.arch.commands` writes it, and what holds it back."""

import random
from dataclasses import dataclass, field
from itertools import product

import cocotb
import pytest
from lepton.arch import ErrorCode, Tensor, TensorOpcode
from lepton_hdl.control.counters import Activity
from lepton_hdl.interfaces import command_layout
from lepton_hdl.tensor.issue import Issue, pixel_layout
from lepton_hdl.tensor.residual import WALK

from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.tensor.bench import Ports
from tests.hdl.tensor.commands import SMALL

BASIC = dict(opcode=TensorOpcode.DOT, first=1, last=1, kernel_x=1, kernel_y=1, blocks=1, nx=1, ny=1, nz=1,
             in_w=1, in_h=1, out_min=-128, out_max=127)
GATES = ("tile_ready", "params_ready", "residual_available", "drained", "room", "residual__ready")
OPEN = dict.fromkeys(GATES, 1)


def walk(config, c):
    """The pixels of a command in order, and (code, address) of the one that cannot be issued, or None."""
    size, lanes, pixels = config.scratchpad_bytes, config.lanes, []
    passes = list(product(range(c["blocks"]), range(c["kernel_y"]), range(c["kernel_x"])))
    image = list(product(range(c["nz"]), range(c["ny"]), range(c["nx"])))
    for p, (block, ky, kx) in enumerate(passes):
        for i, (z, y, x) in enumerate(image):
            ix = c["ix0"] + x * c["stride_x"] + kx * c["dilation_x"]
            iy = c["iy0"] + y * c["stride_y"] + ky * c["dilation_y"]
            inside = 0 <= ix < c["in_w"] and 0 <= iy < c["in_h"]
            address = (c["in_addr"] + block * c["in_block"] + ky * c["in_ky"] + kx * c["in_kx"]
                       + z * c["in_z"] + y * c["in_y"] + x * c["in_x"]) % (1 << 32)
            out = (c["out_addr"] + z * c["out_z"] + y * c["out_y"] + x * c["out_x"]) % (1 << 32)
            emit = c["last"] and p == len(passes) - 1
            if c["acc"] + i >= config.accumulator_rows:
                return pixels, (ErrorCode.ACCUMULATOR_BOUNDS, c["acc"] + i)
            if inside and address + lanes > size:
                return pixels, (ErrorCode.LOCAL_BOUNDS, address)
            if emit and out + lanes > size:
                return pixels, (ErrorCode.LOCAL_BOUNDS, out)
            dot = c["opcode"] == TensorOpcode.DOT
            pixel = dict(padding=not inside, pad=c["pad"], swap=i == 0 and dot, bypass=not dot,
                         maximum=c["opcode"] == TensorOpcode.MAX, start=c["first"] and p == 0, emit=emit,
                         fresh=emit and i == 0, final=p == len(passes) - 1 and i == len(image) - 1, row=c["acc"] + i)
            if inside:
                pixel["address"] = address
            if emit:
                pixel["out"] = out // lanes
            pixels.append({name: int(value) for name, value in pixel.items()})
    return pixels, None


@dataclass
class Model:
    """What the issue stage owes in the coming cycle."""

    pixels: list = field(default_factory=list)
    command: dict | None = None
    fence: bool = False
    residual: bool = False  # the walk of the residual has yet to be handed over
    last_row: int | None = None  # the accumulator row fetched in the last cycle, not to be fetched in this one

    def accept(self, config, command):
        self.pixels, fault = walk(config, command)
        assert fault is None, fault
        self.command, self.fence = command, bool(command["fence"])
        self.residual = bool(command["add"] and command["last"])


class Bench:
    def __init__(self, dut):
        self.ports, self.config = Ports(dut), SMALL[parameters()["lanes"]]
        self.pixel_layout, self.command_bits = pixel_layout(self.config), 8 * Tensor.size
        assert command_layout(Tensor).size == self.command_bits + 32
        self.reset_model()

    def reset_model(self):
        self.model, self.offered, self.issued, self.activities = Model(), 0, 0, []

    async def start(self):
        await self.ports.start(command__valid=0, halt=0, **dict.fromkeys(GATES, 0))

    async def again(self):
        """Reset, as before the next job."""
        self.ports.set(rst=1, command__valid=0)
        await self.ports.tick()
        self.ports.set(rst=0)
        self.reset_model()

    def offer(self, fields):
        self.ports.set(command__valid=fields is not None)
        if fields is not None:
            word = int.from_bytes(Tensor.pack(**fields), "little") | self.offered << self.command_bits
            self.ports.set(command__payload=word)

    async def cycle(self, offer=None, halt=0, **gates):
        """One cycle with these gates; `offer`: fields of the command at the port. True where it was accepted."""
        ports, model = self.ports, self.model
        if model.residual:  # no residual is there before its walk was asked for
            gates["residual_available"] = 0
        ports.set(halt=halt, **gates)
        self.offer(offer)
        await ports.settle()

        active = bool(model.pixels)
        pixel = model.pixels[0] if model.pixels else None
        weights = sync = False
        if pixel:
            weights = ((pixel["swap"] and not gates["tile_ready"]) or (pixel["fresh"] and not gates["params_ready"]))
            sync = (model.fence or pixel["row"] == model.last_row
                    or bool(pixel["emit"] and model.command["add"] and not gates["residual_available"]))
        issues = bool(ports.get("pixel__valid"))
        held = not pixel or weights or sync or halt
        assert not (issues and held), "issued what must wait"
        assert issues or held, "waits for nothing"
        claims = issues and pixel["emit"] and model.command["add"]
        for name, value in (("tile_take", issues and pixel["swap"]), ("params_take", issues and pixel["fresh"]),
                            ("residual_claim", claims)):
            assert ports.get(name) == bool(value), name
        self._check_activity(active, issues, weights, sync)
        if issues:
            got = self.pixel_layout.from_bits(ports.get("pixel__payload"))
            assert {name: int(got[name]) for name in pixel} == pixel
            self.issued += 1
            model.pixels.pop(0)
        assert not ports.get("failed")

        starts = model.residual and not model.fence and active
        assert ports.get("residual__valid") == starts
        if starts:
            got = WALK.from_bits(ports.get("residual__payload"))
            assert all(getattr(got, f"step_{a}") == model.command[f"res_{a}"] % (1 << 32) for a in "xyz")
            assert (got.address, got.nx, got.ny, got.nz) == tuple(
                model.command[name] for name in ("res_addr", "nx", "ny", "nz"))
            model.residual = not gates["residual__ready"]

        ready = not model.pixels and gates["room"] and not halt
        assert ports.get("command__ready") == bool(ready)
        model.last_row = pixel["row"] if issues else None
        if gates["drained"]:
            model.fence = False
        accepted = ready and offer is not None
        if accepted:
            model.accept(self.config, offer)
            self.offered += 1
        await ports.tick()
        return accepted

    async def run(self, commands, gates, offers=lambda: True, limit=100_000):
        """Executes the commands with what `gates()` says in each cycle."""
        todo = list(commands)
        for _ in range(limit):
            if not todo and not self.model.pixels:
                return
            if await self.cycle(todo[0] if todo and offers() else None, **gates()):
                todo.pop(0)
        raise AssertionError(f"{len(todo)} commands and {len(self.model.pixels)} pixels left after {limit} cycles")

    def _check_activity(self, active, issues, weights, sync):
        activity = Activity(self.ports.get("activity"))
        self.activities.append(activity)
        if issues:
            assert activity is Activity.COMPUTE
        elif not active:
            assert activity is Activity.IDLE
        elif weights and not sync:
            assert activity is Activity.WEIGHTS
        elif sync and not weights:
            assert activity is Activity.SYNC
        else:
            assert activity in (Activity.WEIGHTS, Activity.SYNC)


def complete(**fields):
    """All fields of a command, `BASIC` where they are not given."""
    return Tensor.unpack(Tensor.pack(**(BASIC | fields)))


def random_command(config, rng):
    """A legal command; steps need not fit together, because every one is checked on its own."""
    while True:
        lanes, small = config.lanes, rng.random() < 0.4
        wide = rng.random() < 0.3  # strides and dilations that leave the image at once, or walk a huge one
        stride = range(256) if wide else range(4)
        command = complete(
            opcode=rng.choice([TensorOpcode.DOT, TensorOpcode.SUM, TensorOpcode.MAX]),
            first=rng.randrange(2), last=rng.random() < 0.7,
            fence=rng.random() < 0.3, add=rng.random() < 0.4, pad=rng.randrange(-128, 128),
            layer=rng.getrandbits(16), kernel_x=rng.randint(1, 3), kernel_y=rng.randint(1, 3),
            blocks=rng.randint(1, 3), nx=1 if small else rng.randint(1, 5), ny=1 if small else rng.randint(1, 4),
            nz=1 if small else rng.randint(1, 3), acc=rng.randrange(config.accumulator_rows),
            in_addr=rng.randrange(-64, config.scratchpad_bytes), in_x=rng.randrange(-20, 21),
            in_y=rng.randrange(-200, 201), in_z=rng.randrange(-300, 301), in_kx=rng.randrange(-20, 21),
            in_ky=rng.randrange(-200, 201), in_block=rng.randrange(-500, 501),
            ix0=rng.choice([-32768, 32767, -1, 0]) if wide else rng.randrange(-3, 3), iy0=rng.randrange(-3, 3),
            in_w=rng.choice([0, 1, 700, 65535]) if wide else rng.randrange(12), in_h=rng.choice([1, 5, 65535]),
            stride_x=rng.choice(stride), stride_y=rng.choice(stride), dilation_x=rng.choice(stride),
            dilation_y=rng.choice(stride), weights=rng.getrandbits(16), params=rng.getrandbits(16),
            out_addr=lanes * rng.randrange(config.scratchpad_words), out_x=lanes * rng.randrange(-2, 3),
            out_y=lanes * rng.randrange(-9, 9), out_z=lanes * rng.randrange(-9, 9),
            res_addr=lanes * rng.randrange(1000), **{f"res_{a}": lanes * rng.randrange(-99, 99) for a in "xyz"})
        if walk(config, command)[1] is None:
            return command


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
