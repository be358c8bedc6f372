"""What programs look like: waits that are needed and no others, weights that travel once, tensors that stay."""

from dataclasses import replace

import lepton.device
import numpy as np
import pytest
from lepton.arch import PRESETS, DmaOpcode, Engine, Region, Space, Stream, TensorOpcode
from lepton.arch.commands import ENGINE_RECORDS, SEMAPHORES_READ, SEMAPHORES_WEIGHTS
from lepton.arch.repeat import unroll
from lepton.compiler import compile_graph
from lepton.compiler.commands import Access, Command, Memory
from lepton.compiler.semaphores import SemaphoreAllocator
from lepton.runtime import Session

from tests.host.compiler.compiler_graphs import Builder, golden, random_inputs
from tests.host.compiler.compiler_random import network
from tests.host.compiler.compiler_reference import reference

# A command that waits for input and weights waits twice for LOAD, although the later load implies the earlier:
# so the counters say which it was that came late.
BOTH_LOADS = 1 << SEMAPHORES_READ[1] | 1 << SEMAPHORES_WEIGHTS[0]


def stored(step, engine):
    """The records of a stream."""
    record = ENGINE_RECORDS[engine]
    stream = step.streams[engine]
    return [record.unpack(step.program[stream.offset + i * record.size:][:record.size]) for i in range(stream.count)]


def commands(step, engine):
    """What the engine executes: repeated commands one by one."""
    return [single for fields in stored(step, engine) for single in unroll(ENGINE_RECORDS[engine], fields)]


def unrolled(model):
    """The model of one step with a record for every command."""
    step = model.steps[0]
    program = bytearray(model.steps[0].program)
    streams = {}
    for engine, record in ENGINE_RECORDS.items():
        program.extend(bytes(-len(program) % 64))
        singles = commands(step, engine)
        streams[engine] = Stream(len(program), len(singles))
        program.extend(b"".join(record.pack(**fields) for fields in singles))
    return replace(model, steps=[replace(step, program=bytes(program), streams=streams)])


def deep(channels=32, size=8, layers=3, seed=1):
    b = Builder((1, size, size, channels), seed)
    x = "image"
    for _ in range(layers):
        x = b.conv(x, channels, (3, 3), padding=((1, 1), (1, 1)))
    return b.done()


def test_small_tensors_stay_on_chip():
    step = compile_graph(deep(), "base").steps[0]
    assert step.scratch_size == 0
    loads = commands(step, Engine.LOAD)
    stores = commands(step, Engine.STORE)
    assert {c["region"] for c in loads} == {Region.PROGRAM, Region.INPUT}
    assert sum(c["row_bytes"] * c["count1"] * c["count2"] for c in stores) == step.output_size
    tensor = commands(step, Engine.TENSOR)
    # one fence where a layer reads what the one before it wrote, none within a layer
    assert [c["layer"] for c in tensor if c["fence"]] == [1, 2]
    assert [c["layer"] for c in tensor if c["snapshot"]] == [0, 1, 2]
    assert tensor[-1]["snapshot"]


