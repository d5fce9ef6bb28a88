"""After a reboot, before monit: disks mounted, tmpfs and the jobs' folders in it made again."""

from __future__ import annotations

from . import files, spec
from .host import Host
from .system import mount_data, mount_run


def run(host: Host) -> None:
    """Raises ActionError when a persistent disk is missing: no job may start on an empty store."""
    settings = files.read_json(host.layout.settings) or {}
    mount_data(host, settings)
    mount_run(host)
    for name in spec.load(host.layout).jobs:
        host.own(host.layout.run / name, 0o770)
    host.disks.at_boot()
