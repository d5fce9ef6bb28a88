"""How fast a cloud may be asked: a token bucket for each family of requests, shared by all threads, slower after each refusal.

The published rates of a cloud are where it starts. A refusal halves the rate of its family (once in a while, since all requests under way
are refused together); each success brings a fiftieth of it back. So several directors on one account find a share that the cloud bears.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping

_SLOWEST = 1 / 64
_RECOVERY = 1 / 50
_ONE_REFUSAL_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Rate:
    """Requests per second in the long run, and how many at once after a rest."""

    per_second: float
    burst: float


class _Bucket:
    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self.per_second = rate.per_second
        self.tokens = rate.burst
        self.filled_at = now
        self.paused_until = now
        self.refused_at = now - _ONE_REFUSAL_SECONDS

    def reserve(self, cost: float, now: float) -> float:
        """Take tokens now, in debt if need be; answers the seconds until they are there."""
        self._fill(now)
        self.tokens -= cost
        return max(0.0, self.paused_until - now, -self.tokens / self.per_second)

    def _fill(self, now: float) -> None:
        since = max(self.filled_at, self.paused_until)
        if now > since:
            self.tokens = min(self.rate.burst, self.tokens + (now - since) * self.per_second)
        self.filled_at = max(self.filled_at, now)

    def refuse(self, retry_after: float | None, now: float) -> None:
        self._fill(now)
        self.tokens = min(self.tokens, 0.0)
        if retry_after:
            self.paused_until = max(self.paused_until, now + retry_after)
        if now - self.refused_at >= _ONE_REFUSAL_SECONDS:
            self.refused_at = now
            self.per_second = max(self.rate.per_second * _SLOWEST, self.per_second / 2)

    def recover(self) -> None:
        self.per_second = min(self.rate.per_second, self.per_second + self.rate.per_second * _RECOVERY)


class Limiter:
    """`families` names the rates; a family that is not among them is not limited. Safe to use from many threads."""

    def __init__(
        self, families: Mapping[str, Rate], *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._buckets = {name: _Bucket(rate, clock()) for name, rate in families.items()}

    def take(self, family: str, cost: float = 1.0) -> float:
        """Wait for the turn of a request that counts `cost` times. Answers the seconds waited."""
        bucket = self._buckets.get(family)
        if bucket is None:
            return 0.0
        with self._lock:
            delay = bucket.reserve(cost, self._clock())
        waited = 0.0
        while delay > 0:
            self._sleep(delay)
            waited += delay
            with self._lock:  # refused meanwhile: those who wait wait on
                delay = bucket.paused_until - self._clock()
        return waited

    def throttled(self, family: str, retry_after_seconds: float | None = None) -> None:
        """The cloud refused a request of this family for its rate."""
        if family in self._buckets:
            with self._lock:
                self._buckets[family].refuse(retry_after_seconds, self._clock())

    def succeeded(self, family: str) -> None:
        """The cloud took a request of this family."""
        if family in self._buckets:
            with self._lock:
                self._buckets[family].recover()

    def per_second(self, family: str) -> float:
        """The rate of the family now."""
        return self._buckets[family].per_second


_shared: dict[tuple[str, Callable[[], float], Callable[[float], None]], Limiter] = {}
_shared_lock = threading.Lock()


def shared(
    key: str, families: Mapping[str, Rate], *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
) -> Limiter:
    """The one limiter of this process for an account and region (`key`), made at the first call. A CPI passes on the clock and
    sleep that it was given: another time is another limiter."""
    with _shared_lock:
        if (key, clock, sleep) not in _shared:
            _shared[key, clock, sleep] = Limiter(families, clock=clock, sleep=sleep)
        return _shared[key, clock, sleep]
