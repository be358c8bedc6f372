"""Valid networks are computed as ONNX Runtime does it, or refused with a text; no other exception reaches the user."""

import warnings

import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.frontends.onnx import import_onnx
from lepton.graph import GraphError
from lepton.program.model import dump, parse

from tests.host.frontends.onnx.onnx_models import run
from tests.host.frontends.onnx.random_valid import RandomValid

SEEDS = 240
FARTHEST = 1e-4  # of floats, relative and absolute; a chain of operators may multiply what one of them rounds


@pytest.mark.parametrize("first", range(0, SEEDS, 40))
def test_random_valid_networks(first):
    computed = 0
    for seed in range(first, first + 40):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            network = RandomValid(seed, operators=1 + seed % 6)
            try:
                graph = import_onnx(network.model)
                results = run(graph, network.feeds)
                model = compile_graph(graph, "tiny")
            except GraphError as error:
                assert str(error).strip()
                continue
        computed += 1
        assert dump(parse(dump(model))) == dump(model)
        for got, want in zip(results, network.wanted, strict=True):
            assert got.shape == want.shape and got.dtype == want.dtype, seed
            if want.dtype.kind == "f":
                np.testing.assert_allclose(got, want, FARTHEST, FARTHEST, err_msg=str(seed))
            else:
                np.testing.assert_array_equal(got, want, str(seed))
    assert computed >= 20
