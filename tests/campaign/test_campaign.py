"""One short round of each kind of the campaign that runs within seconds, and the file from which it continues."""

import pytest

from tests.campaign import faults, power
from tests.campaign.ledger import Round, load, report, save


def test_a_round_of_power_losses(tmp_path):
    found = power.run(tmp_path, 7)
    assert found.good, found
    assert found.events == {"losses of power": power.LOSSES} and found.records > 20


@pytest.mark.parametrize("seed", [1000, 1001])
def test_a_round_of_faults(tmp_path, seed):
    found = faults.run(tmp_path, seed)
    assert found.good, found
    assert found.records > 100 and found.events["full disks"]


def test_what_a_round_finds_is_kept(tmp_path):
    found = Round("power", 3, {"losses of power": 5})
    found.compare(range(4), [0, 1, 1, 3])
    assert (found.records, found.lost, found.twice, found.good) == (4, 1, 1, False)
    save(tmp_path / "build" / "campaign.json", [found])
    assert load(tmp_path / "build" / "campaign.json") == [found]
    assert load(tmp_path / "none.json") == []
    assert "FAILED power round, seed 3: 1 lost, 1 twice" in report([found])
