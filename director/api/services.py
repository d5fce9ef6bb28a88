"""What the API is made of. All of it is given by `director.service`, or by a test."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from director.blobs import LocalBlobstore, Signer
from director.state import store
from director.variables import Vault


class Tasks(Protocol):
    """The queue."""

    def create(
        self, *, kind: str, arguments: Mapping[str, Any], description: str, deployment: str = "", user: str = "", context_id: str = ""
    ) -> int:
        """Queue a task; its id."""

    def cancel(self, task_id: int) -> None:
        """Ask a queued or processing task to end. Raises NotFoundError 10000, UsageError in another state."""

    def output(self, task_id: int, kind: str) -> pathlib.Path | None:
        """The file of an output (event, debug, result, cpi), None when the task has written none."""


class Planner(Protocol):
    """What a deploy would do; writes nothing."""

    def __call__(self, manifest: str, options: Mapping[str, Any], *, keep: bool = False) -> Mapping[str, Any]:
        """`{"text": for people, "plan": plain data}`, with `keep` also `"file"`, the plan as it may be sent back.

        Raises CaissonError with all that is wrong with the manifest.
        """


@dataclasses.dataclass(frozen=True)
class DirectorInfo:
    """What `/info` says. `version` is `SEMVER (REVISION)`."""

    name: str
    uuid: str
    version: str
    cpi: str = ""
    domain: str = "bosh"


@dataclasses.dataclass(frozen=True)
class Services:
    """`uploads` is a folder on the state's file system for archives on their way to a task; `certificate` the server's own.
    `signer` checks the links of machines; without one none is honoured. `vault` opens and keeps values of variables.
    `clouds` tells the cloud behind each CPI's name."""

    store: store.Store
    blobs: LocalBlobstore
    tasks: Tasks
    planner: Planner
    director: DirectorInfo
    uploads: pathlib.Path
    clock: Callable[[], float]
    certificate: pathlib.Path | None = None
    cpis: Callable[[], tuple[str, ...]] = lambda: ("",)
    clouds: Callable[[], Mapping[str, str]] = dict
    signer: Signer | None = None
    vault: Vault | None = None
