"""How a director is started: read by `director.service`, written by the command line's flags."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping

from director.errors import UsageError

PORT = 25555
EVERYWHERE = ("0.0.0.0", "::")
_BLOBS_URL = re.compile(r"https://(?:([A-Za-z0-9.-]+)|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?/?")


@dataclasses.dataclass(frozen=True)
class DirectorConfig:
    """`state` is the folder that holds everything; `hosts` are further names and addresses for the certificate, `cpi` the
    director's own cloud: what is used where no CPI config names another. `blobs_url` is `https://HOST:PORT` under which machines
    reach this director to fetch blobs themselves; where it is empty, blobs travel over SSH. `names_wait` is how many seconds machines are
    given to take new DNS records, before an instance goes that they could still find. Raises UsageError when one cannot be used."""

    state: pathlib.Path
    host: str = "127.0.0.1"
    port: int = PORT
    name: str = "caisson"
    workers: int = 3
    hosts: tuple[str, ...] = ()
    cpi: str = "local"
    blobs_url: str = ""
    names_wait: float = 20.0

    def __post_init__(self) -> None:
        if not 0 <= self.names_wait <= 3600:
            raise UsageError("--names-wait is a number of seconds between 0 and 3600", suggestion="Without the flag it is 20.")
        if self.blobs_url and not _BLOBS_URL.fullmatch(self.blobs_url):
            raise UsageError(
                "The URL under which machines fetch blobs must be https://HOST or https://HOST:PORT",
                suggestion="Give '--blobs-url' the scheme, the host and the port only, such as https://10.0.0.6:25555.",
            )

    @property
    def local_host(self) -> str:
        """Where this computer reaches the director."""
        return "127.0.0.1" if self.host in EVERYWHERE else self.host

    @property
    def url(self) -> str:
        return f"https://{self.local_host}:{self.port}"

    @property
    def certificate_hosts(self) -> tuple[str, ...]:
        found = _BLOBS_URL.fullmatch(self.blobs_url)
        for_machines = (found[1] or found[2],) if found else ()
        return tuple(dict.fromkeys((self.local_host, "127.0.0.1", "localhost", *self.hosts, *for_machines)))

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
