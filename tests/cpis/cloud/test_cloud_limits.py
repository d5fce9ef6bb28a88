"""The limiter keeps a cloud's rates over many threads, and slows down when it is told to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpis.cloud.limits import Limiter, Rate, shared


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def limiter(time: Time, **rates: Rate) -> Limiter:
    return Limiter(rates, clock=time, sleep=time.sleep)


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    time = Time()
    limit = limiter(time, read=Rate(2.0, 5.0))
    for _ in range(5):
        limit.take("read")
    assert time.slept == []
    for _ in range(4):
        limit.take("read")
    assert time.now == pytest.approx(102.0)


def test_a_rest_fills_the_bucket_up_to_the_burst() -> None:
    time = Time()
    limit = limiter(time, read=Rate(1.0, 3.0))
    for _ in range(3):
        limit.take("read")
    time.now += 1000
    for _ in range(3):
        assert limit.take("read") == 0.0
    assert limit.take("read") == pytest.approx(1.0)


def test_families_do_not_share_and_unknown_ones_are_free() -> None:
    time = Time()
    limit = limiter(time, read=Rate(1.0, 1.0), write=Rate(1.0, 1.0))
    limit.take("read")
    assert limit.take("write") == 0.0
    assert limit.take("no such family") == 0.0
    limit.throttled("no such family", 5)
    limit.succeeded("no such family")


def test_a_refusal_halves_the_rate_once_and_successes_bring_it_back() -> None:
    time = Time()
    limit = limiter(time, read=Rate(10.0, 10.0))
    for _ in range(5):
        limit.throttled("read")
    assert limit.per_second("read") == 5.0
    for _ in range(25):
        limit.succeeded("read")
    assert limit.per_second("read") == pytest.approx(10.0)


def test_the_rate_never_falls_to_nothing() -> None:
    time = Time()
    limit = limiter(time, read=Rate(64.0, 1.0))
    for _ in range(30):
        limit.throttled("read")
        time.now += 2
    assert limit.per_second("read") == 1.0


def test_a_time_to_wait_holds_for_everybody() -> None:
    time = Time()
    limit = limiter(time, read=Rate(100.0, 100.0))
    limit.throttled("read", 30)
    limit.take("read")
    assert time.now >= 130.0


def test_who_waits_while_another_is_refused_waits_on() -> None:
    time = Time()
    limit: Limiter

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if len(time.slept) == 1:
            limit.throttled("read", 60)

    limit = Limiter({"read": Rate(1.0, 1.0)}, clock=time, sleep=sleep)
    limit.take("read")
    limit.take("read")
    assert time.now >= 161.0


@given(st.floats(0.5, 50), st.floats(1, 50), st.lists(st.sampled_from([0.0, 0.01, 0.3, 2.0]), min_size=1, max_size=200))
def test_no_window_holds_more_than_burst_and_rate(per_second: float, burst: float, pauses: list[float]) -> None:
    time = Time()
    limit = limiter(time, read=Rate(per_second, burst))
    sent = []
    for pause in pauses:
        time.now += pause
        limit.take("read")
        sent.append(time.now)
    for start in range(len(sent)):
        for end in range(start, len(sent)):
            allowed = burst + per_second * (sent[end] - sent[start]) + 1
            assert end - start + 1 <= allowed * 1.05


def test_threads_that_wait_together_are_sent_one_by_one() -> None:
    """Each reserves its turn when it comes, so that the waits are those of a queue."""
    time = Time()
    waits: list[float] = []
    limit = Limiter({"read": Rate(2.0, 1.0)}, clock=time, sleep=waits.append)
    for _ in range(4):
        limit.take("read")
    assert waits == [0.5, 1.0, 1.5]


def test_one_limiter_for_an_account() -> None:
    rates = {"read": Rate(1.0, 1.0)}
    assert shared("account/region-1", rates) is shared("account/region-1", rates)
    assert shared("account/region-1", rates) is not shared("account/region-2", rates)


def test_another_time_is_another_limiter() -> None:
    """What a test makes wait in its own time must not slow down others."""
    rates, time = {"read": Rate(1.0, 1.0)}, Time()
    sleep = time.sleep
    own = shared("account/region-1", rates, clock=time, sleep=sleep)
    assert own is shared("account/region-1", rates, clock=time, sleep=sleep)
    assert own is not shared("account/region-1", rates)
