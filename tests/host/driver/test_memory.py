"""The allocator: extents never overlap, everything freed can be had again, errors name the figures."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.driver import AllocationError, Allocator
from lepton.driver.memory import ALIGNMENT

SIZE = 64 * 1024


def test_extents_are_aligned_and_do_not_overlap():
    memory = Allocator(SIZE)
    extents = [(memory.allocate(size), size) for size in (1, 64, 65, 1000, 4096)]
    assert all(address % ALIGNMENT == 0 for address, _ in extents)
    for (a, a_size), (b, _) in pairwise(extents):
        assert a + a_size <= b


def test_unaligned_bounds_are_rounded_inwards():
    memory = Allocator(200, base=10)
    assert memory.free_bytes == 128
    assert memory.allocate(128) == 64


def test_neighbours_are_merged_from_both_sides():
    memory = Allocator(3 * 64)
    a, b, c = (memory.allocate(64) for _ in range(3))
    memory.release(a, 64)
    memory.release(c, 64)
    assert memory.largest_free == 64
    memory.release(b, 64)
    assert memory.largest_free == 3 * 64
    assert memory.allocate(3 * 64) == a


def test_too_large_names_size_free_space_and_remedy():
    memory = Allocator(SIZE)
    memory.allocate(SIZE - 128)
    with pytest.raises(AllocationError, match="cannot allocate 129 bytes of device memory: 128 bytes are free, "
                                              "the largest piece has 128; free buffers that are no longer needed"):
        memory.allocate(129)


def test_fragmentation_has_its_own_remedy():
    memory = Allocator(4 * 64)
    extents = [memory.allocate(64) for _ in range(4)]
    memory.release(extents[0], 64)
    memory.release(extents[2], 64)
    with pytest.raises(AllocationError, match="128 bytes are free, the largest piece has 64; memory is fragmented"):
        memory.allocate(128)


@pytest.mark.parametrize("size", [0, -1])
def test_empty_buffers_are_refused(size):
    with pytest.raises(AllocationError, match=f"at least 1 byte, not {size}"):
        Allocator(SIZE).allocate(size)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9000)), max_size=60))
def test_any_order_of_allocations_and_frees(steps):
    memory = Allocator(SIZE)
    live = []
    for release, value in steps:
        if release and live:
            memory.release(*live.pop(value % len(live)))
        else:
            try:
                live.append((memory.allocate(value), value))
            except AllocationError:
                assert value > memory.largest_free
        taken = sorted(live)
        assert all(a + size <= b for (a, size), (b, _) in pairwise(taken))
        assert memory.free_bytes == SIZE - sum(-(-size // ALIGNMENT) * ALIGNMENT for _, size in live)
    for extent in live:
        memory.release(*extent)
    assert memory.largest_free == SIZE
