"""A system test whose boards run for too long fails: `cycle_budget` in conftest.py."""

import pytest

CYCLES_OF_A_TEST = 1000  # instead of conftest.py's


def test_a_board_that_runs_on_fails_the_test_in_the_middle_of_a_wait(boards):
    board = boards("tiny")
    board.run(CYCLES_OF_A_TEST - 1)
    with pytest.raises(pytest.fail.Exception, match="have run for 1000 cycles: something hangs"):
        board.run_until_interrupt(1 << 40)
