"""The parts of the system that the agent sets up: users, folders, mounts, names, certificates, units.

A step answers whether it changed anything. Source: the agent contract, section 3.2.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shutil
import signal
import socket
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from . import files, logrotate, spec
from .errors import ActionError
from .host import Host
from .monit import UNIT

Tree = Dict[str, Any]
BOOT_UNIT = "caisson-boot.service"
GROUPS = ("admin", "bosh_sudoers", "bosh_sshers")
RUN_SIZE = "16m"
READY = "/run/caisson-ready"  # on a new machine the boot unit has nothing to do but what bootstrap has done; gone with a reboot


def keep_settings(host: Host, settings: Tree) -> bool:
    """First, since a reboot may come at any time; secrets are in it."""
    return files.write_json(host.layout.settings, settings)


def users(host: Host, settings: Tree) -> bool:
    """`vcap`, and the groups of people that log in."""
    changed = False
    for name in GROUPS:
        try:
            grp.getgrnam(name)
        except KeyError:
            host.shell.run(["groupadd", "--system", name])
            changed = True
    try:
        pwd.getpwnam("vcap")
    except KeyError:
        host.shell.run(["useradd", "-m", "-U", "-d", "/home/vcap", "-s", "/bin/bash", "-G", ",".join(GROUPS), "vcap"])
        changed = True
    password = str(((settings.get("env") or {}).get("bosh") or {}).get("password") or "")
    if password and _shadow_of(host, "vcap") != password:
        host.shell.run(["chpasswd", "-e"], stdin="vcap:%s\n" % password)
        changed = True
    return changed


def _shadow_of(host: Host, user: str) -> str:
    for line in host.layout.etc("shadow").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == user:
            return fields[1]
    return ""


def sudoers(host: Host, settings: Tree) -> bool:
    return files.write(host.layout.etc("sudoers.d/bosh_sudoers"), "%bosh_sudoers ALL=(ALL) NOPASSWD: ALL\n", 0o440)


def data(host: Host, settings: Tree) -> bool:
    return mount_data(host, settings)


def folders(host: Host, settings: Tree) -> bool:
    """BOSH's folders; per folder the mode of the reference."""
    layout = host.layout
    changed = False
    modes: List[Tuple[Path, int]] = [
        (layout.bosh, 0o755), (layout.bosh / "log", 0o755), (layout.bin, 0o755), (layout.vcap / "bosh_ssh", 0o755), (layout.data, 0o755),
        (layout.jobs, 0o755), (layout.packages, 0o755), (layout.data_jobs, 0o755), (layout.data_packages, 0o755), (layout.blobs, 0o700),
        (layout.compile, 0o755), (layout.tmp, 0o770), (layout.log, 0o770), (layout.run, 0o770), (layout.monit, 0o755),
        (layout.monit_jobs, 0o700), (layout.instance, 0o755), (layout.instance / "dns", 0o755), (layout.data / "sys", 0o755),
    ]
    for path, mode in modes:
        if not path.is_dir() or path.stat().st_mode & 0o7777 != mode:
            host.own(path, mode)
            changed = True
    return files.link(layout.vcap / "sys", layout.inner(layout.data / "sys")) or changed


def run_tmpfs(host: Host, settings: Tree) -> bool:
    return mount_run(host)


def mount_data(host: Host, settings: Tree) -> bool:
    """The ephemeral disk at /var/vcap/data; without one, data stays on the system's disk."""
    hint = (settings.get("disks") or {}).get("ephemeral")
    if not hint or host.disks.source_of(host.layout.data):
        return False
    partition = host.disks.prepare(host.disks.find(hint), "ext4")
    host.disks.mount_at(partition, host.layout.data)
    return True


def mount_run(host: Host) -> bool:
    """sys/run does not outlive a reboot, as pid files must not."""
    run = host.layout.run
    if not host.is_real or host.disks.source_of(run):
        return False
    run.mkdir(parents=True, exist_ok=True)
    host.shell.run(["mount", "-t", "tmpfs", "-o", "size=%s,mode=0770,nodev,nosuid" % RUN_SIZE, "tmpfs", str(run)])
    host.own(run, 0o770)
    return True


def hostname(host: Host, settings: Tree) -> bool:
    """The agent's id, as the reference has it."""
    name = str(settings.get("agent_id") or "")
    if not name:
        return False
    changed = files.write(host.layout.etc("hostname"), name + "\n")
    if host.is_real and socket.gethostname() != name:
        socket.sethostname(name)
        changed = True
    return changed


def hosts(host: Host, settings: Tree) -> bool:
    """The own name, unless DNS records were received, whose hosts file has it too."""
    if host.layout.records.exists():
        return False
    before = host.layout.etc("hosts").read_text() if host.layout.etc("hosts").exists() else ""
    write_hosts(host, [])
    return host.layout.etc("hosts").read_text() != before


