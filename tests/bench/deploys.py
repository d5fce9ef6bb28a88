"""Deployments on real machines, each beside a bare boot of as many, or the bare round trip to them."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

from cpis.local.names import Names
from tests.bench import bare
from tests.bench.rows import Row
from tests.bench.world import ROOT, World, median, seconds

MACHINES = 10
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")


def idle_20(world: World) -> list[Row]:
    manifest = world.idle(20)
    assert world.director
    before = bare.boot_seconds(world, 20)
    value = seconds(lambda: world.deploy("idle", manifest))
    works = running(world, "idle") == 20
    reached = _reached(world, 20)
    world.delete("idle")
    # Once more afterwards: the target follows the peer, and a computer is not equally busy all the time.
    peer = (before + bare.boot_again(world, 20)) / 2
    return [Row("20 machines with one idle job", value, "s", 3 * peer, bare_boot(20, peer), peer, works), reached]


def _reached(world: World, count: int) -> Row:
    """Another deployment's machine comes: from the version of the records that names it to the last machine that has written it."""
    more = Path(world.idle(1)).read_text().replace("name: idle\nreleases", "name: more\nreleases")
    files = list((world.director.state / "local").glob("vms/*/upper/var/vcap/instance/dns/records.json"))
    world.deploy("more", world.file("more.yml", more))
    with contextlib.closing(sqlite3.connect(f"file:{world.director.state}/caisson.db?mode=ro", uri=True)) as connection:
        made = connection.execute("select max(created_at) from dns_versions").fetchone()[0]
    value = max(file.stat().st_mtime for file in files) - made
    world.delete("more")
    works = len(files) == count
    return Row(f"records: a change reaches {count} machines", value, "s", 2, "over new SSH connections to all of them", works=works)


def idle_50(world: World) -> list[Row]:
    peer = bare.boot_seconds(world, 50)
    manifest = world.idle(50)
    assert world.director
    before = available_mib()
    value = seconds(lambda: world.deploy("idle", manifest))
    works = running(world, "idle") == 50
    used = (before - available_mib()) / 50
    world.delete("idle")
    return [
        Row("50 machines with one idle job", value, "s", None, bare_boot(50, peer), peer, works),
        Row("memory of one of 50 machines", used, "MiB", None, "its limit: 512 MiB", 512.0),
    ]


def foundation(world: World) -> list[Row]:
    manifest = world.foundation
    peer = bare.boot_seconds(world, MACHINES)
    value = seconds(lambda: world.deploy("foundation", manifest))
    works = running(world, "foundation") == MACHINES
    world.once("deployed", lambda: True)
    return [Row("foundation running, image and packages there", value, "s", 60, bare_boot(MACHINES, peer), peer, works)]


def no_op(world: World) -> list[Row]:
    manifest = deployed(world)
    addresses = world.addresses("foundation")
    value = median(lambda: world.deploy("foundation", manifest), 5)
    peer = median(lambda: ssh_true(world, addresses), 5)
    compared = f"`ssh true` to its {len(addresses)} machines at once: {peer:.2f} s"
    return [Row("no-op deploy of the foundation", value, "s", 3, compared, peer)]


def recreate(world: World) -> list[Row]:
    deployed(world)
    peer = bare.boot_seconds(world, 1)
    value = median(lambda: world.director.run("-d", "foundation", "recreate", "hello/0"), 3)
    works = running(world, "foundation") == MACHINES
    return [Row("recreate one machine", value, "s", 12, bare_boot(1, peer), peer, works)]


def agents(world: World) -> list[Row]:
    """Processes of agents, counted from outside, where nothing is hidden."""
    deployed(world)
    group = Names(world.director.state / "local").group
    left = [process for process in _processes() if group in _read(process / "cgroup") and "/agent-" in _read(process / "cmdline")]
    return [Row("agent processes left on machines", float(len(left)), "", 0, "none: 0")]


def at_rest(world: World) -> list[Row]:
    """After all that was done before."""
    deployed(world)
    subprocess.run(["sleep", "10"], check=True)
    value = rss_mib(world.director.pid())
    children = {_read(process / "comm").strip(): rss_mib(int(process.name)) for process in _processes()
                if f"PPid:\t{world.director.pid()}\n" in _read(process / "status")}
    ruby = children.get("ruby", 0.0)
    python = rss_of_import()
    compared = f"Python with the director's modules imported: {python:.0f} MiB (its Ruby renderer beside it: {ruby:.0f} MiB)"
    return [Row("director at rest, resident memory", value, "MiB", 150, compared, python)]


def bare_boot(count: int, took: float) -> str:
    return f"bare nspawn boot of {count} until sshd answers: {took:.2f} s"


def deployed(world: World) -> str:
    """The manifest of the foundation, which runs."""
    world.once("deployed", lambda: bool(world.deploy("foundation", world.foundation)))
    return world.foundation


def running(world: World, name: str) -> int:
    return sum(row["process_state"] == "running" for row in world.director.instances(name))


def ssh_true(world: World, addresses: list[str]) -> None:
    """OpenSSH, all at once."""
    started = [subprocess.Popen([*SSH, "-i", world.login_key, f"caisson@{address}", "true"]) for address in addresses]
    codes = [process.wait() for process in started]
    assert not any(codes), codes


def available_mib() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 1024


def rss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0) / 1024


def rss_of_import() -> float:
    code = "import director.service; print([l for l in open('/proc/self/status') if l.startswith('VmRSS')][0].split()[1])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return int(done.stdout) / 1024


def _processes() -> list[Path]:
    return [path for path in Path("/proc").iterdir() if path.name.isdigit()]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
