"""The fault suite: every method of a CPI while its cloud loses requests and answers, refuses, answers nonsense or is out of order.

For each method it learns which requests it makes, and then lets each fault befall each of them, once or for ever. A trial is well when the
call ends right or with the error that the contract has for it, in a bounded number of requests; when after the fault the same call ends
right; and when nothing is left in the cloud once all that tokens find is deleted. Time is the suite's own: waits cost nothing.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from cpis.conformance import proxy as faulty
from cpis.conformance.bench import Bench, Site
from cpis.conformance.forms import Forms
from cpis.conformance.operations import OPERATIONS, Operation, Prepared
from cpis.conformance.proxy import Answer, Fault, Proxy, Request, Rule
from cpis.contract import Conflict, Cpi, CpiError, Denied, NotSupported, Throttled, Unavailable

# Far more than ten tries of each request and half a minute between two of fifteen minutes; a loop without a bound goes beyond it.
MOST_REQUESTS = 500
_FOREVER = 0
_SLOW_SECONDS = 0.2


class Time:
    """A clock that sleeping moves on. `pace` is the part of each sleep that is slept for real, for clouds that work in real time; of one
    sleep that are `most` seconds: the half minutes after refusals wait for nothing that a cloud does."""

    def __init__(self, pace: float = 0.0, most: float = 1.0) -> None:
        self._pace = pace
        self._most = most
        self._lock = threading.Lock()
        self._ahead = 0.0

    def clock(self) -> float:
        """Unix time, ahead by all that was slept."""
        with self._lock:
            return time.time() + self._ahead

    def sleep(self, seconds: float) -> None:
        real = min(seconds * self._pace, self._most)
        # Without a moment of it a loop that waits for another thread would keep that from working.
        time.sleep(max(real, 0.0005))
        with self._lock:
            self._ahead += seconds - real


@dataclasses.dataclass(frozen=True)
class Befall:
    """A fault, how often it comes (0: for ever), the errors that a call may end with for it, and a regular expression for the paths of
    the requests that it can befall."""

    fault: Fault
    times: int
    errors: tuple[type[CpiError], ...]
    path: str = ""

    @property
    def name(self) -> str:
        return self.fault.name if self.times else f"{self.fault.name}, for ever"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One operation with one fault at its `number`-th request (0: without any fault). `ended` is right or an error's name, `wrong` says
    what is not as it should be, `leaked` names what was left."""

    operation: str
    number: int
    request: str
    fault: str
    ended: str
    requests: int
    wrong: str = ""
    leaked: tuple[str, ...] = ()


@dataclasses.dataclass
class Target:
    """A CPI behind a proxy. `resources()` lists what exists in its cloud (kind, id), or is None when only the CPI can tell."""

    cpi: Cpi
    site: Site
    proxy: Proxy
    forms: Forms
    resources: Callable[[], Sequence[tuple[str, str]]] | None = None
    stemcell: str = ""

    def everything(self) -> set[str]:
        """Names of all that is there, by the cloud's own list, or else by the CPI's."""
        if self.resources:
            return {f"{kind} {cid}" for kind, cid in self.resources()}
        return {f"{item.kind} {item.cid}" for item in self.cpi.owned()}


def faults(forms: Forms) -> tuple[Befall, ...]:
    """All that can go wrong on a cloud with these refusals."""
    lost = (faulty.LOST_BEFORE, faulty.LOST_AFTER, faulty.HALF, faulty.HTML_AFTER, faulty.PORTAL)

    def refusals(answers: Mapping[str, Answer], times: int, *errors: type[CpiError]) -> list[Befall]:
        return [Befall(Fault(name, effect=False, answer=answer), times, errors, forms.path) for name, answer in answers.items()]

    def first(answers: Mapping[str, Answer]) -> dict[str, Answer]:
        return dict(list(answers.items())[:1])

    return (
        *(Befall(fault, 1, (Unavailable,)) for fault in lost), Befall(faulty.slow(_SLOW_SECONDS), 1, ()),
        *refusals(forms.throttled, 1), *refusals(forms.faulty, 1, Unavailable), *refusals(forms.busy, 1),
        *refusals(forms.denied, 1, Denied), *refusals(forms.expired, 1),
        Befall(faulty.LOST_BEFORE, _FOREVER, (Unavailable,)), Befall(faulty.LOST_AFTER, 3, (Unavailable,)),
        *refusals(_for_long(forms.throttled), _FOREVER, Throttled), *refusals(first(forms.faulty), _FOREVER, Unavailable),
        *refusals(first(forms.busy), _FOREVER, Conflict, Unavailable), *refusals(first(forms.denied), _FOREVER, Denied),
        *refusals(first(forms.expired), _FOREVER, Denied),
    )


