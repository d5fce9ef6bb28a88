"""The programs: a virtual environment with the services from PyPI, one with Octavia, and the two daemons from Debian."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cpis.conformance.standin import Skipped

SERVICES = ("nova", "neutron", "keystone", "glance", "cinder", "openstack-placement")
RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

_BUILD_TOOLS = ("wheel", "uwsgi", "pymysql")
_PATIENCE_SECONDS = 900

log = logging.getLogger("cpis")


def environment(folder: Path, services: Sequence[str] = ()) -> Path:
    """The virtual environment in this folder with `services` (SERVICES), made when it is not there or half made: about 3 minutes, 680 MB.

    Raises Skipped when the packages cannot be had.
    """
    venv = folder / "venv"
    made = folder / "made"
    if made.is_file():
        return venv
    folder.mkdir(parents=True, exist_ok=True)
    services = services or SERVICES
    log.info("installing %s into %s", ", ".join(services), venv)
    _venv(venv)
    for names in filter(None, (_BUILD_TOOLS, services)):
        _run([*_pip(venv), "--quiet", "--disable-pip-version-check", *names])
    made.write_text("\n".join(services) + "\n")
    return venv


def octavia(folder: Path) -> Path:
    """The virtual environment of Octavia, which wants other versions than the services, beside theirs: 220 MB. Raises Skipped."""
    return environment(folder / "octavia", ("octavia",))


def need_daemons() -> None:
    """Raises Skipped when MariaDB or RabbitMQ is not installed."""
    missing = [name for name in ("mariadbd", "mariadb-install-db", "epmd") if shutil.which(name) is None]
    if not RABBIT.is_file():
        missing.append(str(RABBIT))
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)} (apt-get install mariadb-server rabbitmq-server)")


def _venv(venv: Path) -> None:
    _run([sys.executable, "-m", "venv", "--clear", str(venv)])


def _pip(venv: Path) -> list[str]:
    return [str(venv / "bin" / "pip"), "install"]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Skipped(f"the OpenStack packages did not install within {_PATIENCE_SECONDS} s") from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Skipped(f"the OpenStack packages cannot be had: {lines[-1] if lines else command}")
