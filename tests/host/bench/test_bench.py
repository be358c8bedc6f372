"""Rows, workers and the chart."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from lepton.arch import PRESETS
from lepton.bench import ROWS, Entry, Measurement, measure, run_rows, select
from lepton.bench.measure import failed
from lepton.bench.roofline import COLORS, chart
from lepton.compiler import compile_graph
from lepton.models import topologies
from lepton.program import ChipStep
from lepton.runtime import CAUSES

from tests.host.bench import bench_targets

SMALL = Entry("conv_3x3_6x6x8_8", goal_cycles=1)


@pytest.fixture(scope="module")
def measured():
    return measure(SMALL, config="tiny")


def test_a_row_is_exact_and_every_cycle_has_a_cause(measured):
    assert measured.exact and measured.error is None
    assert measured.macs == topologies.count_macs(topologies.build(SMALL.name)) == 6 * 6 * 9 * 8 * 8
    assert set(measured.causes) == set(CAUSES)
    assert sum(measured.causes.values()) == measured.cycles > measured.bound_cycles == measured.macs // 16
    assert sum(layer["cycles"] for layer in measured.layers) == measured.cycles
    weights_and_input = 9 * 8 * 8 + 6 * 6 * 8
    assert measured.read_bytes >= weights_and_input and measured.write_bytes >= 6 * 6 * 8
    assert measured.utilization == measured.macs / (16 * measured.cycles)
    assert measured.simulated_hz > 0


def test_the_record_has_the_keys_that_were_agreed_on(measured):
    record = measured.record()
    assert list(record) == ["name", "macs", "cycles", "utilization", "goal_cycles", "stalls", "simulated_hz", "config",
                            "memory", "exact"]
    assert sum(record["stalls"].values()) == measured.cycles - measured.causes["COMPUTE"]
    assert (record["config"], record["memory"], record["exact"]) == ("tiny", "default", True)


def test_goals_hold_for_base_with_the_default_memory_only(measured):
    assert measured.goal_cycles is None and measured.reached is None
    missed = failed(SMALL, "base", "default", "", 0)
    assert missed.goal_cycles == 1 and missed.reached is None
    assert failed(SMALL, "base", "ideal", "", 0).goal_cycles is None
    assert replace(measured, goal_cycles=measured.cycles).reached is True
    assert replace(measured, goal_cycles=measured.cycles - 1).reached is False


def test_quick_rows_are_the_layers_and_mlperf_tiny():
    quick = [row.name for row in select(quick=True)]
    assert [name for name in quick if name.startswith("tiny")] == ["tiny_ic", "tiny_kws", "tiny_vww", "tiny_ad"]
    assert len(quick) == 16 and len(select()) == len(ROWS) == 25
    assert {row.name for row in ROWS} - set(quick) == {
        "resnet18", "resnet50", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_lite0",
        "tiny_ic_file", "tiny_kws_file", "mobilenet_v2_file"}


def test_rows_of_files_say_why_they_are_skipped():
    assert Entry("net").missing is None
    assert Entry("net", file="no/net.tflite").missing == (
        "no/net.tflite is missing: there is no folder shared/data next to the repository")


@pytest.mark.parametrize("file, topology", [("mobilenet_v2_file", "mobilenet_v2"), ("tiny_ic_file", "tiny_ic"),
                                            ("tiny_kws_file", "tiny_kws")])
def test_real_files_take_the_cycles_of_their_topology(file, topology):
    """Unsigned bytes, tables at the edges and a softmax behind the classifier cost the chip nothing."""
    real, plain = select([file, topology])
    if real.missing:
        pytest.skip(real.missing)
    found, wanted = (compile_graph(row.graph(), "base") for row in (real, plain))
    assert found.cycles == pytest.approx(wanted.cycles, rel=0.01)
    assert sum(isinstance(step, ChipStep) for step in found.steps) == 1


def test_rows_are_selected_by_name_with_their_goals():
    first, second = select(["resnet50", "gemm_2x3x4", "resnet50"])
    assert first.goal_cycles == 16_800_000 and second == Entry("gemm_2x3x4")
    with pytest.raises(ValueError, match="not 'resnet51'"):
        select(["resnet51"])


@pytest.mark.parametrize(("target", "error"), [
    (bench_targets.raises, "ValueError: conv_3x3_6x6x8_8 must not be measured (bench_targets.py:12)"),
    (bench_targets.is_killed,
     "its process ended with signal SIGKILL (perhaps the machine ran out of memory) while using up memory"),
    (bench_targets.leaves, "its process ended with status 7 while starting"),
])
def test_what_breaks_a_process_is_a_row_with_the_error(target, error):
    (row,) = run_rows([SMALL], "tiny", target=target)
    assert row.error == error and row.cycles is None and not row.exact
    assert row.record()["error"] == error and row.record()["stalls"] is None
    assert row.seconds > 0


def test_a_network_that_does_not_compile_stops_no_other():
    seen = set()
    entries = [Entry("conv_257x257_4x4x4_4"), SMALL]
    rows = list(run_rows(entries, "tiny", progress=lambda entry, text, seconds: seen.add((entry.name, text))))
    assert rows[0].error.startswith("GraphError: Conv2D 'conv' does not run on chip tiny: kernel (257, 257)")
    assert rows[1].exact and rows[1].seconds > 0
    assert {(entries[0].name, "compiling"), (SMALL.name, "opening the board")} <= seen


def test_the_chart_shows_every_row_that_ran(measured):
    rows = [measured, failed(SMALL, "tiny", "default", "broken", 0),
            replace(measured, name="<faster>", cycles=measured.bound_cycles, goal_cycles=measured.cycles)]
    document = ElementTree.fromstring(chart(rows))
    space = "{http://www.w3.org/2000/svg}"
    points = document.findall(f"{space}g[{space}title]")
    assert [p.find(f"{space}title").text.split(":")[0] for p in points] == [measured.name, "<faster>"]
    slow, fast = (p.find(f"{space}circle") for p in points)
    assert slow.get("cx") == fast.get("cx") and float(slow.get("cy")) > float(fast.get("cy"))
    assert (slow.get("fill"), fast.get("fill")) == (COLORS[None], COLORS[True])
    # a row at the peak lies on the roof
    roof = document.findall(f"{space}polyline")[-1].get("points").split()[-1].split(",")[1]
    assert float(fast.get("cy")) == pytest.approx(float(roof), abs=0.2)


def test_an_empty_chart_says_so():
    row = failed(SMALL, "tiny", "default", "broken", 0)
    assert isinstance(row, Measurement) and row.macs_per_cycle == PRESETS["tiny"].macs_per_cycle
    assert "nothing was measured" in "".join(ElementTree.fromstring(chart([row])).itertext())
