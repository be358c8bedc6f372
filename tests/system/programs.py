"""Programs written by hand, run through the driver on any board."""

from dataclasses import dataclass, field

import numpy as np
from lepton.arch import Dma, DmaOpcode, Engine, Region, Rows, RowsOpcode, Tensor, TensorOpcode
from lepton.driver import ChipError, Job, Stream

LANES = 4  # of the configuration "tiny", which all hand-made programs are for
SIZES = {Region.INPUT: 1 << 16, Region.OUTPUT: 1 << 16, Region.SCRATCH: 1 << 12}
ENGINE_BYTES = {Engine.LOAD: Dma.size, Engine.TENSOR: Tensor.size, Engine.STORE: Dma.size, Engine.ROWS: Rows.size}


def bits(*semaphores):
    return sum(1 << s for s in semaphores)


def load(size=64, **fields):
    return _dma(DmaOpcode.LOAD, size, {"region": Region.INPUT} | fields)


def fill(size=64, **fields):
    return _dma(DmaOpcode.FILL, size, fields)


def store(size=64, **fields):
    return _dma(DmaOpcode.STORE, size, {"region": Region.OUTPUT} | fields)


def _dma(opcode, size, fields):
    return Dma.pack(**({"opcode": opcode, "row_bytes": size, "count1": 1, "count2": 1, "count3": 1} | fields))


def tensor(opcode=TensorOpcode.MAX, **fields):
    """A walk over one row of pixels, first and last."""
    ones = dict.fromkeys(("kernel_x", "kernel_y", "blocks", "nx", "ny", "nz", "first", "last", "stride_x", "stride_y",
                          "dilation_x", "dilation_y", "in_h"), 1)
    rest = {"in_w": 1 << 15, "in_x": LANES, "out_x": LANES, "out_min": -128, "out_max": 127,
            "add_min": -128, "add_max": 127}
    return Tensor.pack(opcode=opcode, **(ones | rest | fields))


def softmax(**fields):
    """A softmax of one value, in place."""
    ones = dict.fromkeys(("length", "nx", "ny", "nz"), 1)
    return Rows.pack(opcode=RowsOpcode.SOFTMAX, **(ones | {"out_min": -128, "out_max": 127} | fields))


@dataclass
class Program:
    """Command streams of a job, in the order of `Engine`."""

    load: list[bytes] = field(default_factory=list)
    tensor: list[bytes] = field(default_factory=list)
    store: list[bytes] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    name: str = "by hand"
    layers: tuple[int, ...] = ()
    timeout: int = 5000

    @property
    def streams(self):
        return dict(zip(Engine, (self.load, self.tensor, self.store, self.rows), strict=True))

    def image(self):
        """(bytes of region PROGRAM, streams)"""
        image = bytearray()
        streams = {}
        for engine, commands in self.streams.items():
            image.extend(bytes(-len(image) % 64))
            if commands:
                streams[engine] = Stream(len(image), len(commands))
                image.extend(b"".join(commands))
        return bytes(image), streams


class Bench:
    """A driver with buffers for one program at a time, with gaps between them; all other memory is watched."""

    GAP = 4096

    def __init__(self, driver, sizes=SIZES, program_bytes=1 << 14):
        self.driver = driver
        self.buffers = {}
        for region, size in {Region.PROGRAM: program_bytes, **sizes}.items():
            driver.allocate(self.GAP, "gap")
            self.buffers[region] = driver.allocate(size, region.name)
        self._before = self._outside()

    def _outside(self):
        """All memory, with zeros where the job's regions are."""
        device = self.driver.device
        memory = device.read_memory(0, device.memory_bytes)
        for buffer in self.buffers.values():
            memory[buffer.address:buffer.address + buffer.size] = 0
        return memory

    def prepare(self, program, inputs=None):
        """The job, with INPUT and the results' regions filled; `inputs` uint8."""
        image, streams = program.image()
        self.buffers[Region.PROGRAM].write(image)
        size = self.buffers[Region.INPUT].size
        data = np.random.default_rng(7).integers(0, 256, size, np.uint8)
        if inputs is not None:
            data[:len(inputs)] = inputs
        self.buffers[Region.INPUT].write(data)
        for region in (Region.OUTPUT, Region.SCRATCH):
            self.buffers[region].fill(0xA5)
        return Job(dict(self.buffers), streams, program.layers, program.timeout, program.name)

    def run(self, program, inputs=None, **options):
        return self.driver.run(self.prepare(program, inputs), **options)

    def error(self, program, **options) -> ChipError | None:
        """The error with which a program stops; None if it does not."""
        try:
            self.run(program, **options)
        except ChipError as error:
            return error
        return None

    def outcome(self, program, inputs, cycle_limit):
        """How a program ends: ("done", what it wrote), or what its error says."""
        try:
            self.run(program, inputs, cycle_limit=cycle_limit)
        except ChipError as error:
            return error.code.name, error.engine, error.command, error.layer, error.address
        return "done", {region: data.tobytes() for region, data in self.results().items()}

    def address(self, region):
        return self.buffers[region].address

    def results(self):
        return {region: self.buffers[region].read() for region in (Region.OUTPUT, Region.SCRATCH)}

    def check_surroundings(self):
        """Nothing was written outside of the job's regions."""
        changed = (self._outside() != self._before).nonzero()[0]
        assert not changed.size, f"{changed.size} bytes outside of the job's regions changed, first {changed[0]:#x}"


def good_program():
    """All three engines at work: a dot product with random weights, requantized, of 50 pixels; exact everywhere.

    Returns (program, input bytes, bytes of region OUTPUT that it writes).
    """
    random = np.random.default_rng(11)
    pixels = 50
    record = np.zeros((10, LANES), np.uint8)
    tile = random.integers(0, 256, (LANES, LANES), np.uint8)
    record[4:8] = np.full(LANES, 1 << 30, "<i4").view(np.uint8).reshape(LANES, 4).T
    record[9] = 5
    image = random.integers(0, 256, pixels * LANES, np.uint8)
    inputs = np.concatenate([record.ravel(), tile.ravel(), image])
    front = record.size + tile.size
    program = Program(
        load=[load(front, space=1, post=bits(6)), load(image.size, offset=front, post=bits(0))],
        tensor=[tensor(TensorOpcode.DOT, nx=pixels, weights=10, out_addr=4096, wait=bits(0, 6), post=bits(10),
                       out_zero=3, snapshot=1, layer=2)],
        store=[store(image.size, local=4096, wait=bits(10))], name="good", layers=(2,))
    products = image.view(np.int8).reshape(-1, LANES).astype(np.int64) @ tile.view(np.int8).T.astype(np.int64)
    high = (products * (1 << 30) + (1 << 30)) >> 31  # half up, as negative halves do in TFLite's
    high = np.where((products < 0) & (products % 2 != 0), -((-products) // 2), high)
    low_bits = high & 31
    threshold = 15 + (high < 0)
    expected = np.clip((high >> 5) + (low_bits > threshold) + 3, -128, 127).astype(np.int8)
    return program, inputs, expected.view(np.uint8).ravel()


def run_good_program(bench):
    """The proof that the chip is usable: every byte of a known job."""
    program, inputs, expected = good_program()
    completion = bench.run(program, inputs)
    output = bench.results()[Region.OUTPUT]
    np.testing.assert_array_equal(output[:expected.size], expected)
    assert (output[expected.size:] == 0xA5).all()
    return completion