def test_weights_travel_once_if_they_fit():
    graph = deep(64, 16, 2)
    model = compile_graph(graph, "base")
    loaded = [c for c in commands(model.steps[0], Engine.LOAD) if c["space"] == Space.WEIGHTS]
    lanes = model.config.lanes
    assert sum(c["row_bytes"] for c in loaded) == model.layers[0].weight_bytes * 2 + 2 * (64 // lanes) * 10 * lanes
    assert len({c["offset"] for c in loaded}) == len(loaded)


def test_loads_run_ahead():
    """The first LOAD of a layer's weights waits for none of the layer before it while there is room."""
    step = compile_graph(deep(32, 8, 3), "base").steps[0]
    assert all(c["wait"] == 0 for c in commands(step, Engine.LOAD))


def test_an_addition_is_fused_into_the_later_convolution():
    b = Builder((1, 6, 6, 8), 1)
    x = b.conv("image", 8, (3, 3), padding=((1, 1), (1, 1)))
    y = b.conv("image", 8, (1, 1))
    model = compile_graph(b.done(b.add(x, y)), "tiny")
    assert [layer.op for layer in model.layers] == ["Conv2D", "Conv2D+Add"]
    added = [c["layer"] for c in commands(model.steps[0], Engine.TENSOR) if c["add"]]
    assert set(added) == {1}


@pytest.mark.parametrize("reason", ["used twice", "an output"])
def test_an_addition_that_cannot_be_fused(reason):
    b = Builder((1, 6, 6, 8), 1)
    x = b.conv("image", 8, (1, 1))
    y = b.add(x, "image")
    graph = b.done(y, x) if reason == "an output" else b.done(b.conv(b.add(y, x), 4, (1, 1)), y)
    model = compile_graph(graph, "tiny")
    assert "Add" in [layer.op for layer in model.layers]
    tensor = commands(model.steps[0], Engine.TENSOR)
    assert TensorOpcode.MAX in {c["opcode"] for c in tensor}
    inputs = random_inputs(graph, 2)
    outputs, _ = golden(graph, "tiny", inputs)
    for name, expected in reference(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)


def test_depthwise_reads_only_its_own_block():
    b = Builder((1, 6, 6, 16), 1)
    b.depthwise("image", (3, 3))
    graph = b.done()
    plain = PRESETS["tiny"].with_(name="plain", window_columns=0)
    tensor = commands(compile_graph(graph, plain).steps[0], Engine.TENSOR)
    assert len({c["weights"] for c in tensor}) == 4
    assert all(c["opcode"] == TensorOpcode.DOT and c["blocks"] == 1 and c["kernel_x"] * c["kernel_y"] == 9
               for c in tensor)


@pytest.mark.parametrize("config, rows", [("tiny", [1, 1, 1]), ("small", [2, 1]), ("base", [3])])
def test_depthwise_uses_the_window_unit(config, rows):
    """One command for each group of kernel rows that the lanes hold, for every channel block."""
    b = Builder((1, 6, 6, 16), 1)
    b.depthwise("image", (3, 3))
    tensor = commands(compile_graph(b.done(), config).steps[0], Engine.TENSOR)
    assert [c["tap_rows"] for c in tensor] == rows * (16 // PRESETS[config].lanes)
    assert all(c["opcode"] == TensorOpcode.WINDOW and c["kernel_x"] == 3 and c["kernel_y"] == 1 for c in tensor)


def test_a_reduction_larger_than_the_weight_memory_is_split():
    b = Builder((1, 4, 4, 64), 1)
    b.conv("image", 4, (3, 3))
    graph = b.done()
    chip = PRESETS["tiny"].with_(name="toy", weight_kib=2)
    inputs = random_inputs(graph, 1)
    outputs, model = golden(graph, chip, inputs)
    tensor = commands(model.steps[0], Engine.TENSOR)
    assert len(tensor) > 1
    assert [c["first"] for c in tensor] == [1] + [0] * (len(tensor) - 1)
    assert [c["last"] for c in tensor] == [0] * (len(tensor) - 1) + [1]
    np.testing.assert_array_equal(outputs["t0"], reference(graph, inputs)["t0"])


def without(model, engine, index, field, bit):
    """The model with one bit of a command's field cleared."""
    step = model.steps[0]
    record = ENGINE_RECORDS[engine]
    start = step.streams[engine].offset + index * record.size
    fields = record.unpack(step.program[start:start + record.size])
    fields[field] &= ~bit
    program = step.program[:start] + record.pack(**fields) + step.program[start + record.size:]
    return replace(model, steps=[replace(step, program=program)])


def test_no_wait_and_no_fence_can_be_left_out():
    """Each wait is needed: without it, and without the post it takes, the golden model finds a race."""
    graph = deep(8, 12, 2)
    chip = PRESETS["tiny"].with_(name="toy", scratchpad_kib=2, weight_kib=1, accumulator_rows=64)
    model = unrolled(compile_graph(graph, chip))
    inputs = random_inputs(graph, 1)
    tried = 0
    step = model.steps[0]
    for engine in Engine:
        for index, command in enumerate(commands(step, engine)):
            if command.get("fence"):
                tried += 1
                _expect_race(without(model, engine, index, "fence", 1), chip, inputs)
    posts = {bit: [(e, i) for e in Engine for i, c in enumerate(commands(step, e)) if c["post"] & bit]
             for bit in (1 << n for n in range(16))}
    waits = {bit: [(e, i) for e in Engine for i, c in enumerate(commands(step, e)) if c["wait"] & bit] for bit in posts}
    for bit, taken in waits.items():
        assert len(taken) == len(posts[bit]), "as many posts as waits"
        for which in range(0, len(taken), 4):
            engine, index = taken[which]
            if commands(step, engine)[index]["wait"] & BOTH_LOADS == BOTH_LOADS:
                continue
            tried += 1
            changed = without(without(model, *taken[which], "wait", bit), *posts[bit][which], "post", bit)
            _expect_race(changed, chip, inputs)
    assert tried > 10


def _expect_race(model, chip, inputs):
    with lepton.device.open("golden", config=chip, check_races=True, memory_bytes=1 << 24) as device, \
            Session(model, device) as session, pytest.raises(RuntimeError, match="race"):
        session.run(inputs)


def test_posts_never_run_far_ahead_of_waits():
    """A thousand loads, each of which a TENSOR command of its own waits for: the producer is held back."""
    sequence = []
    for i in range(1000):
        where = Access(Memory.SCRATCHPAD, 4 * i, 4 * i + 4)
        sequence.append(Command(Engine.LOAD, {"opcode": DmaOpcode.LOAD}, [], [where]))
        sequence.append(Command(Engine.TENSOR, {"opcode": TensorOpcode.MAX}, [where], []))
    SemaphoreAllocator(4, {Memory.SCRATCHPAD: 4000}).run(sequence)
    loads = [c.fields for c in sequence[::2]]
    tensors = [c.fields for c in sequence[1::2]]
    # let LOAD run as far as it can each time before TENSOR takes one step
    counts = [0] * 16
    lead = 0
    load = 0

    def take(mask):
        bits = [n for n in range(16) if mask >> n & 1]
        if any(not counts[n] for n in bits):
            return False
        for n in bits:
            counts[n] -= 1
        return True

    def give(mask):
        for n in range(16):
            counts[n] += mask >> n & 1

    for tensor in tensors:
        while load < len(loads) and take(loads[load]["wait"]):
            give(loads[load]["post"])
            load += 1
        lead = max(lead, *counts)
        assert take(tensor["wait"]), "deadlock"
        give(tensor["post"])
    assert load == 1000 and 100 < lead < 255


@pytest.mark.parametrize("seed", range(6))
def test_any_turn_of_the_engines_gives_the_same(seed):
    graph = network(3)
    inputs = random_inputs(graph, 1)
    chip = PRESETS["tiny"].with_(name="toy", scratchpad_kib=4, weight_kib=1, accumulator_rows=32)
    outputs, _ = golden(graph, chip, inputs, seed)
    for name, expected in reference(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)


def test_computing_begins_with_the_first_input_block():
    """The first output block takes the input block by block, as it is loaded; the others take it whole."""
    b = Builder((1, 8, 8, 64), 1)
    b.conv("image", 32, (3, 3))
    step = compile_graph(b.done(), "base").steps[0]
    tensor = commands(step, Engine.TENSOR)
    assert [c["blocks"] for c in tensor[:5]] == [1, 1, 1, 1, 4]
    loads = [c for c in commands(step, Engine.LOAD) if c["region"] == Region.INPUT]
    assert [c["row_bytes"] for c in loads] == [8 * 8 * 16] * 4


def test_the_last_tile_is_stored_in_parts():
    """So that little is left to store when the last row has been computed."""
    b = Builder((1, 8, 8, 16), 1)
    b.conv("image", 32, (1, 1))
    step = compile_graph(b.done(), "base").steps[0]
    assert [c["ny"] for c in commands(step, Engine.TENSOR)] == [8, 2, 2, 2, 2]
    assert len(commands(step, Engine.STORE)) == 5
