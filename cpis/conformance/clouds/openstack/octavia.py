"""Octavia's own API on loopback, with a provider that does nothing: what it takes, answers and refuses, not what balances.

Beside the other services, not among them: its packages (200 MB) are in an environment of their own, its database is a file, and it asks
nobody who its callers are.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import httpx

from cpis.conformance.clouds.openstack import packages
from cpis.conformance.clouds.openstack.daemons import Failed

_START_SECONDS = 600.0
_SETTLE_SECONDS = 60.0

log = logging.getLogger("cpis")

# Run by the environment's Python. Arguments: port, folder, seconds for which a changed load balancer refuses the next change. It ends with
# its input. A provider's agent tells Octavia when a change is done; here a thread does.
_PROGRAM = '''
import os, socketserver, sys, threading, time, wsgiref.simple_server

port, folder, busy = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])

from octavia.api import app
from octavia.common import constants
from octavia.db import api, base_models, models
from oslo_config import cfg

words = {
    models.ProvisioningStatus: constants.SUPPORTED_PROVISIONING_STATUSES, models.Algorithm: constants.SUPPORTED_LB_ALGORITHMS,
    models.HealthMonitorType: constants.SUPPORTED_HEALTH_MONITOR_TYPES, models.Protocol: constants.SUPPORTED_PROTOCOLS,
    models.OperatingStatus: constants.SUPPORTED_OPERATING_STATUSES, models.SessionPersistenceType: constants.SUPPORTED_SP_TYPES,
    models.LBTopology: constants.SUPPORTED_LB_TOPOLOGIES, models.ClientAuthenticationMode: constants.SUPPORTED_CLIENT_AUTH_MODES,
}
application = app.setup_app(argv=["octavia", "--config-file", os.path.join(folder, "octavia.conf")])
cfg.CONF.set_override("pool_timeout", None, "database")  # which SQLite does not know
base_models.BASE.metadata.create_all(api.get_engine())
session = api.get_session()
with session.begin():
    for model, names in words.items():
        session.add_all([model(name=name) for name in names])


def settle():
    seen = {}
    while True:
        time.sleep(0.1)
        session = api.get_session()
        with session.begin():
            for model in (models.Member, models.Pool, models.LoadBalancer):
                for row in session.query(model).filter(model.provisioning_status.like("PENDING_%")):
                    key = (row.id, row.provisioning_status)
                    if time.monotonic() - seen.setdefault(key, time.monotonic()) < busy:
                        continue
                    del seen[key]
                    if row.provisioning_status == "PENDING_DELETE":
                        session.delete(row)
                    else:
                        row.provisioning_status = "ACTIVE"


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


threading.Thread(target=settle, daemon=True).start()
server = wsgiref.simple_server.make_server("127.0.0.1", port, application, server_class=Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
'''
_SETTINGS = """[DEFAULT]
log_file={folder}/octavia.log
[database]
connection=sqlite:///{folder}/octavia.db
[api_settings]
auth_strategy=noauth
default_provider_driver=noop_driver
enabled_provider_drivers=noop_driver:nothing
[controller_worker]
network_driver=network_noop_driver
"""


class Octavia:
    """One run. `folder` is written to; `busy` are the seconds for which a load balancer refuses changes after one. Raises Skipped when the
    packages cannot be had, Failed when it does not start."""

    def __init__(self, packages_folder: Path, folder: Path, busy: float = 1.0) -> None:
        venv = packages.octavia(packages_folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._client = httpx.Client(base_url=self.url, timeout=60.0, trust_env=False)
        (folder / "octavia.conf").write_text(_SETTINGS.format(folder=folder))
        self._output = folder / "octavia.out"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [venv / "bin/python", "-W", "ignore", "-c", _PROGRAM, str(port), str(folder), str(busy)], stdin=subprocess.PIPE,
                stdout=output, stderr=output, start_new_session=True)
        try:
            self._wait_until_up()
        except BaseException:
            self.close()
            raise

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._client.get("/").raise_for_status()
                return
            except httpx.HTTPError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"Octavia does not start: {error}: {self._output.read_text(errors='replace')[-2000:]}") from error
            time.sleep(0.2)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, or None. Raises httpx.HTTPStatusError."""
        answer = self._client.request(method, path, json=body)
        if answer.is_error:
            raise httpx.HTTPStatusError(f"{method} {path}: {answer.text}", request=answer.request, response=answer)
        return answer.json() if answer.content else None

    def pool(self, name: str) -> str:
        """The id of a new pool, with a load balancer of its own, ready for members."""
        balancer = self("POST", "/v2/lbaas/loadbalancers", {"loadbalancer": {
            "name": name, "vip_subnet_id": str(uuid.uuid4()), "project_id": "project"}})["loadbalancer"]["id"]
        self._settled(balancer)
        made: str = self("POST", "/v2/lbaas/pools", {"pool": {
            "name": name, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "loadbalancer_id": balancer}})["pool"]["id"]
        self._settled(balancer)
        return made

    def _settled(self, balancer: str) -> None:
        deadline = time.monotonic() + _SETTLE_SECONDS
        while self("GET", f"/v2/lbaas/loadbalancers/{balancer}")["loadbalancer"]["provisioning_status"] != "ACTIVE":
            if time.monotonic() > deadline:
                raise Failed(f"the load balancer {balancer} is not ready after {_SETTLE_SECONDS:.0f} s")
            time.sleep(0.1)

    def members(self, pool: str) -> list[dict[str, Any]]:
        """Those of a pool that are not on their way out."""
        found = self("GET", f"/v2/lbaas/pools/{pool}/members")["members"]
        return [member for member in found if member["provisioning_status"] != "PENDING_DELETE"]

    def close(self) -> None:
        """End the process."""
        self._client.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
