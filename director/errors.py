"""The errors Caisson raises on purpose.

    CaissonError
    +-- UsageError            the command line or a request is wrong
    +-- ManifestError         a manifest, a config or an ops file is wrong
    +-- ReleaseError          a release or stemcell archive is wrong
    +-- RenderError           templates cannot be filled in
    +-- PlanError             the manifest cannot be planned
    +-- NotFoundError         a named deployment, release, task ... does not exist
    +-- ConflictError         something is in use, locked or has moved on
    +-- MachineError          a machine does not do what was asked of it
    |   +-- Unreachable       no connection, or the connection was lost
    |   +-- HostKeyChanged    the machine shows another key than the pinned one
    |   +-- AgentError        the agent answered with an error
    |   |   +-- NotFetched    the machine could not fetch a blob itself
    |   +-- ScriptFailed      a job's script ended badly
    +-- CloudError            a cloud refused or failed (the CPI's error is its cause)
    +-- TaskError             a task ended in error
    +-- Cancelled             the task was cancelled

Every error carries one or more `Diagnostic`s: what, where, why and what to do next.
CPI errors have their own tree in `cpis/contract.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from director.diagnostics import Diagnostic, Where, render


class CaissonError(Exception):
    """Something went wrong."""

    def __init__(self, *diagnostics: Diagnostic | str, code: int | None = None, suggestion: str = "") -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(
            item if isinstance(item, Diagnostic) else Diagnostic(item, code=code, suggestion=suggestion)
            for item in (diagnostics or (type(self).__doc__ or type(self).__name__,))
        )
        super().__init__(render(self.diagnostics))

    @property
    def code(self) -> int | None:
        """The reference's numeric error code of the first diagnostic that has one."""
        return next((item.code for item in self.diagnostics if item.code is not None), None)

    @property
    def message(self) -> str:
        """The summaries alone, a line each: what the task's event log and the API show."""
        return "\n".join(item.sentence for item in self.diagnostics)

    def at(self, place: str) -> CaissonError:
        """The same error, whose diagnostics without a place are at `place` (an instance, a machine)."""
        located = [
            item if item.where is not None or place in item.summary else dataclasses.replace(item, where=Where(path=place))
            for item in self.diagnostics
        ]
        return type(self)(*located)

    @classmethod
    def of(cls, diagnostics: Iterable[Diagnostic]) -> CaissonError:
        """Make one error of many diagnostics."""
        return cls(*diagnostics)


class UsageError(CaissonError):
    """The call is wrong."""


class ManifestError(CaissonError):
    """The manifest is wrong."""


class ReleaseError(CaissonError):
    """The release is wrong."""


class RenderError(CaissonError):
    """The templates cannot be filled in."""


class PlanError(CaissonError):
    """The manifest cannot be planned."""


class NotFoundError(CaissonError):
    """There is no such thing."""


class ConflictError(CaissonError):
    """It is in use."""


class MachineError(CaissonError):
    """The machine did not do what was asked."""


class Unreachable(MachineError):
    """The machine cannot be reached."""


class HostKeyChanged(MachineError):
    """The machine shows another host key than the one recorded for it."""


class AgentError(MachineError):
    """The agent answered with an error."""


class NotFetched(AgentError):
    """The machine could not fetch a blob itself."""


class ScriptFailed(MachineError):
    """A script of a job failed."""


class CloudError(CaissonError):
    """A cloud refused or failed."""


class TaskError(CaissonError):
    """The task failed."""


class Cancelled(CaissonError):
    """The task was cancelled."""
