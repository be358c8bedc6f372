"""`lepton.litert.Interpreter` does what LiteRT's does: the same script, details and bytes."""

from pathlib import Path

import lepton.models
import numpy as np
import pytest
from lepton.litert import Interpreter

original = pytest.importorskip("ai_edge_litert.interpreter")

DATA = Path(__file__).parents[4] / "shared" / "data"
FILES = [lepton.models.load("mnist").path, DATA / "kws" / "kws_ref_model.tflite", DATA / "ic" / "resnet8_int8.tflite"]
by_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def opened(path):
    if not path.exists():
        pytest.skip(f"needs {path.name} of ../shared/data")
    theirs = original.Interpreter(str(path), experimental_op_resolver_type=original.OpResolverType.BUILTIN_REF)
    return Interpreter(model_path=path, device="golden", num_threads=1), theirs


def same(ours, theirs):
    """Whether two details say the same, types included."""
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if isinstance(value, dict):
            same(ours[key], value)
        else:
            assert type(ours[key]) is type(value), key
            np.testing.assert_array_equal(ours[key], value, err_msg=key)


@by_file
def test_details(path):
    for mine, other in zip(opened(path)[0].get_tensor_details(), opened(path)[1].get_tensor_details(), strict=True):
        same(mine, other)
    ours, theirs = opened(path)
    for method in ("get_input_details", "get_output_details"):
        for mine, other in zip(getattr(ours, method)(), getattr(theirs, method)(), strict=True):
            same(mine, other)
    assert ours.get_signature_list() == theirs.get_signature_list()


@by_file
def test_one_script_for_both(path):
    made = []
    for interpreter in opened(path):
        random = np.random.default_rng(11)
        with pytest.raises(ValueError, match=r"Tensor data is null. Run allocate_tensors\(\) first"):
            interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        (wanted,) = interpreter.get_output_details()
        for _ in range(3):
            interpreter.set_tensor(given["index"], random.integers(-128, 128, given["shape"], np.int8))
            interpreter.invoke()
            made.append(interpreter.get_tensor(wanted["index"]))
        interpreter.tensor(given["index"])()[...] = 5
        interpreter.invoke()
        made.append(interpreter.tensor(wanted["index"])().copy())
    for mine, other in zip(made[:4], made[4:], strict=True):
        np.testing.assert_array_equal(mine, other)
        assert mine.dtype == other.dtype


def test_the_same_mistakes_have_the_same_words():
    """Those that LiteRT has words for."""
    for wrong in (np.zeros((1, 2), np.int8), np.zeros((1, 28, 28, 1), np.float32), np.zeros((1, 28, 27, 1), np.int8)):
        texts = []
        for interpreter in opened(FILES[0]):
            interpreter.allocate_tensors()
            with pytest.raises(ValueError, match="Cannot set tensor") as error:
                interpreter.set_tensor(0 if interpreter.get_input_details()[0]["index"] == 0 else
                                       interpreter.get_input_details()[0]["index"], wrong)
            texts.append(str(error.value).strip())
        assert texts[0] == texts[1]


def test_what_a_chip_does_not_do_is_refused():
    interpreter = Interpreter(str(FILES[0]), device="golden")
    with pytest.raises(RuntimeError, match=r"not allocated: call allocate_tensors\(\) before invoke\(\)"):
        interpreter.invoke()
    interpreter.allocate_tensors()
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, [1, 28, 28, 1])
    with pytest.raises(ValueError, match=r"has the shape \(1, 28, 28, 1\) and cannot be resized to \(4, 28, 28, 1\)"):
        interpreter.resize_tensor_input(index, [4, 28, 28, 1])
    inner = next(d["index"] for d in interpreter.get_tensor_details()
                 if d["index"] not in (index, interpreter.get_output_details()[0]["index"]))
    with pytest.raises(ValueError, match=f"tensor {inner} cannot be read: on a chip only inputs and outputs can"):
        interpreter.get_tensor(inner)
    with pytest.raises(ValueError, match=f"tensor {inner} is not an input"):
        interpreter.set_tensor(inner, np.zeros(1, np.int8))
    with pytest.raises(ValueError, match="`model_path` or `model_content` must be specified, and not both"):
        Interpreter()
    with pytest.raises(ValueError, match=r"signature_key must be given for a file with 0 signatures \(none\)"):
        interpreter.get_signature_runner()


def test_from_bytes_on_a_device_that_is_given():
    model = lepton.models.load("mnist")
    with lepton.device.open("golden", config="tiny") as device:
        interpreter = Interpreter(model_content=model.path.read_bytes(), device=device)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], model.inputs[:1])
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]),
                                      model.outputs[:1])
        assert interpreter.report is not None and interpreter.report.macs > 0


@pytest.fixture(scope="module")
def signed():
    """The shipped network with a signature that renames its input and output."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(FILES[0].read_bytes(), 0)
    signature = schema.SignatureDefT()
    signature.signatureKey = "serve"
    signature.subgraphIndex = 0
    signature.inputs = [tensor_map(schema, "image", model.subgraphs[0].inputs[0])]
    signature.outputs = [tensor_map(schema, "digit", model.subgraphs[0].outputs[0])]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor_map(schema, name, index):
    made = schema.TensorMapT()
    made.name = name
    made.tensorIndex = index
    return made


def test_signatures(signed):
    image = lepton.models.load("mnist").inputs[:1]
    made = []
    lists = []
    for interpreter in (Interpreter(model_content=signed, device="golden"), original.Interpreter(
            model_content=signed, experimental_op_resolver_type=original.OpResolverType.BUILTIN_REF)):
        lists.append(interpreter.get_signature_list())
        runner = interpreter.get_signature_runner("serve")
        made.append((runner(image=image), runner.get_input_details(), runner.get_output_details()))
        for arguments, text in (({}, "expected 1 vs provided 0"), ({"other": image}, r"Invalid Input name \(other\)")):
            with pytest.raises(ValueError, match=text):
                runner(**arguments)
        with pytest.raises(ValueError, match='Invalid signature_key provided: "train"'):
            interpreter.get_signature_runner("train")
    assert lists[0] == lists[1] == {"serve": {"inputs": ["image"], "outputs": ["digit"]}}
    np.testing.assert_array_equal(made[0][0]["digit"], made[1][0]["digit"])
    for mine, other in zip(made[0][1:], made[1][1:], strict=True):
        same(mine, other)
    assert Interpreter(model_content=signed, device="golden").get_signature_runner()(image=image).keys() == {"digit"}
