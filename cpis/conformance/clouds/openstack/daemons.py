"""Processes of the services: each in a process group of its own, its output in a file, ended by pid."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cpis.conformance.clouds.openstack.layout import Layout
from cpis.conformance.clouds.openstack.packages import RABBIT

_GRACE_SECONDS = 15.0

# Source: openstack-lab.md. Without `Connection: close` clients see resets; without chunked input images cannot be uploaded.
_UWSGI = (
    "--processes", "1", "--threads", "4", "--enable-threads", "--lazy-apps", "--need-app", "--die-on-term", "--http-chunked-input",
    "--http-auto-chunked", "--buffer-size", "65535", "--thunder-lock", "--add-header", "Connection: close", "--disable-logging",
)
_WEB = {
    "keystone": "keystone.wsgi.api", "placement": "placement.wsgi.api", "glance": "glance.wsgi.api", "nova": "nova.wsgi.osapi_compute",
    "neutron": "neutron.wsgi.api", "cinder": "cinder.wsgi.api",
}


class Failed(Exception):
    """A service did not start, or a command of one failed; the text has the end of its output."""


class Daemons:
    """The processes of one run. `environment` is what the services need to find their configuration."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = _environment(layout)
        # See there. Its input is a pipe that ends with this process, however that ends.
        self._watch = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("watch.py"))], stdin=subprocess.PIPE, text=True,
            start_new_session=True)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        with (self._layout.log / f"{name}.out").open("wb") as output:
            self._running[name] = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=self._layout.home, start_new_session=True,
                env={**self.environment, **(environment or {})})
        self._tell(f"+{self._running[name].pid}")

    def _tell(self, line: str) -> None:
        if self._watch.stdin is not None and not self._watch.stdin.closed:
            print(line, file=self._watch.stdin, flush=True)

    def web(self, name: str) -> None:
        """Start a web service on its port."""
        more = ("--pyargv", f"--config-file {self._layout.conf}/cinder.conf") if name == "cinder" else ()
        port = getattr(self._layout.ports, name)
        self.start(f"{name}-api", [
            self._layout.program("uwsgi"), "--http-socket", f"127.0.0.1:{port}", "--module", f"{_WEB[name]}:application", *_UWSGI, *more])

    def worker(self, name: str, second: bool = False) -> None:
        """Start a daemon such as `nova-compute`; the `second` is that of the second hypervisor."""
        files = [f"{name.split('-')[0]}.conf", *(["second.conf"] if second else [])]
        options = [option for file in files for option in ("--config-file", str(self._layout.conf / file))]
        self.start(f"{name}{'-2' if second else ''}", [self._layout.program(name), *options])

    def maria(self) -> None:
        """Start the database and wait until it takes connections."""
        home = self._layout.maria
        self.start("maria", [
            "mariadbd", "--no-defaults", f"--datadir={home}/data", "--bind-address=127.0.0.1", f"--port={self._layout.ports.maria}",
            f"--socket={home}/s.sock", f"--pid-file={home}/pid", "--innodb-buffer-pool-size=128M", "--innodb-log-file-size=32M",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--sync-binlog=0", "--skip-log-bin",
            "--max-connections=400", "--character-set-server=utf8mb3", *(["--user=root"] if os.geteuid() == 0 else [])])
        self.wait("maria", lambda: _listens(self._layout.ports.maria), 60)

    def rabbit(self) -> None:
        """Start the message queue. Its port mapper too: RabbitMQ would leave one behind that outlives it and listens everywhere."""
        ports, home = self._layout.ports, self._layout.home / "rabbit"
        (home / "enabled_plugins").write_text("[].\n")
        (home / "rabbitmq.conf").write_text("vm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 200MB\n")
        environment = {
            "HOME": str(home), "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(ports.epmd), "RABBITMQ_NODENAME": "lab@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(ports.rabbit),
            "RABBITMQ_DIST_PORT": str(ports.rabbit_distribution), "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"), "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"), "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
        }
        self.start("epmd", ["epmd", "-address", "127.0.0.1", "-port", str(ports.epmd)], environment)
        self.wait("epmd", lambda: _listens(ports.epmd), 10)
        self.start("rabbit", [str(RABBIT)], environment)

    def manage(self, *command: str) -> None:
        """Run a command of a service to its end. Raises Failed."""
        done = subprocess.run(
            [self._layout.program(command[0]), *command[1:]], capture_output=True, text=True, timeout=300, env=self.environment,
            cwd=self._layout.home)
        if done.returncode:
            raise Failed(f"{' '.join(command[:4])}: {(done.stderr or done.stdout)[-2000:]}")

    def wait(self, name: str, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready`, while the process lives. Raises Failed with the end of its output."""
        deadline = time.monotonic() + seconds
        while not ready():
            process = self._running.get(name)
            if time.monotonic() > deadline or (process is not None and process.poll() is not None):
                path = self._layout.log / f"{name}.out"
                ended = f"ended with {process.returncode}" if process is not None and process.poll() is not None else "is not ready"
                raise Failed(f"{name} {ended} after {seconds:.0f} s at most: {path.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def stop(self, *names: str) -> None:
        """End these (all, without names): newest first, asked and then killed, each with all of its process group."""
        chosen = [name for name in reversed(self._running) if not names or name in names]
        for name in chosen:
            _signal(self._running[name], signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for name in chosen:
            process = self._running.pop(name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            _signal(process, signal.SIGKILL)
            process.wait()
            self._tell(f"-{process.pid}")

    def close(self) -> None:
        """End all, and the watch over them."""
        self.stop()
        if self._watch.stdin is not None:
            self._watch.stdin.close()
        self._watch.wait()

    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [process.pid for process in self._running.values() if process.poll() is None]


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """To the process group that the process leads; it may be empty already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _environment(layout: Layout) -> dict[str, str]:
    conf = str(layout.conf)
    path = Path(layout.program("python")).parent
    return {
        "PATH": f"{path}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(layout.home), "LANG": "C.UTF-8", "TMPDIR": "/tmp",
        "PYTHONPATH": str(layout.home / "plugins"), "PYTHONWARNINGS": "ignore", "OS_KEYSTONE_CONFIG_DIR": conf,
        "OS_PLACEMENT_CONFIG_DIR": conf, "OS_NOVA_CONFIG_DIR": conf, "OS_NEUTRON_CONFIG_DIR": conf, "OS_GLANCE_CONFIG_DIR": conf,
        "OS_NOVA_CONFIG_FILES": "nova-api-paste.ini;nova.conf", "OS_NEUTRON_CONFIG_FILES": "neutron.conf",
    }