def write_hosts(host: Host, records: List[Any]) -> None:
    """`/etc/hosts` with the own name and a line for each record pair."""
    settings = files.read_json(host.layout.settings) or {}
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", "ff02::1 ip6-allnodes", "ff02::2 ip6-allrouters"]
    ip = spec.default_ip(settings.get("networks") or {}) or "127.0.1.1"
    name = settings.get("agent_id")
    if name:
        lines.append("%s %s" % (ip, name))
    lines += ["%s %s" % (address, host_name) for address, host_name in records]
    files.write(host.layout.etc("hosts"), "\n".join(lines) + "\n", 0o644)


def resolver(host: Host, settings: Tree) -> bool:
    """The name servers of the default network, written once for each list: a resolver job may put itself before them later."""
    servers = name_servers(settings.get("networks") or {})
    kept = host.layout.bosh / "name_servers.json"
    if not servers or files.read_json(kept) == servers:
        return False
    if _kept_by_resolved(host):
        files.write(host.layout.etc("systemd/resolved.conf.d/caisson.conf"), "[Resolve]\nDNS=%s\n" % " ".join(servers))
        host.shell.run(["systemctl", "try-restart", "systemd-resolved.service"])
    else:
        files.write(host.layout.etc("resolv.conf"), "".join("nameserver %s\n" % server for server in servers))
    return files.write_json(kept, servers, 0o644)


def _kept_by_resolved(host: Host) -> bool:
    """Whether systemd-resolved answers here: then resolv.conf is a link to a file of its own."""
    path = host.layout.etc("resolv.conf")
    return path.is_symlink() and "/systemd/resolve/" in os.readlink(str(path))


def name_servers(networks: Tree) -> List[str]:
    """Of the network that is the default for `dns`, or of the only one."""
    chosen = [network for network in networks.values() if "dns" in (network.get("default") or [])]
    if not chosen and len(networks) == 1:
        chosen = list(networks.values())
    return [str(server) for network in chosen[:1] for server in network.get("dns") or []]


def rotation(host: Host, settings: Tree) -> bool:
    changed = logrotate.configure(host, spec.load(host.layout))
    timer = host.layout.etc("systemd/system/logrotate.timer.d/caisson.conf")
    return files.write(timer, logrotate.TIMER) or changed


def disk_hints(host: Host, settings: Tree) -> bool:
    """Disks that were attached when the machine was made."""
    known = host.disks.known()
    hints = (settings.get("disks") or {}).get("persistent") or {}
    changed = False
    for cid, hint in hints.items():
        if known.get(cid, {}).get("hint") != hint:
            host.disks.remember(cid, hint=hint)
            changed = True
    return changed


def monit_control(host: Host, settings: Tree) -> bool:
    """The control file, before monit is installed: its package may start it at once."""
    return host.monit.configure(monit_name(host))


def monit_program(host: Host, settings: Tree) -> bool:
    """Install monit where the image lacks it."""
    if host.shell.has("monit"):
        return False
    install(host, "monit")
    return True


def units(host: Host, settings: Tree) -> bool:
    """What runs at boot, and monit as a service of its own; the distribution's monit must not run beside it."""
    folder = host.layout.etc("systemd/system")
    agent = host.layout.bin / "agent.pyz"
    changed = False
    if host.agent_digest:
        changed = files.link(agent, "agent-%s.pyz" % host.agent_digest)
        for path in host.layout.bin.glob("agent-*"):
            if host.agent_digest not in path.name:
                files.remove(path)
    monit = shutil.which("monit", path="/usr/sbin:/usr/bin:/sbin:/bin") or "/usr/bin/monit"
    python = shutil.which("python3") or "/usr/bin/python3"
    written = files.write(folder / BOOT_UNIT, BOOT_TEXT % (python, host.layout.inner(agent)))
    written = files.write(folder / UNIT, MONIT_TEXT % (monit, host.layout.inner(host.layout.monitrc))) or written
    for name in (BOOT_UNIT, UNIT):
        written = files.link(folder / "multi-user.target.wants" / name, "/etc/systemd/system/" + name) or written
    theirs = [host.layout.etc("init.d/monit"), host.layout.root / "lib/systemd/system/monit.service"]
    if any(path.exists() for path in theirs) and files.link(folder / "monit.service", "/dev/null"):
        host.shell.run(["systemctl", "stop", "monit.service"], check=False)
        written = True
    files.link(host.layout.etc("monitrc"), host.layout.inner(host.layout.monitrc))
    return changed or written


def start_monit(host: Host, settings: Tree) -> bool:
    """Units that systemd has not seen yet need no daemon-reload, so only a changed one costs it."""
    if host.monit.is_alive:
        return False
    if host.is_real and not host.layout.spec.exists() and not host.disks.known():
        files.write(Path(READY), "")
    done = host.shell.run(["systemctl", "start", UNIT], check=False)
    if done.exit_code != 0:
        host.shell.run(["systemctl", "daemon-reload"])
        host.shell.run(["systemctl", "start", UNIT])
    return True


BOOT_TEXT = """[Unit]
Description=Caisson: what must be done before jobs start
ConditionPathExists=!/run/caisson-ready
DefaultDependencies=no
After=local-fs.target systemd-remount-fs.service
Before=caisson-monit.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=%s %s boot

[Install]
WantedBy=multi-user.target
"""

