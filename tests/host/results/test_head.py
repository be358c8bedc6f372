"""Signed heads: the ledger of what a store was given, and heads that are replaced while a store is verified."""

import random
import threading

from lepton.results import Spool, Store, Uploader
from lepton.results import head as heads
from lepton.results.head import Ledger
from lepton.results.verify import verify


def test_ledger_in_any_order():
    """Confirmed in any order and repeatedly: the same ledger."""
    rng = random.Random(4)
    for _ in range(50):
        numbers = rng.sample(range(60), rng.randrange(1, 60))
        ledger = Ledger()
        for number in numbers + rng.sample(numbers, len(numbers) // 2):
            ledger.add(number, number, f"{number:064x}")
        covered = {n for first, last in ledger.ranges for n in range(first, last + 1)}
        assert covered == set(numbers)
        assert all(after[0] > before[1] + 1 for before, after in zip(ledger.ranges, ledger.ranges[1:], strict=False))
        assert (ledger.segments, ledger.records) == (len(numbers), sum(numbers))
        assert ledger.digest == f"{max(numbers):064x}"
        assert Ledger.unpack(*ledger.pack()) == ledger
    assert Ledger.unpack("{}", 1) is None


def test_a_ledger_with_many_gaps_forgets_the_oldest():
    ledger = Ledger()
    for number in range(0, 2 * heads.MAX_RANGES + 10, 2):
        ledger.add(number, 1, "0" * 64)
    assert len(ledger.ranges) == heads.MAX_RANGES
    assert ledger.ranges[0] == [10, 10]


def test_a_head_that_is_being_replaced_never_says_too_much(tmp_path, keys):
    """Verified all the time while uploading: never an error."""
    store = Store(tmp_path / "store")
    found = []
    done = threading.Event()

    def check():
        while not done.is_set():
            if store.keys() and store.heads():
                found.append(verify(store, keys.keyring()))

    with Spool(tmp_path / "spool.db") as spool, \
            Uploader(spool, store, keys, segment_records=20, linger=0.01) as uploader:
        spool.append("run", {})
        assert uploader.flush(20)
        checker = threading.Thread(target=check)
        checker.start()
        for _ in range(15):
            spool.append_many("run", [{"i": i} for i in range(50)])
            assert uploader.flush(20)
        done.set()
        checker.join()
    assert found and all(report.good for report in found), [report for report in found if not report.good]
    assert verify(store, keys.keyring()).records == 751
