"""Files of arrays: what they unpack to is limited."""

import io
import zipfile

import numpy as np
import pytest
from lepton import array_files
from lepton.array_files import load_arrays
from lepton.evaluation.evaluate import load_array


def test_both_kinds(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros((2, 3), np.int8), y=np.ones(1))
    assert load_arrays(tmp_path / "a.npy").tolist() == [0, 1, 2]
    assert {name: array.shape for name, array in load_arrays(tmp_path / "b.npz").items()} == {"x": (2, 3), "y": (1,)}


def test_a_small_file_that_unpacks_to_much(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "MAX_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "one.npz", x=np.zeros(2 << 20, np.int8))
    np.savez_compressed(tmp_path / "several.npz", **{f"x{i}": np.zeros(300_000, np.int8) for i in range(4)})
    for name, what in (("one", "array 'x.npy'"), ("several", "all arrays")):
        assert (tmp_path / f"{name}.npz").stat().st_size < 5000
        with pytest.raises(ValueError, match=rf"{what} would take \d+ bytes unpacked, and at most 1048576 are read"):
            load_arrays(tmp_path / f"{name}.npz")
    with pytest.raises(ValueError, match="would take"):  # the labels and inputs of `lepton eval`
        load_array(tmp_path / "one.npz")


def test_an_array_that_says_to_be_larger_than_its_file(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|i1", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(ValueError, match=r"array 'x.npy' would take 1099511627776 bytes unpacked"):
        load_arrays(tmp_path / "x.npz")
    (tmp_path / "x.npy").write_bytes(header.getvalue())
    with pytest.raises(ValueError):
        load_arrays(tmp_path / "x.npy")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"hello"])
def test_what_is_no_file_of_arrays(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError):
        load_arrays(tmp_path / "x.npz")
