"""Rules on scripts: what goes below bin/ is executable on the machine, everything else is not.

Sources: release contract, sections 2 and 13; planning contract, section 12.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from director.diagnostics import Diagnostic, Where
from director.render.lint.folder import File, Release
from director.render.lint.uses import Checked

LIFECYCLE = ("pre-start", "post-start", "post-deploy", "pre-stop", "post-stop", "drain", "run")
"""Scripts that BOSH runs itself, as bin/NAME."""

_WINDOWS = (".ps1", ".bat", ".cmd", ".exe")
_TAGS = re.compile(r"(?:<%.*?%>|\{%.*?%\}|\{#.*?#\}|\s)*", re.DOTALL)


def _files(release: Release) -> Iterator[tuple[str, File]]:
    """Destination and template of all that is listed and is text."""
    for job in release.jobs:
        for source, destination in job.listed():
            file = job.templates.get(source)
            if file is not None and file.text is not None:
                yield destination, file


def modes(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for destination, file in _files(release):
        if destination.startswith("bin/"):
            continue
        if (file.text or "").startswith("#!"):
            yield Diagnostic(
                f"'{destination}' is a script, but will not be executable", where=Where(file.label, 1), severity="warning",
                suggestion=f"Only what goes below bin/ is: bin/{destination.rpartition('/')[2]}. Or drop its #! line.",
            )
        elif file.executable:
            yield Diagnostic(
                f"The template is executable, but '{destination}' will not be", where=Where(file.label), severity="warning",
                suggestion="Only what goes below bin/ is. Change the destination, or take the bit away: chmod -x.",
            )


def shebangs(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for destination, file in _files(release):
        text = file.text or ""
        if not destination.startswith("bin/") or destination.endswith(_WINDOWS) or text.startswith("#!"):
            continue
        before = _TAGS.match(text)
        rest = text[before.end() :] if before else text
        if rest.startswith("#!") and before and _invisible(before[0]):
            continue
        fatal = destination.removeprefix("bin/") in LIFECYCLE
        line = text.count("\n", 0, len(text) - len(rest)) + 1 if rest.startswith("#!") else 1
        what = "begins with #! only after other lines" if rest.startswith("#!") else "does not begin with #!"
        yield Diagnostic(
            f"'{destination}' {what}" + (", so it cannot be run" if fatal else ""), where=Where(file.label, line),
            suggestion="Make #!/bin/bash, or another interpreter, its very first line.", severity="error" if fatal else "warning",
        )


def _invisible(tags: str) -> bool:
    """Whether tags leave nothing behind: ERB's `-%>`, and Jinja2's blocks, eat the end of their line."""
    return not re.sub(r"<%[^=].*?-%>\n|\{%.*?%\}\n|\{#.*?#\}\n|<%[^=].*?%>|\{%.*?%\}|\{#.*?#\}", "", tags, flags=re.DOTALL)


def places(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for job in release.jobs:
        for source, destination in job.listed():
            folder, _, name = destination.rpartition("/")
            stem = re.sub(r"\.(?:sh|erb|j2|bash)\Z", "", name)
            if stem not in LIFECYCLE[:-1] or (folder == "bin" and name == stem):
                continue
            if folder in ("", "bin"):
                yield Diagnostic(
                    f"'{destination}' of job '{job.name}' will not be run: BOSH looks for bin/{stem}", severity="warning",
                    where=job.spec.where(("templates", source)), suggestion=f"Make its destination bin/{stem}.",
                )
