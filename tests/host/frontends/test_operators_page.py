"""docs/operators.md, to which errors point, is what the front ends' tables make."""

import pytest

pytest.importorskip("tflite")
pytest.importorskip("onnx")

from lepton.frontends.docs import COMMAND, page, path


def test_the_page_is_up_to_date():
    assert path().read_text() == page(), f"docs/operators.md differs from host/lepton/frontends; run: {COMMAND}"


def test_the_page_names_the_operators_of_the_tables():
    from lepton.frontends.onnx.convert import CONVERTERS
    from lepton.frontends.tflite.importer import CONVERT
    assert all(f"`{name}`" in page() for name in (*CONVERT, *CONVERTERS))
    assert max(map(len, page().splitlines())) <= 120
