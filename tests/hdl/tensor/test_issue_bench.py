"""The checker of the issue stage's bench: an error in any output is reported."""

from dataclasses import replace

import pytest
from lepton_hdl.control.counters import Activity

from tests.hdl.tensor.issue_bench import Observed, check
from tests.hdl.tensor.issue_model import Expected, Word

WALK = {"address": 64, "nx": 3}
WORD = Word(row=5, payload={"row": 5, "emit": 1}, tile=True, residual=True)
EXPECTED = Expected(WORD, WALK, False, frozenset({Activity.COMPUTE}))
SOUND = Observed({"row": 5, "emit": 1, "other": 7}, 1, 0, 1, WALK, 0, Activity.COMPUTE, 0)


def test_what_the_model_says_passes():
    check(EXPECTED, SOUND)
    idle = Expected(None, None, True, frozenset({Activity.IDLE}))
    check(idle, Observed(None, 0, 0, 0, None, 1, Activity.IDLE, 0))


@pytest.mark.parametrize("change, message", [
    ({"payload": None}, "waits for nothing"),
    ({"payload": {"row": 6, "emit": 1}}, "the word is {'row': 6, 'emit': 1}, not"),
    ({"tile_take": 0}, r"takes \(0, 0, 1\) .*, not \(True, False, True\)"),
    ({"params_take": 1}, "takes"),
    ({"residual_claim": 0}, "takes"),
    ({"walk": None}, "the residual's walk is None"),
    ({"walk": {"address": 64, "nx": 4}}, "the residual's walk is"),
    ({"ready": 1}, "ready for a command is 1"),
    ({"activity": Activity.SYNC}, "not one of"),
    ({"failed": 1}, "failed"),
])
def test_an_error_in_any_output_is_reported(change, message):
    with pytest.raises(AssertionError, match=message):
        check(EXPECTED, replace(SOUND, **change))


def test_a_word_that_must_wait_is_reported():
    with pytest.raises(AssertionError, match="issued what must wait"):
        check(replace(EXPECTED, word=None), SOUND)
