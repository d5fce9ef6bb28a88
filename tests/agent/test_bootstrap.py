"""Bootstrap in a folder: the agent contract, section 3.2."""

from __future__ import annotations

import grp
import json
import pwd
import re
from typing import Any

import pytest

from director.guest.agent import system
from director.guest.agent.actions import bootstrap, rotate_host_key, update_settings
from director.guest.agent.errors import ActionError

from .conftest import Machine

NETWORKS = {
    "a": {"ip": "10.0.0.5", "dns": ["10.0.0.2"], "default": ["dns"]},
    "b": {"ip": "10.1.0.5", "dns": ["10.1.0.2"], "default": ["gateway"]},
}
SETTINGS = {
    "agent_id": "agent-1", "networks": NETWORKS, "env": {"bosh": {"password": "$6$x"}}, "disks": {"persistent": {"disk-1": "/dev/sdb"}},
}
OLD = {"ssh_host_ed25519_key__pub": "ssh-ed25519 OLD"}


@pytest.fixture
def stock(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine of a stock image: no users, no monit."""

    def missing(name: str) -> Any:
        raise KeyError(name)

    monkeypatch.setattr(grp, "getgrnam", missing)
    monkeypatch.setattr(pwd, "getpwnam", missing)
    shadow = machine.host.layout.etc("shadow")
    shadow.parent.mkdir(parents=True)
    shadow.write_text("root:*:1\nvcap:!:1\n")
    machine.shell.lacks.add("monit")
    machine.monit.alive = False
    return machine


def test_a_stock_image_is_made_ready(stock: Machine) -> None:
    done = bootstrap.run(stock.call(), SETTINGS)
    layout = stock.host.layout
    assert {"users", "folders", "hostname", "hosts", "resolver", "monit program", "units", "disk hints"} <= set(done["changed"])
    lines = [" ".join(argv) for argv in stock.shell.ran]
    assert any(line.startswith("useradd -m -U -d /home/vcap") and line.endswith("vcap") for line in lines)
    assert "apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends monit" in lines
    assert not any("$6$x" in line for line in lines)
    assert layout.etc("hostname").read_text() == "agent-1\n"
    assert layout.etc("resolv.conf").read_text() == "nameserver 10.0.0.2\n"
    assert "10.0.0.5 agent-1" in layout.etc("hosts").read_text()
    assert layout.settings.stat().st_mode & 0o777 == 0o600
    assert stock.host.disks.known()["disk-1"]["hint"] == "/dev/sdb"
    unit = layout.etc("systemd/system/caisson-monit.service").read_text()
    assert "Requires=caisson-boot.service" in unit
    assert "KillMode=process" in unit


def test_done_before_costs_one_look(stock: Machine) -> None:
    bootstrap.run(stock.call(), SETTINGS)
    stock.shell.ran.clear()
    assert bootstrap.run(stock.call(), SETTINGS)["changed"] == []
    assert stock.shell.ran == []


def test_a_resolver_of_a_job_is_not_overwritten(stock: Machine) -> None:
    bootstrap.run(stock.call(), SETTINGS)
    stock.host.layout.etc("resolv.conf").write_text("nameserver 169.254.0.2\n")
    bootstrap.run(stock.call(), {**SETTINGS, "ntp": ["x"]})
    assert stock.host.layout.etc("resolv.conf").read_text() == "nameserver 169.254.0.2\n"


def test_systemd_resolved_keeps_its_file_and_learns_the_servers(stock: Machine) -> None:
    path = stock.host.layout.etc("resolv.conf")
    path.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    bootstrap.run(stock.call(), SETTINGS)
    assert path.is_symlink()
    assert stock.host.layout.etc("systemd/resolved.conf.d/caisson.conf").read_text() == "[Resolve]\nDNS=10.0.0.2\n"
    assert ["systemctl", "try-restart", "systemd-resolved.service"] in stock.shell.ran


def test_an_image_that_monit_cannot_be_installed_on(stock: Machine) -> None:
    stock.shell.lacks |= {"apt-get", "dnf", "yum", "zypper"}
    with pytest.raises(ActionError, match="The image lacks monit"):
        bootstrap.run(stock.call(), SETTINGS)


def test_name_servers_of_the_only_network() -> None:
    assert system.name_servers({"n": {"dns": ["1.1.1.1"]}}) == ["1.1.1.1"]
    assert system.name_servers({"n": {}, "m": {"dns": ["1.1.1.1"]}}) == []


def key_files(machine: Machine, **contents: str) -> None:
    folder = machine.host.layout.etc("ssh")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_a_crash_between_the_two_renames_of_a_host_key_is_completed(machine: Machine) -> None:
    key_files(machine, ssh_host_ed25519_key="new private", caisson_next_host_key__pub="ssh-ed25519 NEW x", **OLD)
    key_files(machine, ssh_host_rsa_key="old", ssh_host_rsa_key__pub="ssh-rsa OLD")
    rotate_host_key.run(machine.call(), "activate", "ssh-ed25519 NEW")
    folder = machine.host.layout.etc("ssh")
    assert (folder / "ssh_host_ed25519_key").read_text() == "new private"
    assert system.host_public_key(machine.host) == "ssh-ed25519 NEW"
    assert not list(folder.glob("ssh_host_rsa*"))
    assert ["systemctl", "reload", "ssh.service"] in machine.shell.ran


def test_only_the_prepared_key_is_activated(machine: Machine) -> None:
    key_files(machine, caisson_next_host_key="private", caisson_next_host_key__pub="ssh-ed25519 NEW", **OLD)
    with pytest.raises(ActionError, match="not the one that was prepared"):
        rotate_host_key.run(machine.call(), "activate", "ssh-ed25519 OTHER")
    assert rotate_host_key.run(machine.call(), "prepare") == {"public_key": "ssh-ed25519 NEW"}
    (machine.host.layout.etc("ssh") / "caisson_next_host_key").unlink()
    (machine.host.layout.etc("ssh") / "caisson_next_host_key.pub").unlink()
    with pytest.raises(ActionError, match="was not prepared on this machine"):
        rotate_host_key.run(machine.call(), "activate", "ssh-ed25519 OTHER")


def test_trusted_certificates_replace_those_before(machine: Machine) -> None:
    def certificate(name: str) -> str:
        return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"

    place = machine.root / "usr/local/share/ca-certificates"
    update_settings.run(machine.call(), {"trusted_certs": certificate("a") + certificate("b"), "tags": {"x": "y"}})
    assert len(list(place.iterdir())) == 2
    update_settings.run(machine.call(), {"trusted_certs": certificate("c")})
    (only,) = place.iterdir()
    assert re.search("^c$", only.read_text(), re.MULTILINE)
    assert machine.shell.ran == [["update-ca-certificates"]] * 2
    update_settings.run(machine.call(), {"trusted_certs": certificate("c")})
    assert len(machine.shell.ran) == 2
    assert json.loads(machine.host.layout.update_settings.read_text())["tags"] == {"x": "y"}
