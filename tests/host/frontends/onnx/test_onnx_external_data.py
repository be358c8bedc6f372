"""Networks whose weights are in a file of their own, links and damaged files among them."""

import copy

import numpy as np
import onnx
import pytest
from lepton.frontends.onnx import import_onnx
from lepton.graph import GraphError

from tests.host.frontends.onnx.onnx_models import (
    exact_products,
    feeds_for,
    reference,
    run,
    single,
)


def linked(tmp_path, target):
    """A model and its data as links into a folder of their own, as in a download cache; `target` is where data lie."""
    rng = np.random.default_rng(4)
    codes = rng.integers(-127, 128, (5, 4, 3, 3)).astype(np.int8)
    model = single(lambda net, x: net("Conv", x, net.weights(codes, 0.01)), scales=(0.05, 0.3))
    blobs = tmp_path / "blobs"
    snapshot = tmp_path / "snapshots" / "main"
    for folder in (blobs, snapshot, target):
        folder.mkdir(parents=True, exist_ok=True)
    onnx.save(copy.deepcopy(model), blobs / "model.onnx", save_as_external_data=True, location="model.onnx_data",
              size_threshold=0)
    (blobs / "model.onnx").rename(blobs / "0f")
    (blobs / "model.onnx_data").rename(target / "1e")
    (snapshot / "model.onnx").symlink_to("../../blobs/0f")
    (snapshot / "model.onnx_data").symlink_to(target / "1e")
    return model, snapshot / "model.onnx"


@exact_products
def test_external_data_behind_links(tmp_path):
    rng = np.random.default_rng(5)
    model, path = linked(tmp_path, tmp_path / "blobs")
    feeds = feeds_for(model, rng)
    np.testing.assert_array_equal(run(import_onnx(path), feeds)[0], reference(model, feeds)[0])
    link = tmp_path / "elsewhere.onnx"  # a link to the model alone: its data are in the folder of its target
    (tmp_path / "blobs" / "model.onnx_data").symlink_to("1e")
    link.symlink_to(path.resolve())
    np.testing.assert_array_equal(run(import_onnx(link), feeds)[0], reference(model, feeds)[0])


def test_links_that_lead_out_of_both_folders_are_refused(tmp_path):
    _, path = linked(tmp_path, tmp_path / "secrets")
    with pytest.raises(GraphError, match=r"'model\.onnx_data', which must be a file in the model's folder"):
        import_onnx(path)


def test_external_data_that_end_too_early(tmp_path):
    _, path = linked(tmp_path, tmp_path / "blobs")
    data = (tmp_path / "blobs" / "1e").read_bytes()
    (tmp_path / "blobs" / "1e").write_bytes(data[:len(data) // 2])
    with pytest.raises(GraphError, match=r"cannot be read from 'model.onnx_data': \d+ bytes at \d+ of a file of \d+"):
        import_onnx(path)