MONIT_TEXT = """[Unit]
Description=Monit, which supervises the jobs
Requires=caisson-boot.service
After=caisson-boot.service network.target

[Service]
ExecStart=%s -I -c %s
Restart=always
RestartSec=1
KillMode=process
Delegate=yes
TasksMax=infinity
LimitNOFILE=65536:1048576
OOMPolicy=continue

[Install]
WantedBy=multi-user.target
"""

STEPS: List[Tuple[str, Callable[[Host, Tree], bool]]] = [
    ("users", users),
    ("ephemeral disk", data),
    ("folders", folders),
    ("run tmpfs", run_tmpfs),
    ("settings", keep_settings),
    ("sudoers", sudoers),
    ("hostname", hostname),
    ("hosts", hosts),
    ("resolver", resolver),
    ("disk hints", disk_hints),
    ("log rotation", rotation),
    ("monit control", monit_control),
    ("monit program", monit_program),
    ("units", units),
    ("monit started", start_monit),
]


def install(host: Host, package: str) -> None:
    """Install a package with the distribution's own tool. Raises ActionError which names what failed."""
    if host.shell.has("apt-get"):
        argv = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "-qq", "--no-install-recommends", package]
        if host.shell.run(argv, check=False, timeout=900.0).exit_code == 0:
            return
        host.shell.run(["apt-get", "-o", "DPkg::Lock::Timeout=300", "update", "-qq"], timeout=600.0)
        host.shell.run(argv, timeout=900.0)
        return
    for tool in ("dnf", "yum", "zypper"):
        if host.shell.has(tool):
            host.shell.run([tool, "install", "-y", package], timeout=900.0)
            return
    raise ActionError("The image lacks %s, and has none of apt-get, dnf, yum, zypper to install it" % package)


def monit_name(host: Host) -> str:
    """The name of monit's system service."""
    settings = files.read_json(host.layout.settings) or {}
    return re.sub(r"[^A-Za-z0-9.-]", "-", str(settings.get("agent_id") or "machine"))


def key_line(text: str) -> str:
    """Type and key of an OpenSSH public key line, without its comment."""
    return " ".join(text.split()[:2])


def host_public_key(host: Host) -> str:
    """The key that sshd shows."""
    for kind in ("ed25519", "rsa", "ecdsa"):
        path = host.layout.etc("ssh/ssh_host_%s_key.pub" % kind)
        if path.is_file():
            return key_line(path.read_text())
    return ""


def _hang_up(pid_file: Path) -> bool:
    """Whether a listening sshd has that pid file, and was told."""
    try:
        pid = int(pid_file.read_text())
        if Path("/proc/%d/comm" % pid).read_text().strip() != "sshd":
            return False
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError):
        return False
    return True


def reload_sshd(host: Host) -> None:
    """New connections see the new key; those that stand go on.

    The signal is what the unit's reload sends, without its check of a configuration that nobody changed.
    """
    if host.is_real and _hang_up(Path("/run/sshd.pid")):
        return
    for unit in ("ssh.service", "sshd.service"):
        if host.shell.run(["systemctl", "reload", unit], check=False).exit_code == 0:
            return
    if host.shell.run(["systemctl", "is-active", "--quiet", "ssh.socket"], check=False).exit_code != 0:
        raise ActionError("No sshd runs that could be reloaded")


def trust(host: Host, certificates: str) -> None:
    """Put PEM certificates into the system's store, in place of those put there before."""
    stores = (("usr/local/share/ca-certificates", "update-ca-certificates"), ("etc/pki/ca-trust/source/anchors", "update-ca-trust"))
    for folder, command in stores:
        if not host.shell.has(command):
            continue
        place = host.layout.root / folder
        place.mkdir(parents=True, exist_ok=True)
        for path in place.glob("bosh-trusted-cert-*.crt"):
            path.unlink()
        found = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", certificates, re.DOTALL)
        for number, text in enumerate(found, 1):
            files.write(place / ("bosh-trusted-cert-%d.crt" % number), text + "\n", 0o644)
        host.shell.run([command], timeout=120.0)
        return


def with_dynamic_addresses(host: Host, networks: Tree) -> Tree:
    """The networks, with address, netmask and gateway of those that the cloud chose. Others are kept as they are."""
    if not any(network.get("type") == "dynamic" and not network.get("ip") for network in networks.values()):
        return networks
    found = _default_interface(host)
    return {
        name: dict(network, **found) if network.get("type") == "dynamic" and not network.get("ip") else network
        for name, network in networks.items()
    }


def _default_interface(host: Host) -> Tree:
    import ipaddress

    routes = json.loads(host.shell.run(["ip", "-4", "-j", "route", "show", "default"], check=False).stdout or "[]")
    if not routes:
        return {}
    shown = json.loads(host.shell.run(["ip", "-4", "-j", "addr", "show", "dev", str(routes[0]["dev"])]).stdout or "[]")
    for address in (item for device in shown for item in device.get("addr_info", []) if item.get("scope") == "global"):
        netmask = ipaddress.ip_network("0.0.0.0/%d" % address["prefixlen"]).netmask
        return {"ip": address["local"], "netmask": str(netmask), "gateway": routes[0].get("gateway", "")}
    return {}
