"""How a director is started: read by `director.service`, written by the command line's flags."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

PORT = 25555


@dataclasses.dataclass(frozen=True)
class DirectorConfig:
    """`state` is the folder that holds everything; `hosts` are further names and addresses for the certificate, `cpi` the
    director's own cloud: what is used where no CPI config names another."""

    state: pathlib.Path
    host: str = "127.0.0.1"
    port: int = PORT
    name: str = "caisson"
    workers: int = 3
    hosts: tuple[str, ...] = ()
    cpi: str = "local"

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def certificate_hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.host, "127.0.0.1", "localhost", *self.hosts)))

    @property
    def pid_file(self) -> pathlib.Path:
        """Held locked by the director while it runs; holds its process id."""
        return self.state / "director.pid"

    @property
    def log_file(self) -> pathlib.Path:
        return self.state / "director.log"


def state_folder(environ: Mapping[str, str], given: str = "") -> pathlib.Path:
    """`--state`, else CAISSON_STATE, else /var/lib/caisson for root and ~/.caisson for others."""
    named = given or environ.get("CAISSON_STATE", "")
    if named:
        return pathlib.Path(named).expanduser().absolute()
    return pathlib.Path("/var/lib/caisson") if os.geteuid() == 0 else pathlib.Path("~/.caisson").expanduser()
