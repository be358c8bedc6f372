"""Input and output files of the command line."""

import numpy as np
import pytest
from lepton.cli.files import FileError, read_inputs, write_atomically, write_outputs
from lepton.program import TensorInfo

X = TensorInfo("x", (1, 2, 3), "int8")
Z = TensorInfo("serving/z:0", (1, 4), "int8")


def save(path, *arrays, **named):
    np.save(path, *arrays) if arrays else np.savez(path, **named)
    return path


def test_one_input_or_many_along_the_first_axis(tmp_path):
    data = np.arange(12, dtype=np.int8).reshape(2, 2, 3)
    one = read_inputs(save(tmp_path / "one.npy", data[:1]), [X])
    assert len(one) == 1 and np.array_equal(one[0]["x"], data[:1])
    two = read_inputs(save(tmp_path / "two.npy", data), [X])
    assert [np.array_equal(two[i]["x"], data[i:i + 1]) for i in range(2)] == [True, True]


def test_several_inputs_by_name(tmp_path):
    path = save(tmp_path / "in.npz", **{"x": np.zeros((3, 2, 3), np.int8), "serving/z:0": np.ones((3, 4), np.int8)})
    batch = read_inputs(path, [X, Z])
    assert len(batch) == 3 and {k: v.shape for k, v in batch[0].items()} == {"x": (1, 2, 3), "serving/z:0": (1, 4)}


def test_a_wrong_shape_is_left_for_the_session_to_name(tmp_path):
    [values] = read_inputs(save(tmp_path / "x.npy", np.zeros((2, 3), np.int8)), [X])
    assert values["x"].shape == (2, 3)


def test_unusable_files(tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(FileError, match=r"text.npy: not a .npy or .npz file that can be read"):
        read_inputs(tmp_path / "text.npy", [X])
    with pytest.raises(FileError, match=r"not a .npy or .npz file"):  # pickles run code: never loaded
        read_inputs(save(tmp_path / "object.npy", np.array([{}], object)), [X])
    with pytest.raises(FileError, match=r"the model has 2 inputs \(x, serving/z:0\); give a .npz file"):
        read_inputs(save(tmp_path / "x.npy", np.zeros((1, 2, 3), np.int8)), [X, Z])
    with pytest.raises(FileError, match=r"must have the same number of inputs, not \{'x': 2, 'serving/z:0': 1\}"):
        read_inputs(save(tmp_path / "in.npz", **{"x": np.zeros((2, 2, 3), np.int8),
                                                 "serving/z:0": np.ones((1, 4), np.int8)}), [X, Z])
    with pytest.raises(FileNotFoundError):
        read_inputs(tmp_path / "none.npy", [X])


def test_outputs_keep_their_names_and_are_stacked(tmp_path):
    results = [{"a/b:0": np.full((1, 3), i, np.int8), "file": np.zeros((1, 1), np.int8)} for i in range(4)]
    write_outputs(tmp_path / "y.npz", results)
    with np.load(tmp_path / "y.npz") as read:
        assert read["a/b:0"].tolist() == [[i] * 3 for i in range(4)]
        assert read["file"].shape == (4, 1)


def test_inputs_are_split_by_their_own_shapes(tmp_path):
    infos = [TensorInfo("a", (1, 4), "int8"), TensorInfo("b", (4, 4), "int8"), TensorInfo("c", (), "int8")]
    arrays = {"a": np.zeros((3, 4), np.int8), "b": np.zeros((12, 4), np.int8), "c": np.arange(3, dtype=np.int8)}
    batch = read_inputs(save(tmp_path / "in.npz", **arrays), infos)
    assert [{name: value.shape for name, value in one.items()} for one in batch] == [{"a": (1, 4), "b": (4, 4),
                                                                                     "c": ()}] * 3
    assert [int(one["c"]) for one in batch] == [0, 1, 2]
    write_outputs(tmp_path / "y.npz", [{"sum": np.int8(i)} for i in range(3)])  # without dimensions
    assert np.load(tmp_path / "y.npz")["sum"].tolist() == [0, 1, 2]


def test_where_nothing_can_be_written(tmp_path):
    for path, text in ((tmp_path / "none" / "y.npz", "y.npz: cannot be written, there is no folder .*none"),
                       (tmp_path, "cannot be written, there is a folder of that name"),
                       ("/dev/null", "/dev/null: cannot be written, there is a device of that name")):
        with pytest.raises(FileError, match=text):
            write_atomically(path, lambda path: path.write_text("new"))


def test_nothing_half_written_stays_behind(tmp_path):
    (tmp_path / "y.npz").write_text("old")

    def fail(path):
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(tmp_path / "y.npz", fail)
    assert [p.name for p in tmp_path.iterdir()] == ["y.npz"]
    assert (tmp_path / "y.npz").read_text() == "old"
