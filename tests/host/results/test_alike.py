"""Alike records: Arrow's reader makes the same columns of them as the rows do, and gives up where it cannot."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.results import alike, body, records
from lepton.results.outputs import Scale, describe

COMMON = {"model": "net", "model_hash": "1" * 64, "program_hash": "2" * 64, "config_hash": "3" * 16, "backend": "rtl"}
KINDS = {"flag": st.booleans(), "count": st.integers(-2**63, 2**63 - 1), "text": st.text(max_size=5),
         "real": st.floats(allow_nan=False, allow_infinity=False), "Über": st.integers(0, 3)}
ODD = st.none() | st.booleans() | st.integers(-2**65, 2**65) | st.floats() | st.text(max_size=3) | st.sampled_from(
    ["NaN", "\ud800", [], [1], {}, {"run": "r", "number": 3}, "2026-11-30T00:00:00Z", 2**53, 2**53 + 1])


def result(number, keep="full", scale=0.5, shapes=((2, 3), ()), **more):
    values = {f"out{i}": np.arange(number, number + np.prod(shape, dtype=int)).astype(np.int16).reshape(shape)
              for i, shape in enumerate(shapes)}
    return {**COMMON, "time": 1.8e9 + number / 7, "cycles": number * 3, **more,
            "outputs": describe(values, keep, {"out0": Scale(scale, 4)}, 1 << 20)}


def lines(given, run="run"):
    return [records.line(records.encode(record), run, number) for number, record in enumerate(given)]


def read(data):
    return pq.read_table(io.BytesIO(data))


def from_rows(given, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(alike, "columns", lambda lines: None)
        return read(body.write(given, "cam7"))


@pytest.mark.parametrize("keep", ["full", "top5", "hash"])
@pytest.mark.parametrize("shapes", [((2, 3),), ((2, 3), ()), ((0,), (1, 4, 2), (7,))])
def test_the_same_columns_as_from_rows(keep, shapes, monkeypatch):
    given = lines([result(n, keep, shapes=shapes, image=n, label="ü" * n, sure=n % 2 == 0, score=n / 3)
                   for n in range(9)])
    assert alike.columns(given) is not None
    assert read(body.write(given, "cam7")).equals(from_rows(given, monkeypatch), check_metadata=True)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float64"])
def test_every_type_of_output(dtype, monkeypatch):
    given = lines([{**COMMON, "time": 1.0, "cycles": n, "outputs": describe(
        {"y": np.arange(n, n + 6).astype(dtype)}, "full", {}, 1 << 20)} for n in range(3)])
    assert alike.columns(given) is not None
    assert read(body.write(given, "cam7")).equals(from_rows(given, monkeypatch), check_metadata=True)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_one_record_may_differ_in_anything(data):
    """One record of alike ones has another value, another member, or lacks one: what is read back is the same."""
    names = data.draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True, max_size=4))
    given = [result(n, **{name: data.draw(KINDS[name]) for name in names}) for n in range(4)]
    odd = given[data.draw(st.integers(0, 3))]
    name = data.draw(st.sampled_from([*names, "new", "model", "time", "cycles", "outputs"]))
    if data.draw(st.booleans()):
        odd[name] = data.draw(ODD)
    else:
        odd.pop(name, None)
    texts = lines(given)
    found = body.records(read(body.write(texts, "cam7")))
    for text, row in zip(texts, found, strict=True):
        expected = {key: value for key, value in json.loads(text).items() if value is not None}
        outputs = expected.pop("outputs", None)
        kept = row.pop("outputs", None)
        assert (outputs is None) == (kept is None)
        if isinstance(outputs, list) and outputs and isinstance(outputs[0], dict) and "dtype" in outputs[0]:
            assert [output["name"] for output in kept] == [output["name"] for output in outputs]
        elif outputs is not None:
            assert kept == outputs
        assert row.keys() == expected.keys()
        for key, value in expected.items():
            if key == "time" and isinstance(value, float):
                assert row[key] == pytest.approx(value, abs=1e-6)
            elif value in ("NaN", "Infinity", "-Infinity"):
                assert str(row[key]).lower() in (value.lower(), value.lower().replace("infinity", "inf"))
            else:
                assert row[key] == value, key


@pytest.mark.parametrize("change", [
    {"shape": [3, 2]}, {"dtype": "uint16"}, {"kept": "hash"}, {"name": "other"}, {"data": "AAAA"}, {"data": "!"},
    {"top": [1]}, {"zero_point": 1 << 40}, {"shape": [None, 3]}])
def test_outputs_of_another_form_are_left_to_the_rows(change):
    given = [result(n) for n in range(3)]
    given[1]["outputs"][0].update(change)
    assert alike.columns(lines(given)) is None


@pytest.mark.parametrize("member", ["scale", "zero_point", "sha256"])
def test_an_incomplete_output_is_no_output(member):
    """Arrow's reader does not distinguish a missing member from null."""
    given = [result(n, scale=None) for n in range(3)]
    del given[1]["outputs"][0][member]
    assert alike.columns(lines(given)) is None
    assert body.records(read(body.write(lines(given), "cam7")))[1]["outputs"] == given[1]["outputs"]
