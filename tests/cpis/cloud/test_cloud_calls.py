"""What is tried again, for how long, and what never is. Rows of the CPI contract's section 4.2 and of its table of mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests
from libcloud.common.exceptions import BaseHTTPError, RateLimitReachedError
from libcloud.common.types import InvalidCredsError, LibcloudError, MalformedResponseError
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError

from cpis.cloud import faults
from cpis.cloud.calls import Caller
from cpis.cloud.limits import Limiter, Rate
from cpis.cloud.waiting import wait_for
from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, Throttled, Unavailable


class World:
    """A caller whose time only moves by sleeping."""

    def __init__(self, renew: Callable[[Denied], bool] | None = None) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.limiter = Limiter({"read": Rate(100.0, 100.0)}, clock=lambda: self.now, sleep=self.sleep)
        self.call = Caller(
            self.limiter, faults.unexplained, renew=renew, clock=lambda: self.now, sleep=self.sleep, random=lambda: 0.5)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def script(*outcomes: Exception | str) -> Callable[[], str]:
    """An action with these outcomes, one a call."""
    rest: Iterator[Exception | str] = iter(outcomes)

    def action() -> str:
        outcome = next(rest)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return action


def test_a_server_fault_passes_when_the_call_may_be_repeated() -> None:
    world = World()
    assert world.call("List", script(Unavailable("503"), Unavailable("503"), "answer")) == "answer"
    assert len(world.slept) == 2


def test_a_lost_answer_is_not_repeated_when_that_could_make_two() -> None:
    world = World()
    with pytest.raises(Unavailable):
        world.call("Create", script(Unavailable("lost", code=faults.LOST), "second thing"), repeatable=False)
    assert world.slept == []


def test_what_was_never_sent_may_always_be_repeated() -> None:
    assert World().call("Create", script(Unavailable("no route", code=faults.NOT_SENT), "made"), repeatable=False) == "made"


def test_a_server_fault_ends_after_ten_tries() -> None:
    calls = []

    def action() -> str:
        calls.append(1)
        raise Unavailable("503")

    with pytest.raises(Unavailable):
        World().call("List", action)
    assert len(calls) == 10


@pytest.mark.parametrize("error", [Invalid("x"), NotFound("x"), Conflict("x"), Denied("x"), NoCapacity("x"), CpiError("x")])
def test_permanent_errors_are_not_tried_again(error: CpiError) -> None:
    world = World()
    with pytest.raises(type(error)):
        world.call("Create", script(error, "never"))
    assert world.slept == []


def test_row_22_throttled_for_ten_minutes_ends_late_and_well() -> None:
    world = World()

    def action() -> str:
        if world.now < 600:
            raise Throttled("slow down")
        return "late"

    assert world.call("Create", action, repeatable=False) == "late"


def test_throttling_ends_with_the_patience() -> None:
    world = World()

    def action() -> str:
        raise Throttled("slow down")

    with pytest.raises(Throttled):
        world.call("Create", action, patience=60)
    assert world.now <= 60


@pytest.mark.parametrize(("asked", "at_least", "at_most"), [(7.0, 7.0, 8.0), (0.0, 0.0, 0.2), (None, 0.5, 1.0)])
def test_row_23_the_time_asked_for_is_waited(asked: float | None, at_least: float, at_most: float) -> None:
    world = World()
    world.call("List", script(Throttled("slow down", retry_after_seconds=asked), "answer"))
    assert at_least <= sum(world.slept) <= at_most


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "12"}, 12.0), ({"retry-after": "0"}, 0.0), ({}, None), (None, None), ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:30 GMT"}, 30.0), ({"Retry-After": "Thu, 01 Jan 1970 00:00:30 GMT"}, 0.0),
    ],
)
def test_row_23_retry_after_in_all_forms(headers: dict[str, str] | None, seconds: float | None) -> None:
    assert faults.retry_after(headers, now=60.0) == seconds


def test_row_24_one_silent_login_anew() -> None:
    logins = []
    world = World(lambda error: not logins.append(error.code))
    assert world.call("List", script(Denied("expired", code="401"), "answer")) == "answer"
    with pytest.raises(Denied):
        world.call("List", script(Denied("expired", code="401"), Denied("still", code="401"), "never"))
    assert len(logins) == 2


def test_what_passes_by_itself_is_named_by_the_caller() -> None:
    world = World()
    found = world.call("Tag", script(NotFound("not yet"), NotFound("not yet"), "tagged"), also=lambda error: isinstance(error, NotFound))
    assert found == "tagged"


def _connection(reason: Exception) -> requests.exceptions.ConnectionError:
    return requests.exceptions.ConnectionError(MaxRetryError(None, "/", reason))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("raised", "kind", "code"),
    [
        (requests.exceptions.SSLError("certificate verify failed"), Denied, "tls"),
        (requests.exceptions.ConnectTimeout("slow"), Unavailable, faults.NOT_SENT),
        (requests.exceptions.ReadTimeout("slow"), Unavailable, faults.LOST),
        (_connection(NewConnectionError(None, "refused")), Unavailable, faults.NOT_SENT),  # type: ignore[arg-type]
        (_connection(NameResolutionError("cloud.test", None, OSError("no such name"))), Unavailable, faults.NOT_SENT),  # type: ignore[arg-type]
        (requests.exceptions.ConnectionError("Connection reset by peer"), Unavailable, faults.LOST),
        (requests.exceptions.ChunkedEncodingError("cut"), Unavailable, faults.LOST),
        (ConnectionResetError("reset"), Unavailable, faults.LOST),
        (InvalidCredsError("wrong"), Denied, "401"),
        (RateLimitReachedError(headers={"retry-after": "3"}), Throttled, "429"),
        (MalformedResponseError("x", body="<html><title>502 Bad Gateway</title>"), Unavailable, faults.MALFORMED),
        (BaseHTTPError(404, "no such thing"), NotFound, "404"),
        (BaseHTTPError(503, "", {"retry-after": "9"}), Unavailable, "503"),
        (BaseHTTPError(400, "bad"), Invalid, "400"),
        (LibcloudError("what"), CpiError, ""),
        (KeyError("id"), Unavailable, faults.MALFORMED),
        (RuntimeError("what"), CpiError, ""),
        (Invalid("ours", code="keep"), Invalid, "keep"),
    ],
)
def test_every_exception_has_its_kind(raised: Exception, kind: type[CpiError], code: str) -> None:
    error = faults.unexplained("DoIt", raised)
    assert type(error) is kind
    assert error.code == code
    assert "\n" not in error.message


def test_row_36_a_page_for_people_is_told_in_a_line() -> None:
    page = "<!DOCTYPE html><html><head><title>\n502 Bad   Gateway</title></head><body><p>nginx</p></body></html>"
    error = faults.unexplained("DoIt", MalformedResponseError("x", body=page))
    assert error.message == "DoIt: this is no answer of the cloud's API: 502 Bad Gateway"


def test_waiting_says_for_what_and_ends() -> None:
    world = World()
    looks = iter([None, None, "running"])
    clock = {"clock": lambda: world.now, "sleep": world.sleep}
    assert wait_for("machine vm-1 to run", lambda: next(looks), **clock) == "running"
    with pytest.raises(Unavailable, match="waited 60 s for machine vm-1 to run"):
        wait_for("machine vm-1 to run", lambda: None, deadline=60, **clock)


def test_waiting_ends_at_once_when_it_is_hopeless() -> None:
    world = World()

    def look() -> None:
        raise Unavailable("machine vm-1 is in state error")

    with pytest.raises(Unavailable, match="state error"):
        wait_for("machine vm-1 to run", look, clock=lambda: world.now, sleep=world.sleep)
    assert world.slept == []
