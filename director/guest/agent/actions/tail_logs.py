"""The last lines of jobs' logs, for error messages."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List

from .. import files, spec
from ..host import Call
from .base import Action

FILES_PER_JOB = 4
BYTES = 8000


def run(call: Call, jobs: List[str], lines: int = 10) -> Dict[str, str]:
    """Of each job the newest files that are not empty; file name below the log folder -> text. Monit's log comes last."""
    host = call.host
    told: Dict[str, str] = {}
    for job in jobs or spec.load(host.layout).jobs:
        folder = host.layout.log / job
        if not spec.NAME.match(job) or not folder.is_dir():
            continue
        found = [path for path in folder.rglob("*") if path.suffix in (".log", "") and _says_something(path)]
        for path in sorted(found, key=lambda item: item.stat().st_mtime, reverse=True)[:FILES_PER_JOB]:
            told[str(path.relative_to(host.layout.log))] = last_lines(files.tail(path, BYTES), lines)
    monit = last_lines(files.tail(host.layout.monit / "monit.log", BYTES), lines)
    if monit:
        told["monit.log"] = monit
    return told


def _says_something(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size > 0


def last_lines(text: str, count: int) -> str:
    return "\n".join(text.splitlines()[-count:])


ACTION = Action(run)
