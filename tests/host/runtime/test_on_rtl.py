"""The shipped network on the RTL of the smallest chip: equal to the golden model, and every cycle accounted for."""

import lepton.device
import lepton.models
import pytest
from lepton.compiler import compile_graph
from lepton.runtime import FINISH, ComparingSession


@pytest.fixture(scope="module")
def compared():
    shipped = lepton.models.load("mnist")
    with lepton.device.open("rtl", config="tiny") as device, lepton.device.open("golden", config="tiny") as golden, \
            ComparingSession(compile_graph(shipped.graph(), "tiny"), device, golden) as session:
        seen = []
        yield session.run(shipped.inputs[:1], progress=lambda step, cycles: seen.append(cycles)), seen


def test_every_byte_is_the_golden_models(compared):
    assert compared[0].differences == () and compared[0].bytes_compared > 0


def test_every_cycle_is_accounted_for(compared):
    report = compared[0].result.report
    for row in report.rows:
        assert sum(row.causes.values()) == row.cycles
        assert row.cycles > 0
    assert sum(row.cycles for row in report.rows) == report.cycles == sum(report.causes.values())
    assert [row.name for row in report.rows].count(FINISH) == 1 and report.rows[-1].name == FINISH
    for row in report.rows:
        assert row.utilization is None or 0 < row.utilization <= 1
    assert sum(row.read_beats for row in report.rows) == report.counters["READ_BEATS"]


def test_progress_counts_cycles(compared):
    report = compared[0].result.report
    seen = compared[1]
    assert seen == [100_000 * (i + 1) for i in range(report.cycles // 100_000)]
