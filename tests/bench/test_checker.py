"""The checkers alone: what they accept, and every kind of error that they must report."""

import itertools

import pytest

from tests.bench.checker import InOrder, Outputs
from tests.bench.signed_outputs import SignedOutputs
from tests.bench.stalls import BURSTS, MOST, NONE, SOME, STALLS, stall


class Values:
    """Pins without a block: 8 bits each."""

    def __init__(self, **values: int) -> None:
        self.values = values

    def get(self, name: str) -> int:
        return self.values[name] & 0xFF

    def signed(self, name: str) -> int:
        return (self.get(name) ^ 0x80) - 0x80


def test_items_in_order():
    checker = InOrder("o", "ab")
    checker.expect("c")
    for item in "abc":
        assert not checker.complete
        checker.receive(item)
    assert checker.complete
    checker.finish()


@pytest.mark.parametrize("items, message", [
    ("b", "o: item 0 is b, not a"), ("aa", "o: item 1 is a, not b"), ("abc", "o: item 2 was not expected: c"),
])
def test_a_wrong_item_is_reported_at_once(items, message):
    checker = InOrder("o", "ab")
    for item in items[:-1]:
        checker.receive(item)
    with pytest.raises(AssertionError, match=message):
        checker.receive(items[-1])


def test_missing_items_are_reported_at_the_end():
    checker = InOrder("o", "ab")
    checker.receive("a")
    with pytest.raises(AssertionError, match="o: 1 items are missing, first b"):
        checker.finish()


def test_forgotten_items_are_not_expected():
    checker = InOrder("o", "ab")
    checker.receive("a")
    assert checker.missing == 1
    checker.forget()
    assert not checker.missing
    checker.finish()
    with pytest.raises(AssertionError, match="o: item 1 was not expected: b"):
        checker.receive("b")


def test_a_checker_that_compared_nothing_does_not_pass():
    with pytest.raises(AssertionError, match="o: nothing was compared"):
        InOrder("o").finish()


def test_outputs():
    checker = Outputs(Values(a=3, b=0xFE))
    checker.check({"a": 3, "b": -2})
    checker.check({"b": 0xFE})
    assert checker.compared == 3
    with pytest.raises(AssertionError, match="a is 3, not 4; in cycle 9"):
        checker.check({"a": 4}, "in cycle 9")
    with pytest.raises(AssertionError, match="b is -2, not -3"):
        checker.check({"b": -3})


def test_a_signed_output_has_a_sign():
    checker = SignedOutputs(Values(a=3, b=0xFE))
    checker.check({"a": 3, "b": -2})
    assert checker.compared == 2
    with pytest.raises(AssertionError, match="b is -2, not 254; in cycle 9"):
        checker.check({"b": 0xFE}, "in cycle 9")


@pytest.mark.parametrize("name", STALLS)
def test_stall_patterns(name):
    """The share of pauses, and that both pauses and cycles without one come in runs."""
    pattern = stall(name)
    cycles = [pattern() for _ in range(20_000)]
    low, high = {NONE: (0, 0), SOME: (0.25, 0.35), MOST: (0.87, 0.93), BURSTS: (0.4, 0.6)}[name]
    assert low <= sum(cycles) / len(cycles) <= high
    changes = sum(a != b for a, b in itertools.pairwise(cycles))
    if name == BURSTS:
        assert changes < len(cycles) / 8
