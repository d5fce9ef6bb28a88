"""What is wrong with a release directory, found without a director: `lint(directory)`.

Reading is done in `folder` and `uses`; the rules are functions of what was read, one each, in the table of `rules`.
"""

from __future__ import annotations

from pathlib import Path

from director.render.lint.folder import read_release
from director.render.lint.rules import RULES, Finding, findings
from director.render.lint.uses import find_uses


def lint(directory: Path) -> tuple[Finding, ...]:
    """All findings, by file and line. Raises UsageError when there is no release directory."""
    release = read_release(directory)
    return findings(release, find_uses(release))


__all__ = ["RULES", "Finding", "lint"]
