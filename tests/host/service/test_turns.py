"""Turns, pools and the breaker: who waits for whom."""

import asyncio
import threading
import time

import pytest
from lepton.results.errors import Unavailable
from lepton.service.limits import Buckets, Limits, Rate, address_key
from lepton.service.turns import FAILURES, PAUSE_SECONDS, SLOW_SECONDS, Breaker, Pool, Turns


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_groups_get_their_turn_one_after_another():
    async def run():
        turns = Turns(1)
        order = []

        async def work(group, number):
            async with turns.turn(group):
                order.append((group, number))
                await asyncio.sleep(0)

        async with turns.turn("first"):
            tasks = [asyncio.create_task(work("many", n)) for n in range(5)]
            await asyncio.sleep(0)
            tasks += [asyncio.create_task(work("few", n)) for n in range(2)]
            await asyncio.sleep(0)
            assert turns.waiting == 7
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(run()) == [("many", 0), ("few", 0), ("many", 1), ("few", 1), ("many", 2), ("many", 3),
                                  ("many", 4)]


def test_cancelled_waiters_leave_no_hole():
    async def run():
        turns = Turns(2)
        async with turns.turn("a"), turns.turn("a"):
            waiting = [asyncio.create_task(turns.turn("b").__aenter__()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            waiting[2].cancel()
            await asyncio.sleep(0)
        await waiting[1]
        async with asyncio.timeout(10), turns.turn("c"):
            pass

    asyncio.run(run())


def test_turn_that_comes_while_its_waiter_is_cancelled():
    async def run():
        turns = Turns(1)
        holder = turns.turn("a")
        await holder.__aenter__()
        waiter = asyncio.create_task(turns.turn("b").__aenter__())
        await asyncio.sleep(0)
        await holder.__aexit__(None, None, None)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        async with asyncio.timeout(10), turns.turn("c"):
            pass

    asyncio.run(run())


def test_breaker():
    clock = Clock()
    breaker = Breaker("storing", clock)
    for _ in range(FAILURES):
        breaker.check()
        breaker.failed()
    assert breaker.broken
    with pytest.raises(Unavailable, match=rf"storing has failed {FAILURES} times; it is tried again in 5\.0 s"):
        breaker.check()
    clock.now += PAUSE_SECONDS
    breaker.check()  # one call tries
    with pytest.raises(Unavailable):
        breaker.check()
    breaker.succeeded()
    breaker.check()
    breaker.check()


def test_pool_that_does_not_answer():
    """Callers are told in time, and the threads that hang do not become more and more."""
    release = threading.Event()

    async def run():
        pool = Pool("put", 2, 0.05, Breaker("storing"))
        for _ in range(FAILURES - 1):
            with pytest.raises(Unavailable, match=r"the store has not answered within 0\.05 s"):
                await pool.run(release.wait)
        with pytest.raises(Unavailable, match="4 calls of the store have not returned"):
            await pool.run(release.wait)
        release.set()
        return threading.active_count()

    assert asyncio.run(run()) < 20


def test_quick_failures_do_not_break():
    async def run():
        def fail():
            raise Unavailable("no")

        breaker = Breaker("storing")
        pool = Pool("put", 2, 5, breaker)
        for _ in range(2 * FAILURES):
            with pytest.raises(Unavailable, match="no"):
                await pool.run(fail)
        assert not breaker.broken

        def fail_late():
            time.sleep(SLOW_SECONDS + 0.1)
            raise Unavailable("late")

        for _ in range(3):
            await asyncio.gather(*(pool.run(fail_late) for _ in range(2)), return_exceptions=True)
        assert breaker.broken

    asyncio.run(run())


def test_buckets():
    clock = Clock()
    buckets = Buckets(Rate(2, 4), clock)
    assert [buckets.take("a") for _ in range(4)] == [0] * 4
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.take("b") == 0
    clock.now += 0.5
    assert buckets.take("a") == 0
    clock.now += 100
    assert [buckets.take("a") for _ in range(4)] == [0] * 4  # no more than the burst
    assert buckets.take("a") > 0


def test_buckets_forget(monkeypatch):
    monkeypatch.setattr(Buckets, "MOST", 10)
    buckets = Buckets(Rate(1, 2), Clock())
    for key in range(1000):
        buckets.take(key)
    assert len(buckets._levels) <= 10


@pytest.mark.parametrize("address, key", [
    ("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("2001:db8:1:2::", "2001:db8:1:2::"),
    ("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::"), ("unix", "unix")])
def test_address_key(address, key):
    assert address_key(address) == key


def test_workers_share_rates_and_sums():
    """Together they give no more than one process; what one client may use of a process stays."""
    whole = Limits()
    share = whole.of_worker(4)
    rates = [name for name, value in vars(whole).items() if isinstance(value, Rate)]
    assert len(rates) >= 9
    for name in rates:
        one = getattr(whole, name)
        part = getattr(share, name)
        assert part.per_second * 4 == one.per_second
        assert part.burst * 4 == one.burst
    assert (share.incoming, share.tenant_incoming) == (whole.incoming // 4, whole.tenant_incoming // 4)
    assert (share.segment_bytes, share.device_connections, share.requests) == (
        whole.segment_bytes, whole.device_connections, whole.requests)
    assert Limits(mistakes=Rate(1, 2)).of_worker(4).mistakes == Rate(0.25, 1)
    assert whole.of_worker(1) is whole


def test_a_pool_rests_between_calls_that_follow_each_other():
    """Calls that use the interpreter all the time would leave little of it to others."""
    async def run():
        pool = Pool("readers", 1, rest=2.0)
        begun = time.monotonic()
        await pool.run(time.sleep, 0.05)
        alone = time.monotonic() - begun
        await asyncio.gather(*(pool.run(time.sleep, 0.05) for _ in range(3)))
        pool.close()
        return alone, time.monotonic() - begun

    alone, together = asyncio.run(run())
    assert together >= 4 * 0.05 + 3 * 2 * 0.05
    assert alone < together / 2
