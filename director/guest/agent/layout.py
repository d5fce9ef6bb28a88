"""Where things are on a machine. All paths lie below a root, `/` on a machine and a folder in tests.

Source: the releases contract, section 13; the agent contract, section 3.1.
"""

from __future__ import annotations

from pathlib import Path


class Layout:
    """The paths of one machine. Names are those of the folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.vcap = root / "var/vcap"
        self.bosh = self.vcap / "bosh"
        self.data = self.vcap / "data"
        self.jobs = self.vcap / "jobs"
        self.packages = self.vcap / "packages"
        self.data_jobs = self.data / "jobs"
        self.data_packages = self.data / "packages"
        self.blobs = self.data / "blobs"
        self.tmp = self.data / "tmp"
        self.compile = self.data / "compile"
        self.log = self.data / "sys/log"
        self.run = self.data / "sys/run"
        self.store = self.vcap / "store"
        self.migration_target = self.vcap / "store_migration_target"
        self.monit = self.vcap / "monit"
        self.monit_jobs = self.monit / "job"
        self.monitrc = self.monit / "monitrc"
        self.monit_socket = self.monit / "monit.sock"
        self.monit_pid = self.monit / "monit.pid"
        self.stopped = self.monit / "stopped"
        self.instance = self.vcap / "instance"
        self.records = self.instance / "dns/records.json"
        self.records_word = self.instance / "dns/records.mac"
        self.ring = self.instance / "dns/ring"
        self.resolver_socket = self.run / "bosh-dns/control.sock"
        self.health = self.instance / "health.json"
        self.spec = self.bosh / "spec.json"
        self.settings = self.bosh / "settings.json"
        self.bootstrap = self.bosh / "bootstrap.json"
        self.update_settings = self.bosh / "update_settings.json"
        self.disks = self.bosh / "persistent_disks.json"
        self.agent_log = self.bosh / "log/current"
        self.lock = self.bosh / "agent.lock"
        self.bin = self.bosh / "bin"
        self.start_program = self.bin / "start-program"

    def etc(self, name: str) -> Path:
        """`/etc/NAME`."""
        return self.root / "etc" / name

    def inner(self, path: Path) -> str:
        """The path as the machine's own processes name it: links and scripts hold this one."""
        return "/" + str(path.relative_to(self.root))
