"""One request to a cloud, tried as often as its kind of failure allows. Source: CPI contract, section 4.2."""

from __future__ import annotations

import dataclasses
import logging
import random as randomness
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from cpis import hurry as hurries
from cpis.cloud.faults import LOST, NOT_SENT
from cpis.cloud.limits import Limiter
from cpis.contract import CpiError, Denied, Throttled, Unavailable

Result = TypeVar("Result")

PATIENCE_SECONDS = 900.0
_LONGEST_WAIT_SECONDS = 32.0
_FIRST_WAIT_SECONDS = 0.5
_TRIES = 10

log = logging.getLogger("cpis")


class Caller:
    """`explain(what, exception)` gives our error for what a library raised. `renew(error)` is asked once per call after a Denied: it gets
    new credentials and answers True, or False when there are none to get. Safe to use from many threads.
    """

    def __init__(
        self, limiter: Limiter, explain: Callable[[str, Exception], CpiError], *, renew: Callable[[Denied], bool] | None = None,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = randomness.random, tries: int = _TRIES,
    ) -> None:
        self._limiter = limiter
        self._explain = explain
        self._renew = renew
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._tries = tries

    def __call__(
        self, what: str, action: Callable[[], Result], *, family: str = "read", cost: float = 1.0, repeatable: bool = True,
        also: Callable[[CpiError], bool] | None = None, patience: float = PATIENCE_SECONDS,
    ) -> Result:
        """The answer of `action`, called under the family's limit.

        Refusals for the rate are waited out. Unavailable is tried again (`tries` times at most) when `repeatable`, or when the request
        never left; a request whose repetition could make a second thing is not repeatable. `also` names errors that pass by themselves
        (not there yet, still busy). All of it ends after `patience` seconds with the last error. In a hurry (`cpis/hurry.py`) a cloud that
        cannot be reached is not asked again, any other twice at most, and none once the time is over. Raises CpiError.
        """
        hurry = hurries.current()
        patient = _Patience(
            repeatable=repeatable, also=also, renew=self._renew, hurry=hurry, tries=hurries.TRIES if hurry else self._tries,
            ends_at=self._clock() + patience, clock=self._clock, random=self._random)

        def attempt() -> Result:
            if hurry is not None and not hurry.left():
                raise Unavailable(f"{what}: not asked, the time is over", code="timeout")
            self._limiter.take(family, cost)
            try:
                answer = action()
            except Exception as error:
                explained = self._explain(what, error)
                if isinstance(explained, Throttled):
                    self._limiter.throttled(family, explained.retry_after_seconds)
                raise explained from error
            self._limiter.succeeded(family)
            return answer

        def tell(state: tenacity.RetryCallState) -> None:
            log.info("%s: try %d failed (%s), again in %.1f s", what, state.attempt_number, _error(state), state.upcoming_sleep)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(patient.again), wait=patient.wait, stop=patient.stop, sleep=self._sleep, before_sleep=tell,
            reraise=True)
        with hurries.asking(what):
            return retrying(attempt)


@dataclasses.dataclass
class _Patience:
    """Whether one call is tried again, when, and until when. `ends_at` is by `clock`; the rest is as in `Caller`."""

    repeatable: bool
    also: Callable[[CpiError], bool] | None
    renew: Callable[[Denied], bool] | None
    hurry: hurries.Hurry | None
    tries: int
    ends_at: float
    clock: Callable[[], float]
    random: Callable[[], float]
    renewed: bool = False

    def again(self, error: BaseException) -> bool:
        if isinstance(error, Throttled):
            return True
        if self.hurry is not None and isinstance(error, Unavailable) and error.code in (NOT_SENT, LOST):
            return False
        if isinstance(error, Unavailable) and (self.repeatable or error.code == NOT_SENT):
            return True
        if isinstance(error, Denied) and self.renew is not None and not self.renewed:
            self.renewed = True
            return self.renew(error)
        return self.also is not None and isinstance(error, CpiError) and self.also(error)

    def wait(self, state: tenacity.RetryCallState) -> float:
        error = _error(state)
        asked = error.retry_after_seconds if isinstance(error, CpiError) else None
        if asked is not None:
            return asked * (1 + 0.1 * self.random()) + 0.1 * self.random()
        most = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**state.attempt_number)
        return most * (0.5 + 0.5 * self.random())

    def stop(self, state: tenacity.RetryCallState) -> bool:
        if isinstance(_error(state), Unavailable) and state.attempt_number >= self.tries:
            return True
        if self.hurry is not None and state.upcoming_sleep > self.hurry.left():
            return True
        return self.clock() + state.upcoming_sleep > self.ends_at


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
