"""`lepton sim`, `compile` and `run` on the golden device, as typed at a prompt."""

import dataclasses
import re
from pathlib import Path

import lepton.device
import lepton.models
import numpy as np
import pytest
from lepton.cli import main
from lepton.cli.status import EXIT_DIFFERENT, EXIT_USER_ERROR
from lepton.frontends import export_tflite
from lepton.graph import Node, Quantization, Softmax, Tensor
from lepton.program import CompiledModel
from lepton.results import Spool, Store
from lepton.results.keyring_files import load_keyring
from lepton.results.verify import read

MODEL = lepton.models.load("mnist")


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def compiled(tmp_path, capsys):
    assert main(["compile", str(MODEL.path), "-o", "net.lepton", "--config", "tiny"]) == 0
    capsys.readouterr()
    return tmp_path / "net.lepton"


def run(*arguments):
    return main(["run", "net.lepton", "--device", "golden", *arguments])


def stored(folder):
    """(header, records) of what a command has stored."""
    return list(read(Store(folder), load_keyring()))


def test_sim_shows_everything_and_uploads(capsys, tmp_path):
    assert main(["sim", "--device", "golden", "--config", "tiny", "--images", "2"]) == 0
    out = capsys.readouterr().out
    for text in ("tiny: 4x4 int8 multipliers, 16 MACs a cycle, an assumed 100 MHz", "scratchpad 32 KiB",
                 "mnist: 8 layers, 2.38 M",
                 "classifier", "FullyConnected", "2 of 2 images identical to LiteRT's outputs, byte for byte",
                 "100.0 % (2 of 2 labelled images)", "unknown: this device does not count cycles",
                 "2 results of run", "in build, device device-"):
        assert text in out
    assert max(map(len, out.splitlines())) <= 100
    [(header, records)] = stored(tmp_path / "build")
    assert header.origin["model"] == "mnist" and header.origin["program_hash"] == records[0]["program_hash"]
    assert main(["cloud", "verify"]) == 0
    assert "2 records in build: every signature, digest, sequence and count is right" in capsys.readouterr().out
    assert [r["image"] for r in records] == [0, 1] and all(r["identical"] for r in records)
    [output] = records[0]["outputs"]
    assert output["values"].tolist() == [MODEL.outputs[0].tolist()] and output["kept"] == "full"
    graph = MODEL.graph()
    info = graph.tensors[graph.outputs[0]]
    assert (output["scale"], output["zero_point"]) == (float(info.scale), info.zero_point)
    assert all(len(records[0][key]) >= 16 for key in ("model_hash", "program_hash", "config_hash"))


