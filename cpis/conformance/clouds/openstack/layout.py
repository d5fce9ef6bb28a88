"""Folders, ports and names of one run of the services."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from pathlib import Path

PASSWORD = "lab"
"""Of the database, of all users of the services, of the operators `demo` and `admin`. It opens nothing but this run, on loopback."""

DATABASES = ("keystone", "placement", "glance", "nova", "nova_api", "nova_cell0", "neutron", "cinder")
REGION = "RegionOne"
ZONE = "nova"
SECOND_ZONE = "z2"
SECOND_HOST = "lab2"


@dataclasses.dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1, one for each daemon that listens."""

    maria: int
    rabbit: int
    rabbit_distribution: int
    epmd: int
    keystone: int
    placement: int
    glance: int
    nova: int
    neutron: int
    cinder: int

    @classmethod
    def free(cls) -> Ports:
        """Ports that nobody uses now, given by the kernel."""
        names = [field.name for field in dataclasses.fields(cls)]
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in names]
            for item in sockets:
                item.bind(("127.0.0.1", 0))
            return cls(*(item.getsockname()[1] for item in sockets))


@dataclasses.dataclass(frozen=True)
class Layout:
    """`home` is the folder of this run, removed at its end; `venv` holds the programs and stays."""

    home: Path
    venv: Path
    ports: Ports

    @property
    def conf(self) -> Path:
        return self.home / "conf"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def maria(self) -> Path:
        return self.home / "maria"

    def program(self, name: str) -> str:
        """The path of a program of the virtual environment."""
        return str(self.venv / "bin" / name)

    def url(self, service: str) -> str:
        """Where a web service listens."""
        return f"http://127.0.0.1:{getattr(self.ports, service)}"

    def database(self, name: str) -> str:
        """The URL by which SQLAlchemy connects."""
        return f"mysql+pymysql://lab:{PASSWORD}@127.0.0.1:{self.ports.maria}/{name}?charset=utf8mb3"

    def make(self) -> None:
        """Make the folders."""
        for name in ("conf", "log", "images", "rabbit", "maria"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        for name in ("fernet", "cred", "staging", "tasks", "lock", "instances", "cinder", "second"):
            (self.state / name).mkdir(parents=True, exist_ok=True)