def _for_long(answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """A refusal that asks for half a minute: with seconds, a client rightly tries hundreds of times before it gives up."""
    return {name: dataclasses.replace(answers[name], headers=(("Retry-After", "30"),)) for name in list(answers)[-1:]}


def run(
    target: Target, operations: Sequence[Operation] = OPERATIONS, befalls: Sequence[Befall] | None = None,
    report: Callable[[Trial], None] = lambda trial: None, *, every: int = 1,
) -> list[Trial]:
    """All trials, one after the other; with `every` about one in so many, the same ones each time. Deletes what it made."""
    def wanted(operation: Operation) -> Iterator[tuple[int, Request, Befall]]:
        for place, request in enumerate(_requests(target, operation), 1):
            for befall in befalls if befalls is not None else faults(target.forms):
                if re.search(befall.path, request.path):
                    yield place, request, befall

    return each(target, operations, wanted, report, every)


def each(
    target: Target, operations: Iterable[Operation], wanted: Callable[[Operation], Iterable[tuple[int, Request, Befall]]],
    report: Callable[[Trial], None], every: int,
) -> list[Trial]:
    """The trials of each operation that `wanted` answers (number of the request, the request, what befalls it), or those of a sample of one
    in `every`. Deletes what it made."""
    target.stemcell = target.cpi.create_stemcell(target.site.image_path, target.site.stemcell_properties, "conformance-faults")
    trials: list[Trial] = []

    def keep(made: Trial | None) -> None:
        if made is not None:
            trials.append(made)
            report(made)

    try:
        for operation in operations:
            try:
                asked = list(wanted(operation))
            except Exception as error:
                keep(Trial(operation.name, 0, "", "none", type(error).__name__, 0, f"fails without a fault: {error}"))
                continue
            for place, request, befall in asked:
                if not _left_out(every, operation, place, befall):
                    keep(_trial(target, operation, place, request, befall, repeat_first=len(trials) % 2 == 0))
    finally:
        target.proxy.set()
        target.cpi.delete_stemcell(target.stemcell)
    return trials


def _left_out(every: int, operation: Operation, place: int, befall: Befall) -> bool:
    """Whether a sample of one in `every` is without this trial. By a digest of its name, so that no fault or request is favoured."""
    name = f"{operation.name} {place} {befall.name}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:4], "big") % every != 0


def _requests(target: Target, operation: Operation) -> list[Request]:
    """The requests that the operation makes when all is well; none for what this cloud has not. Raises what the operation raises."""
    bench = Bench(target.cpi, target.site, target.stemcell)
    if operation.name.endswith("several networks") and target.site.several is None:
        return []
    try:
        prepared = operation.prepare(bench)
        target.proxy.forget()
        answer = prepared.call(target.cpi)
        made = list(target.proxy.requests)
        prepared.holds(target.cpi, answer)
        return made
    except NotSupported:
        return []
    finally:
        bench.clean(look_again=False)


def _trial(target: Target, operation: Operation, place: int, request: Request, befall: Befall, *, repeat_first: bool) -> Trial | None:
    """One operation with one fault at its request number `place`; None when the fault found no request to befall. `repeat_first`: an
    operation that failed is made again before what it left is removed, not after."""
    bench = Bench(target.cpi, target.site, target.stemcell)
    before = target.everything()
    wrong: list[str] = []
    prepared = operation.prepare(bench)
    target.proxy.forget()
    target.proxy.set(Rule(befall.fault, nth=place, times=befall.times))
    answer, ended = None, "right"
    try:
        answer = prepared.call(target.cpi)
    except CpiError as error:
        ended = type(error).__name__
        if not isinstance(error, befall.errors):
            wrong.append(f"ended with {ended}: {error}")
    except Exception as error:
        ended = type(error).__name__
        wrong.append(f"ended with no error of the contract: {ended}: {error}")
    requests, hit = len(target.proxy.requests), target.proxy.hit
    target.proxy.set()
    if requests > MOST_REQUESTS:
        wrong.append(f"made {requests} requests")
    leaked: set[str] = set()
    if ended != "right" and operation.creates and not repeat_first:
        # The director may also remove what the token finds, and begin anew.
        wrong += [f"cannot be removed: {what}" for what in bench.clean(look_again=False)]
        leaked |= target.everything() - before
        prepared = operation.prepare(bench)
    wrong += _after(target, prepared, answer, ended)
    wrong += [f"cannot be removed: {what}" for what in bench.clean(look_again=False)]
    leaked |= target.everything() - before
    if not hit:
        return None
    return Trial(operation.name, place, str(request), befall.name, ended, requests, "; ".join(wrong), tuple(sorted(leaked)))


def _after(target: Target, prepared: Prepared, answer: Any, ended: str) -> Iterator[str]:
    """What is wrong once the fault is over: a call that failed is made again, and its answer must be true."""
    if ended != "right":
        try:
            answer = prepared.call(target.cpi)
        except Exception as error:
            yield f"does not recover: {type(error).__name__}: {error}"
            return
    try:
        prepared.holds(target.cpi, answer)
    except AssertionError as error:
        yield f"does not hold: {error}"
    except Exception as error:
        yield f"does not hold: {type(error).__name__}: {error}"


def counts(trials: Sequence[Trial]) -> dict[str, Any]:
    """Figures of a run: trials, how they ended, what was wrong, what leaked, and the most requests that one call made."""
    return {
        "tried": len(trials), "ended": dict(sorted(collections.Counter(trial.ended for trial in trials).items())),
        "wrong": sum(bool(trial.wrong) for trial in trials), "leaked": sum(len(trial.leaked) for trial in trials),
        "most_requests": max((trial.requests for trial in trials), default=0),
    }
