"""Cycles are the same in every run, every one of them has a cause, and they are what they were.

`cycles.json` holds the figures; a change that moves them on purpose records them again with
`python -m tests.system.measure`, and shows what it did to the chip.
"""

import json

import pytest
from lepton.runtime import CAUSES

from tests.system import measure

MEND = f"if that is intended, record the new figures with `{measure.COMMAND}`"


@pytest.fixture(scope="module")
def recorded():
    return json.loads(measure.RECORD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def network():
    return measure.network()


def test_the_shipped_network_takes_exactly_so_many_cycles(network, recorded):
    report, _ = network
    found = {"counters": dict(report.counters), "layers": {row.name: row.cycles for row in report.rows}}
    assert found == recorded["network"], MEND


def test_every_cycle_has_one_cause(network):
    report, _ = network
    assert set(CAUSES) < set(report.counters)
    assert sum(report.counters[cause] for cause in CAUSES) == report.counters["CYCLES"]
    for row in report.rows:
        assert sum(row.causes.values()) == row.cycles, row.name
        assert row.cycles >= row.causes["COMPUTE"] >= row.macs / row.macs_per_cycle, row.name
    assert sum(row.cycles for row in report.rows) == report.cycles


def test_the_chip_counts_the_beats_that_memory_saw(network):
    report, traffic = network
    assert report.counters["READ_BEATS"] == traffic["read_beats"]
    assert report.counters["WRITE_BEATS"] == traffic["write_beats"]


def test_a_second_board_counts_the_same(network):
    report, traffic = measure.network()
    assert report.counters == network[0].counters
    assert [row.causes for row in report.rows] == [row.causes for row in network[0].rows]
    assert traffic == network[1]


@pytest.mark.parametrize("name", measure.LAYERS)
def test_single_layers(name, recorded):
    report, _ = measure.layer(name)
    wanted = recorded["layers"][name]
    least = measure.macs(name) / 256
    assert report.cycles == pytest.approx(wanted, rel=0.01), f"{report.cycles} cycles, not {wanted}; {MEND}"
    assert report.cycles >= least, "more multiplications a cycle than there are multipliers"
    assert report.causes["COMPUTE"] == least, "whole tiles only: every pass of every pixel is one cycle"
