"""What actions work with: the machine, and the request being answered."""

from __future__ import annotations

import grp
import os
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from .disks import Disks
from .errors import Cancelled
from .layout import Layout
from .monit import Monit
from .shell import Shell

Tree = Dict[str, Any]
VERSION = 1


class Host:
    """The machine. Everything that touches it goes through here, so that tests can give another root and another shell."""

    def __init__(
        self, root: Path = Path("/"), shell: Optional[Shell] = None, monit: Optional[Monit] = None, disks: Optional[Disks] = None,
        agent_digest: str = "",
    ) -> None:
        self.layout = Layout(root)
        self.shell = shell or Shell()
        self.monit = monit or Monit(self.layout, self.shell)
        self.disks = disks or Disks(self.layout, self.shell)
        self.agent_digest = agent_digest

    @property
    def is_real(self) -> bool:
        """Whether this is the machine itself, not a folder of a test."""
        return str(self.layout.root) == "/"

    @property
    def vcap_gid(self) -> int:
        """The group that owns jobs' files; the own group before the machine is bootstrapped."""
        try:
            return grp.getgrnam("vcap").gr_gid
        except KeyError:
            return os.getgid()

    def boot_id(self) -> str:
        """Changes with each boot."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""

    def own(self, path: Path, mode: int) -> None:
        """Make the folder, root:vcap with this mode."""
        path.mkdir(parents=True, exist_ok=True)
        os.chown(str(path), os.getuid(), self.vcap_gid)
        path.chmod(mode)


class Call:
    """One request: the host, whether it was cancelled, and a way to tell of progress."""

    def __init__(
        self, host: Host, progress: Callable[[Tree], None] = lambda message: None, cancelled: Optional[threading.Event] = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        self.progress = progress
        self.cancelled = cancelled or threading.Event()
        self.clock = clock

    def check(self) -> None:
        """Raises Cancelled when the request was taken back."""
        if self.cancelled.is_set():
            raise Cancelled()

    def pause(self, seconds: float) -> None:
        """Sleep. Raises Cancelled as soon as the request is taken back."""
        if self.cancelled.wait(seconds):
            raise Cancelled()
