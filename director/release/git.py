"""What git says of a release directory. Source: release contract, section 6."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

from director import diagnostics, errors


@dataclasses.dataclass(frozen=True)
class GitState:
    """`commit` is the abbreviated hash, `empty` without a commit, `non-git` outside of git; `changes` are lines of `git status --short`."""

    commit: str
    changes: tuple[str, ...] = ()


def state_of(directory: Path) -> GitState:
    """Ask git; a computer without git, or a folder outside of a repository, is `non-git`."""
    try:
        status = _git(directory, "status", "--short")
        if status.returncode:
            return GitState("non-git")
        head = _git(directory, "rev-parse", "--short", "HEAD")
    except FileNotFoundError:
        return GitState("non-git")
    changes = tuple(status.stdout.splitlines())
    if head.returncode:
        return GitState("empty", changes or ("the repository has no commit",))
    return GitState(head.stdout.strip(), changes)


def refuse_changes(directory: Path, *, force: bool) -> GitState:
    """The state. Raises ReleaseError for uncommitted changes, listing them, unless `force`."""
    state = state_of(directory)
    if state.changes and not force:
        raise errors.ReleaseError(
            diagnostics.Diagnostic(
                "Git repository has local modifications", detail="\n".join(state.changes[:40]), suggestion="Commit them, or use --force.",
            )
        )
    return state


def _git(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A release directory may belong to the user who called sudo; its file system monitor must not run as root.
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", *arguments]
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, errors="replace", check=False, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    )
