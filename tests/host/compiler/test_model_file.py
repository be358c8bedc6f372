"""The file of a compiled model: the same bytes every time, and clear errors for anything else."""

import io
import json
import zipfile

import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.graph import Table, Transpose, interpret
from lepton.program import ChipStep, CompiledModel, ModelFileError, dump, parse

from tests.host.compiler.compiler_graphs import Builder


def graph():
    b = Builder((1, 7, 7, 3), 1, "little")
    x = b.conv("image", 8, (3, 3))
    x = b.softmax(b.dense(x, 6))
    return b.done(x)


@pytest.fixture(scope="module")
def data():
    return dump(compile_graph(graph(), "tiny"))


def test_same_graph_same_bytes(data):
    assert dump(compile_graph(graph(), "tiny")) == data
    assert dump(compile_graph(graph(), "small")) != data


def test_round_trip(tmp_path, data):
    model = compile_graph(graph(), "tiny")
    model.save(tmp_path / "little.lepton")
    loaded = CompiledModel.load(tmp_path / "little.lepton")
    assert dump(loaded) == data
    assert loaded.config == model.config and loaded.layers == model.layers and loaded.inputs == model.inputs
    assert loaded.buffers == model.buffers and loaded.macs == model.macs
    chip, host = loaded.steps
    assert chip.program == model.steps[0].program and chip.streams == model.steps[0].streams
    assert host.op == model.steps[1].op
    image = np.arange(147, dtype=np.int8).reshape(1, 7, 7, 3)
    assert bytes(chip.inputs[0].layout.to_device(image)) == bytes(model.steps[0].inputs[0].layout.to_device(image))


def test_host_steps_keep_their_constants_and_tables():
    b = Builder((1, 4, 300, 3), 2)
    x = b.conv("image", 4, (1, 280))
    x = b.node(Table(bytes(range(256))), [x], b.shape(x))
    graph = b.done(b.node(Transpose((0, 3, 1, 2)), [x], (1, 4, 4, 21), same=True))
    model = compile_graph(graph, PRESETS["tiny"].with_(name="toy", scratchpad_kib=1))
    loaded = parse(dump(model))
    assert dump(loaded) == dump(model) and loaded.placement == model.placement
    values = {"image": np.random.default_rng(1).integers(-128, 128, (1, 4, 300, 3)).astype(np.int8)}
    wanted = interpret.evaluate(graph, values)[graph.outputs[0]]
    steps = [step for step in loaded.steps if not isinstance(step, ChipStep)]
    assert [type(step.op).__name__ for step in steps] == ["Conv2D", "Table", "Transpose"]
    for step in steps:
        step.run(values)
    np.testing.assert_array_equal(values[graph.outputs[0]], wanted)


def test_every_truncation_is_refused(data):
    for size in [*range(0, len(data), 97), len(data) - 1]:
        with pytest.raises(ModelFileError, match=r"net: not a compiled model, or damaged .*; compile"):
            parse(data[:size], "net")


def test_flipped_bits_are_refused_or_harmless(data):
    random = np.random.default_rng(1)
    good = dump(parse(data))
    for position in random.integers(0, len(data), 300):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(random.integers(8))
        try:
            model = parse(bytes(damaged))
        except ModelFileError:
            continue
        assert dump(model) == good, f"bit of byte {position} changed the model unnoticed"


def changed(data, change):
    """The file with its manifest changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "manifest.json":
                manifest = json.loads(content)
                change(manifest)
                content = json.dumps(manifest)
            new.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("change,text", [
    (lambda m: m.update(version=99), "format version must be 4, not 99; compile the network again"),
    (lambda m: m.update(format="zip"), "its manifest does not say format 'lepton-model'"),
    (lambda m: m["config"].update(weight_kib=64), "damaged: the configuration's hash must be"),
    (lambda m: m["config"].update(lanes=5), "lanes must be a power of two"),
    (lambda m: m.pop("steps"), "damaged .'steps'.; compile the network again"),
    (lambda m: m["steps"][0]["streams"].update(LOAD=[64, 100000]), "the LOAD stream of step 'little:0' must lie"),
    (lambda m: m["steps"][0].update(input_size=8), "buffer 'image' of step 'little:0' must lie in its region of 8"),
    (lambda m: m["steps"][1].update(op="Conv2D"), "damaged"),
])
def test_inconsistent_manifests_are_refused(data, change, text):
    with pytest.raises(ModelFileError, match=text):
        parse(changed(data, change))


def test_a_manifest_that_nests_without_end_and_entries_that_unpack_to_any_size():
    for compression, text in ((zipfile.ZIP_STORED, "damaged .*recursion"),
                              (zipfile.ZIP_DEFLATED, "compressed entries")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", compression) as archive:
            archive.writestr("manifest.json", "[" * 200_000)
        with pytest.raises(ModelFileError, match=text):
            parse(out.getvalue())


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read: No such file"):
        CompiledModel.load(tmp_path / "none.lepton")


def test_what_the_model_says_of_itself():
    model = compile_graph(graph(), "tiny")
    conv, dense = model.layers
    assert (conv.op, conv.input_shape, conv.output_shape) == ("Conv2D", (1, 7, 7, 3), (1, 5, 5, 8))
    assert conv.macs == 5 * 5 * 8 * 27 and conv.weight_bytes == 8 * 27
    assert dense.macs == dense.weight_bytes == 5 * 5 * 8 * 6
    assert model.macs == conv.macs + dense.macs
    step = model.steps[0]
    assert isinstance(step, ChipStep)
    assert sum(b.size for b in model.buffers if b.name == "program") == len(step.program)
