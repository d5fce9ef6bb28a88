"""The command, run in this process against a director over real HTTPS whose tasks end at once, as the test says."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import api_world

from director.cli import main


@dataclasses.dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def rows(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.json["Tables"][0]["Rows"]
        return found


@dataclasses.dataclass
class Script:
    """How tasks of a kind go: their event lines, result bytes, final state and short result."""

    events: Sequence[Mapping[str, Any]] = ()
    result: str = ""
    state: str = "done"
    short: str = ""


class ScriptedTasks(api_world.RecordedTasks):
    """Ends every task at its creation."""

    def __init__(self, recorded: api_world.RecordedTasks) -> None:
        super().__init__(recorded.store, recorded.folder)
        self.scripts: dict[str, Script] = {}
        self.created: list[tuple[str, dict[str, Any]]] = []
        self.effect: Callable[[str, Mapping[str, Any]], None] = lambda _kind, _arguments: None

    def create(
        self, *, kind: str, arguments: Mapping[str, Any], description: str, deployment: str = "", user: str = "", context_id: str = ""
    ) -> int:
        number = super().create(
            kind=kind, arguments=arguments, description=description, deployment=deployment, user=user, context_id=context_id
        )
        self.created.append((kind, dict(arguments)))
        self.effect(kind, arguments)
        script = self.scripts.get(kind, Script())
        if script.events:
            self.write(number, "event", "".join(json.dumps(line) + "\n" for line in script.events))
        if script.result:
            self.write(number, "result", script.result)
        if script.state != "queued":
            self.store.tasks.finish(number, script.state, script.short)
        return number


class Cli:
    """Runs command lines; `terminal` and `answers` are a person's."""

    def __init__(self, world: api_world.World | None, folder: pathlib.Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {"BOSH_CONFIG": str(folder / "config")}
        self.terminal = False
        self.answers: list[str] = []
        self.asked: list[str] = []
        if world is not None:
            self.world = world
            self.tasks = ScriptedTasks(world.tasks)
            # The services are frozen, the queue behind them is the test's.
            world.services = dataclasses.replace(world.services, tasks=self.tasks)
            from director.api import app

            world.listening.switch.app = app.make_app(world.services)
            endpoint = world.listening.endpoint()
            self.environ |= {
                "BOSH_ENVIRONMENT": endpoint.url,
                "BOSH_CA_CERT": endpoint.ca_cert,
                "BOSH_CLIENT": "admin",
                "BOSH_CLIENT_SECRET": "secret",
            }

    def __call__(self, *args: str) -> Result:
        out, err = io.StringIO(), io.StringIO()
        startup = main.Startup(out, err, self.environ, self.terminal, ask_line=self._answer)
        return Result(main.run(args, startup), out.getvalue(), err.getvalue())

    def ok(self, *args: str) -> Result:
        result = self(*args)
        assert result.code == 0, result.err + result.out
        return result

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def _answer(self, prompt: str) -> str:
        self.asked.append(prompt.strip())
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


def event(stage: str, task: str, state: str, time: int, tags: Sequence[str] = (), **data: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "time": time,
        "stage": stage,
        "tags": list(tags),
        "total": 1,
        "task": task,
        "index": 1,
        "state": state,
        "progress": 0,
    }
    return {**made, "data": data} if data else made
