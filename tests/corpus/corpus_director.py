"""A whole director in this process: real API, tasks, store, vault, renderer; a pretended cloud whose machines have pretended agents."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import fakes

from director import service
from director.api.config import DirectorConfig
from director.cli import main
from director.errors import Unreachable
from director.execute import context
from director.execute.clouds import Clouds
from director.machine.agent import Agent
from director.machine.endpoint import Endpoint
from director.tasks.context import TaskContext


@dataclasses.dataclass(frozen=True)
class Parts(service.Parts):
    """Of a director whose machines are those of a fleet in memory."""

    cloud: fakes.Cloud | None = None

    def of_task(self, task: TaskContext) -> context.Context:
        """Machines of a fleet are ready at once: nobody waits for them."""
        return dataclasses.replace(super().of_task(task), sleep=lambda seconds: None)

    def _connect(self, endpoint: Endpoint, cancel: threading.Event) -> Agent:
        assert self.cloud is not None
        machine = self.cloud.fleet.machines.get(endpoint.cid)
        if machine is None:
            raise Unreachable(f"Machine '{endpoint.cid}' is not there")
        return Agent(fakes.Session(self.cloud, machine, lambda name: None))


@dataclasses.dataclass
class Director:
    """`caisson(...)` is the command line, spoken to the director over HTTPS."""

    parts: Parts
    fleet: fakes.Fleet
    environ: dict[str, str]

    def caisson(self, *arguments: str, code: int = 0) -> str:
        """What the command prints; its exit code must be `code`."""
        out, err = io.StringIO(), io.StringIO()
        ended = main.run(arguments, main.Startup(out, err, self.environ, False, ask_line=lambda prompt: "yes"))
        assert ended == code, f"caisson {' '.join(arguments)} ended with {ended}:\n{out.getvalue()}{err.getvalue()}"
        return out.getvalue() + err.getvalue()

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        tables = json.loads(self.caisson("--json", *arguments))["Tables"]
        return list(tables[0]["Rows"])


@contextlib.contextmanager
def running(folder: pathlib.Path) -> Iterator[Director]:
    """A director in that folder, for the block."""
    made = service.Parts.make(DirectorConfig(folder / "state", port=0, cpi="fake"))
    made.clouds.close()
    fleet = fakes.Fleet()
    cloud = fakes.Cloud(fleet, lambda name: None)
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    fields["clouds"] = Clouds(cloud, lambda name, entry: cloud, dict)
    parts = Parts(**fields, cloud=cloud)
    with service.serving(parts) as https:
        host, port = https.address
        api = folder / "state" / "api"
        environ = {
            "BOSH_ENVIRONMENT": f"https://{host}:{port}", "BOSH_CA_CERT": (api / "ca.pem").read_text(), "BOSH_CLIENT": "admin",
            "BOSH_CLIENT_SECRET": (api / "admin-password").read_text().strip(), "BOSH_CONFIG": str(folder / "cli.yml"),
            "BOSH_NON_INTERACTIVE": "true",
        }
        yield Director(parts, fleet, environ)
