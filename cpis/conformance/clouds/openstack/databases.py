"""Databases for a run: copied from a template that no service has ever run on, which is made once and kept beside the programs.

Databases that services have run on cannot be used again: a restarted nova-compute with the fake hypervisor refuses them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cpis.conformance.clouds.openstack import packages
from cpis.conformance.clouds.openstack.daemons import Daemons, Failed
from cpis.conformance.clouds.openstack.layout import DATABASES, PASSWORD, Layout

_AT_ONCE = 3


def prepare(layout: Layout, daemons: Daemons, folder: Path) -> None:
    """Start the database with all tables, Keystone's first user and Nova's cells, and nothing else. Raises Failed.

    `folder` holds the template, made here when it is not there.
    """
    template = folder / f"template-{_versions(layout.venv)}"
    if not template.is_dir():
        _install(layout)
        daemons.maria()
        _migrate(layout, daemons)
        daemons.stop("maria")
        _keep(layout, template)
    else:
        shutil.copytree(template / "data", layout.maria / "data")
        for name in ("fernet", "cred"):
            shutil.copytree(template / name, layout.state / name, dirs_exist_ok=True)
    daemons.maria()


def _versions(venv: Path) -> str:
    """A digest of what the tables depend on."""
    site = next((venv / "lib").glob("python3*/site-packages"))
    names = sorted(path.name for name in packages.SERVICES for path in site.glob(f"{name.replace('-', '_')}-*.dist-info"))
    return hashlib.sha256(" ".join([*names, "1"]).encode()).hexdigest()[:12]


def _install(layout: Layout) -> None:
    command = [
        "mariadb-install-db", "--no-defaults", f"--datadir={layout.maria}/data", "--auth-root-authentication-method=normal",
        "--skip-test-db", "--innodb-log-file-size=32M", *(["--user=root"] if os.geteuid() == 0 else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Failed(f"mariadb-install-db: {(done.stderr or done.stdout)[-2000:]}")


def _migrate(layout: Layout, daemons: Daemons) -> None:
    statements = [f"CREATE DATABASE {name} CHARACTER SET utf8mb3;" for name in DATABASES]
    statements += [f"CREATE USER 'lab'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';", "GRANT ALL ON *.* TO 'lab'@'127.0.0.1';"]
    subprocess.run(
        ["mariadb", "--no-defaults", f"--socket={layout.maria}/s.sock", "--user=root"], input="\n".join(statements), text=True, check=True,
        capture_output=True, timeout=60)
    conf = layout.conf
    nova = ("nova-manage", "--config-file", f"{conf}/nova.conf")

    def keystone() -> None:
        command = ("keystone-manage", "--config-file", f"{conf}/keystone.conf")
        user = str(os.geteuid()), str(os.getegid())
        daemons.manage(*command, "db_sync")
        for what in ("fernet_setup", "credential_setup"):
            daemons.manage(*command, what, "--keystone-user", user[0], "--keystone-group", user[1])
        daemons.manage(*command, "bootstrap", "--bootstrap-password", PASSWORD)

    def compute() -> None:
        # Cells name the database and the queue by template, so that they hold for the ports of later runs.
        place = "{scheme}://{username}:{password}@{hostname}:{port}"
        daemons.manage(*nova, "api_db", "sync")
        daemons.manage(*nova, "cell_v2", "map_cell0", "--database_connection", f"{place}/nova_cell0?{{query}}")
        daemons.manage(
            *nova, "cell_v2", "create_cell", "--name", "cell1", "--database_connection", f"{place}/nova?{{query}}",
            "--transport-url", f"{place}/")
        daemons.manage(*nova, "db", "sync")

    jobs = [
        keystone, compute,
        lambda: daemons.manage("neutron-db-manage", "--config-file", f"{conf}/neutron.conf", "upgrade", "heads"),
        lambda: daemons.manage("cinder-manage", "--config-file", f"{conf}/cinder.conf", "db", "sync"),
        lambda: daemons.manage("glance-manage", "--config-file", f"{conf}/glance-api.conf", "db_sync"),
        lambda: daemons.manage("placement-manage", "--config-file", f"{conf}/placement.conf", "db", "sync"),
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for outcome in [pool.submit(job) for job in jobs]:
            outcome.result()


def _keep(layout: Layout, template: Path) -> None:
    """Whole or not at all: a folder that is renamed when it is complete."""
    making = template.with_name(f"{template.name}.{os.getpid()}")
    shutil.copytree(layout.maria / "data", making / "data")
    for name in ("fernet", "cred"):
        shutil.copytree(layout.state / name, making / name)
    try:
        making.rename(template)
    except OSError:  # another run was faster
        shutil.rmtree(making)
