"""The issue stage, its model, and what drives it."""

from dataclasses import dataclass, field
from itertools import product

from lepton.arch import ErrorCode, Tensor, TensorOpcode
from lepton_hdl.control.counters import Activity
from lepton_hdl.interfaces import command_layout
from lepton_hdl.tensor.issue import pixel_layout
from lepton_hdl.tensor.residual import WALK

from tests.bench.pins import Pins
from tests.cocotb_harness import parameters
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
        self.ports, self.config = Pins(dut), SMALL[parameters()["lanes"]]
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