def test_sim_compares_the_device_with_the_golden_model(capsys, monkeypatch):
    golden = lepton.device.open
    monkeypatch.setattr(lepton.device, "open", lambda name, progress=None, **options: golden("golden", **options))
    assert main(["sim", "--config", "tiny", "--images", "1", "--store", "elsewhere"]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 images identical to the golden model and to LiteRT's outputs, byte for byte" in out
    assert "bytes of the memory that programs write" in out and "in elsewhere, device device-" in out


def test_sim_fails_when_a_single_byte_differs(capsys, monkeypatch):
    outputs = MODEL.outputs.copy()
    outputs[1, 7] += 1
    monkeypatch.setattr(lepton.models, "load", lambda name: dataclasses.replace(MODEL, outputs=outputs))
    assert main(["sim", "--device", "golden", "--images", "2"]) == EXIT_DIFFERENT
    out = capsys.readouterr().out
    assert "1 of 2 images identical" in out
    assert "image 1: output against LiteRT's: 1 of 10 bytes differ, first at offset 7:" in out


def test_sim_keeps_the_results_when_the_store_is_down(capsys, monkeypatch, tmp_path):
    def down(self, key, data):
        raise OSError("no route to host")

    monkeypatch.setattr(Store, "put_new", down)
    monkeypatch.setattr("lepton.upload.FLUSH_SECONDS", 4)  # the first try fails within them on any machine
    assert main(["sim", "--device", "golden", "--images", "1"]) == 0  # every comparison held
    assert "1 results wait in build/spool.db (no route to host); the next run uploads them" in \
        " ".join(capsys.readouterr().out.split())
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert main(["sim", "--device", "golden", "--images", "1"]) == 0
    assert sum(len(records) for _, records in stored(tmp_path / "build")) == 2


def test_a_run_that_sends_nothing_fails_and_drain_sends_it_later(compiled, capsys, monkeypatch, tmp_path):
    np.save("x.npy", MODEL.inputs[:2])
    with monkeypatch.context() as patch:
        patch.setattr("lepton.upload.FLUSH_SECONDS", 3)
        patch.setattr(Store, "put_new", lambda self, key, data: 1 // 0)
        assert run("--input", "x.npy", "--upload", "store") == EXIT_DIFFERENT
        assert "2 results wait in" in " ".join(capsys.readouterr().out.split())
        assert main(["cloud", "drain", "--timeout", "2"]) == EXIT_DIFFERENT
        text = " ".join(capsys.readouterr().out.split())
        assert "0 results sent to store; 2 wait in" in text and "ZeroDivisionError" in text
    assert main(["cloud", "drain"]) == 0
    assert "2 results sent to store" in capsys.readouterr().out
    assert main(["cloud", "drain", "elsewhere"]) == 0
    assert main(["cloud", "verify", "store"]) == 0
    with Spool("fresh.db"):
        pass
    assert main(["cloud", "drain", "--spool", "fresh.db"]) == EXIT_USER_ERROR
    assert "fresh.db has not been uploaded to any store yet; give one" in capsys.readouterr().err


def test_more_images_than_there_are(capsys, monkeypatch):
    few = dataclasses.replace(MODEL, labels=MODEL.labels[:2])
    monkeypatch.setattr(lepton.models, "load", lambda name: few)
    assert main(["sim", "--device", "golden", "--images", "500"]) == 0
    assert "note: the network ships with 2 labelled images, so 2 are run, not 500" in capsys.readouterr().out


def test_compile_says_what_it_made(capsys, tmp_path):
    assert main(["compile", str(MODEL.path), "-o", "net.lepton"]) == 0
    out = capsys.readouterr().out
    assert "written  net.lepton" in out and "for configuration base" in out
    assert CompiledModel.load("net.lepton").config.name == "base"


def test_compile_says_what_runs_where_and_why(capsys, tmp_path):
    assert main(["compile", str(MODEL.path), "-o", "net.lepton", "--config", "tiny", "--explain",
                 "--print-after", "remove-unused", "--print-ir"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "after import:" in out and "after remove-unused:" in out and "graph mnist (fixed)" in out
    assert "on the chip 9 operators, 2.38 M MACs (100.0 %)" in out and "1 job, about" in out
    assert "on the host 0 operators" in out and "bound by" in out and "compute" in out
    assert main(["compile", str(MODEL.path), "--print-after", "nothing"]) == EXIT_USER_ERROR
    assert "--print-after must be one of channels-last, collapse-moves, " in capsys.readouterr().err


def test_open_dimensions_get_their_shape_from_the_command_line(capsys):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    value = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.UINT8
    pool = onnx.helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    q = [onnx.numpy_helper.from_array(v, n) for n, v in (("s", np.float32(0.5)), ("z", np.uint8(3)))]
    last = onnx.helper.make_node("DequantizeLinear", ["y", "s", "z"], ["real"])
    graph = onnx.helper.make_graph([pool, last], "net", [value("x", kind, ["n", 3, "height", "width"])],
                                   [value("real", onnx.TensorProto.FLOAT, None)], q)
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]), "net.onnx")
    assert main(["compile", "net.onnx", "--config", "tiny"]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "input 'x' leaves dimension 2 (height) open; only the batch may be: give its shape, as in --shape " \
           "x=1,3,height,width with numbers" in error and error.count("\n") == 1
    assert main(["compile", "net.onnx", "--config", "tiny", "--shape", "x=1,3,8,6"]) == 0
    assert "x 1x3x8x6 uint8" in capsys.readouterr().out
    assert [t.shape for t in CompiledModel.load("net.lepton").outputs] == [(1, 3, 4, 3)]
    for shape, text in (("x=1,3,8", "has 4 dimensions, the shape given for it (1, 3, 8)"),
                        ("x=1,4,8,6", "input 'x' has 3 in dimension 1, not 4"),
                        ("y=1,3,8,6", "leaves dimension 2 (height) open")):
        assert main(["compile", "net.onnx", "--shape", shape]) == EXIT_USER_ERROR
        assert text in capsys.readouterr().err
    assert main(["compile", str(MODEL.path), "--shape", "x=1,28,28,1"]) == EXIT_USER_ERROR
    assert "a .tflite network states its shapes; they can be given for .onnx networks only" in capsys.readouterr().err


def test_what_the_host_does_is_shown_in_macs_bytes_and_time(capsys, monkeypatch):
    """A softmax behind the network; what took how long differs from run to run."""
    graph = MODEL.graph()
    graph.tensors["p"] = Tensor("p", (1, 10), np.dtype(np.int8),
                                Quantization(np.float32([1 / 256]), np.int32([-128])))
    graph.nodes.append(Node(Softmax(), list(graph.outputs), ["p"], "softmax"))
    graph.outputs = ["p"]
    Path("net.tflite").write_bytes(export_tflite(graph))
    assert main(["compile", "net.tflite", "--config", "tiny"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(r"on the host 1 operator, 0 MACs \(0.0 %\), 20 bytes; \S+ ms on this machine, with", out)
    assert re.search(r"Softmax 20 \d+\.\d{3} only the host reads its result", out)
    assert "ms: measured now on this machine with arbitrary values" in out
    np.save("x.npy", MODEL.inputs[:3])
    assert run("--input", "x.npy") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Softmax 20 \d+\.\d{3} \d+ chip layout and back Layout \S+( k)? \d+\.\d{3} \d+", out)
    assert re.search(r"host \S+ ms on this machine's CPU, 1 operator and layout changes", out)


def test_run_writes_outputs_and_uploads(compiled, capsys, tmp_path):
    np.save("x.npy", MODEL.inputs[:2])
    assert run("--input", "x.npy", "--output", "y.npz", "--upload") == 0
    with np.load("y.npz") as outputs:
        assert np.array_equal(outputs["classifier"], MODEL.outputs[:2])
    out = " ".join(capsys.readouterr().out.split())
    assert "y.npz, outputs of 2 inputs" in out and "2 results of run" in out
    [(_, records)] = stored(tmp_path / "data" / "lepton")
    assert [r["input"] for r in records] == [0, 1]
    assert main(["cloud", "status"]) == 0


@pytest.mark.parametrize(("array", "text"), [
    (MODEL.images[:1, ..., None], r"input 'x' must have type int8, not uint8; quantize it: round(x / 0.00392156886)"),
    (MODEL.inputs[0], "input 'x' must have shape (1, 28, 28, 1), not (28, 28, 1)"),
    (np.zeros((1, 32, 32, 1), np.int8), "input 'x' must have shape (1, 28, 28, 1), not (1, 32, 32, 1)"),
])
def test_run_refuses_wrong_images(compiled, capsys, tmp_path, array, text):
    np.save("x.npy", array)
    assert run("--input", "x.npy", "--output", "y.npz") == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert error.startswith("lepton: ") and text in error and error.count("\n") == 1
    assert not (tmp_path / "y.npz").exists()


def test_damaged_files_are_one_line(compiled, capsys, tmp_path):
    np.save("x.npy", MODEL.inputs[:1])
    compiled.write_bytes(compiled.read_bytes()[:5000])
    assert run("--input", "x.npy") == EXIT_USER_ERROR
    assert "lepton: net.lepton: not a compiled model" in capsys.readouterr().err
    (tmp_path / "cut.tflite").write_bytes(MODEL.path.read_bytes()[:5000])
    assert main(["compile", "cut.tflite"]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "corrupt or truncated" in error and error.count("\n") == 1
    assert not (tmp_path / "cut.lepton").exists()


def test_a_missing_tool_is_one_line(compiled, capsys, monkeypatch):
    toolchain = pytest.importorskip("lepton_sim.toolchain")

    def no_compiler(*arguments, **options):
        raise toolchain.ToolchainError("g++ was not found; install it with: apt-get install g++ make")

    monkeypatch.setattr(lepton.device, "open", no_compiler)
    np.save("x.npy", MODEL.inputs[:1])
    assert main(["run", "net.lepton", "--input", "x.npy"]) == EXIT_USER_ERROR
    assert capsys.readouterr().err == "lepton: g++ was not found; install it with: apt-get install g++ make\n"


def test_networks_that_are_not_compiled_and_folders_that_are_not_there(capsys, compiled):
    np.save("x.npy", MODEL.inputs[:1])
    nowhere = "there is no folder none"
    for command, text in ((["run", "a.tflite", "--input", "x.npy"], "a.tflite: is not compiled; compile it with: "
                           "lepton compile a.tflite"),
                          (["run", "net.lepton", "--input", "x.npy", "--output", "none/y.npz"], nowhere),
                          (["compile", str(MODEL.path), "-o", "none/net.lepton"], nowhere),
                          (["sim", "--waves", "none/w.fst"], nowhere),
                          (["profile", str(MODEL.path), "--trace", "none/t.json"], nowhere),
                          (["compile", ""], "a network must be a file, not ''")):
        assert main(command) == EXIT_USER_ERROR
        assert text in capsys.readouterr().err


def test_types_of_inputs_and_outputs(capsys):
    assert main(["compile", str(MODEL.path), "-o", "net.lepton", "--config", "tiny", "--input-type", "float32",
                 "--output-type", "uint8"]) == 0
    model = CompiledModel.load("net.lepton")
    assert (model.inputs[0].dtype, model.outputs[0].dtype) == ("float32", "uint8")
    np.save("x.npy", model_input_as_reals(MODEL.inputs[:2]))
    assert run("--input", "x.npy", "--output", "y.npz") == 0
    with np.load("y.npz") as made:
        (values,) = made.values()
    np.testing.assert_array_equal(values, (MODEL.outputs[:2].astype(np.int16) + 128).astype(np.uint8))


def model_input_as_reals(inputs):
    tensor = MODEL.graph().tensors[MODEL.graph().inputs[0]]
    return np.float32(tensor.scale) * (inputs.astype(np.float32) - tensor.zero_point)


def test_profile_takes_what_compile_takes(capsys, compiled):
    assert main(["profile", str(compiled), "--input-type", "int8"]) == EXIT_USER_ERROR
    assert "is compiled already; --calibration, --shape, --state, --input-type and --output-type are for" in (
        capsys.readouterr().err)
    assert main(["profile", str(MODEL.path), "--calibration", "missing.npy"]) == EXIT_USER_ERROR
    assert "the network is quantized already; compile it without calibration data" in capsys.readouterr().err
    assert main(["profile", str(MODEL.path), "--shape", "x=1,28,28,1"]) == EXIT_USER_ERROR
    assert "states its shapes; they can be given for .onnx networks only" in capsys.readouterr().err
