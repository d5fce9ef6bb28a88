"""Runs tests of a CPI once more, in a process of their own, and answers what they sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from exchange_recorder import Exchange, read

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[2]
_SECONDS = 500.0


def exchanges(cloud: str, work: Path, *arguments: str) -> list[Exchange]:
    """What the CPI of a cloud sent in these tests (arguments of pytest). Fails when one of them fails."""
    path = work / "exchanges.jsonl"
    environment = {
        **os.environ, "CAISSON_EXCHANGES": str(path),
        "PYTHONPATH": os.pathsep.join((str(_ROOT), str(_HERE), os.environ.get("PYTHONPATH", "")))}
    for name in ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER"):
        environment.pop(name, None)
    plain = ("-q", "-x", "-p", "exchange_recorder", "-p", "no:cacheprovider", f"--basetemp={work / 'tests'}")
    command = [sys.executable, "-m", "pytest", *plain, *arguments]
    run = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    # The stand-ins themselves send requests, too: to seed, and to servers of the vendor that they stand before.
    return [exchange for exchange in read(path) if exchange.sites and exchange.sites[0].startswith(f"cpis/{cloud}/")]


def shown(complaints: dict[str, Exchange]) -> str:
    """Each complaint once, with where its request comes from."""
    return "\n".join(f"{text}\n    {exchange.where}" for text, exchange in sorted(complaints.items()))
