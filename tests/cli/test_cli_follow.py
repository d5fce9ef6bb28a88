"""Following a task: what is asked for, how often, and that nothing of the output is lost."""

from __future__ import annotations

import dataclasses
import io

import httpx
import pytest

from director.cli import follow, ui
from director.cli.client import Client, DirectorError
from director.errors import TaskError


@dataclasses.dataclass
class Scripted:
    """A director whose task grows by a piece with each look; `tells` whether outputs carry the state."""

    pieces: list[bytes]
    tells: bool = True
    end: str = "done"
    status: int = 200
    asked: list[str] = dataclasses.field(default_factory=list)
    output: bytes = b""

    def client(self) -> Client:
        return Client(httpx.Client(base_url="https://director", transport=httpx.MockTransport(self._answer)))

    @property
    def state(self) -> str:
        return "processing" if self.pieces else self.end

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path if request.url.params.get("type") != "result" else "result")
        if request.url.params.get("type") == "result":
            return httpx.Response(200, content=b"what came of it")
        if not path.endswith("/output"):
            return httpx.Response(200, json={"id": 7, "state": self.state})
        headers = {"Task-State": self.state} if self.tells else {}
        if self.pieces:
            self.output += self.pieces.pop(0)
        start = int(request.headers["range"].removeprefix("bytes=").rstrip("-"))
        if self.status != 200:
            return httpx.Response(self.status, json={"code": 10000, "description": "Task 7 not found"})
        if start >= len(self.output):
            return httpx.Response(416, headers=headers)
        return httpx.Response(206, content=self.output[start:], headers=headers)


class Kept:
    def __init__(self) -> None:
        self.data = b""

    def started(self, task_id: int) -> None: ...

    def chunk(self, task_id: int, data: bytes) -> None:
        self.data += data

    def finished(self, task_id: int, state: str) -> None: ...

    def waiting(self, task_id: int) -> None: ...


@pytest.mark.parametrize("tells", [True, False])
def test_all_of_the_output_is_shown(tells: bool) -> None:
    director, kept = Scripted([b"a", b"", b"bc", b"", b"d"], tells), Kept()
    assert follow.follow(director.client(), {"id": 7}, kept, sleep=lambda seconds: None) == b"what came of it"
    assert kept.data == b"abcd"


def test_one_request_a_look_where_the_director_tells_the_state() -> None:
    director, slept = Scripted([b"x"] * 20), list[float]()
    follow.follow(director.client(), {"id": 7}, Kept(), sleep=slept.append)
    assert director.asked == ["/tasks/7/output"] * 21 + ["result"]
    assert slept[:3] == [0.05, pytest.approx(0.075), pytest.approx(0.1125)], "short tasks are seen to end at once"
    assert max(slept) == 0.25, "a task that always has news is asked four times a second"


def test_a_quiet_task_is_asked_less_often() -> None:
    slept: list[float] = []
    follow.follow(Scripted([b""] * 20).client(), {"id": 7}, Kept(), sleep=slept.append)
    assert max(slept) == 0.5


@pytest.mark.parametrize("tells", [True, False])
def test_a_task_that_fails(tells: bool) -> None:
    with pytest.raises(TaskError, match="state is 'error'"):
        follow.follow(Scripted([b"x"], tells, end="error").client(), {"id": 7}, Kept(), sleep=lambda seconds: None)


def test_a_refusal_is_told() -> None:
    with pytest.raises(DirectorError, match="Task 7 not found"):
        follow.follow(Scripted([b"x"], status=404).client(), {"id": 7}, follow.RawReporter(ui.Ui(io.StringIO(), io.StringIO())))
