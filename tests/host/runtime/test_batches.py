"""Arrays of many inputs, cut and joined."""

import numpy as np
import pytest
from lepton.program import TensorInfo
from lepton.runtime import InputError
from lepton.runtime.batches import joined, single_inputs

A = TensorInfo("a", (2, 3), "int8")
B = TensorInfo("b", (), "float32")


def test_arrays_are_cut_along_the_first_axis():
    a = np.arange(18, dtype=np.int8).reshape(6, 3)
    feeds = single_inputs({"a": a, "b": np.float32([1, 2, 3])}, [A, B])
    assert [feed["a"].tolist() for feed in feeds] == a.reshape(3, 2, 3).tolist()
    assert [float(feed["b"]) for feed in feeds] == [1, 2, 3] and feeds[0]["b"].shape == ()
    assert [feed["a"].shape for feed in single_inputs(a, [A])] == 3 * [(2, 3)]


def test_what_does_not_fit_is_refused_or_left_to_the_session():
    with pytest.raises(InputError, match=r"the model has 2 inputs \(a, b\); give one array for each, by name"):
        single_inputs(np.zeros((2, 3), np.int8), [A, B])
    with pytest.raises(InputError, match=r"the same number of inputs, not \{'a': 2, 'b': 3\}"):
        single_inputs({"a": np.zeros((4, 3), np.int8), "b": np.zeros(3, np.float32)}, [A, B])
    (feed,) = single_inputs(np.zeros((3, 3), np.int8), [A])
    assert feed["a"].shape == (3, 3)


def test_outputs_are_joined():
    made = joined([{"y": np.full((1, 2), i), "z": np.array(i)} for i in range(3)])
    assert made["y"].tolist() == [[0, 0], [1, 1], [2, 2]] and made["z"].tolist() == [0, 1, 2]
