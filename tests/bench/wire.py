"""The connection to one machine: how soon it stands, how fast a call and a file go over it."""

from __future__ import annotations

import os
import shutil
import subprocess

from director.machine.agent import Agent
from director.machine.endpoint import Endpoint
from director.machine.session import connect
from director.state import Store
from tests.bench.deploys import SSH, deployed
from tests.bench.rows import Row
from tests.bench.world import World, median, seconds

FILE_MIB = 128
TARGET = "/var/vcap/data/tmp/bench"


def ssh(world: World) -> list[Row]:
    deployed(world)
    key = (world.director.state / "login.key").read_text()
    with Store(world.director.state / "caisson.db") as store:
        vm = next(row for row in store.vms.of("foundation") if row.active)
    endpoint = Endpoint(vm.cid, vm.address, vm.host_public_key, vm.ssh_port, vm.ssh_user)
    dial = 1000 * median(lambda: connect(endpoint, key).close(), 9)
    openssh = 1000 * median(lambda: subprocess.run([*SSH, "-i", world.login_key, f"caisson@{vm.address}", "true"], check=True), 9)
    session = connect(endpoint, key)
    try:
        agent = Agent(session)
        first = 1000 * seconds(agent.ping)
        ping, state = 1000 * median(agent.ping, 99), 1000 * median(agent.get_state, 49)
        execute = 1000 * median(lambda: session.run("true"), 19)
        file = world.folder / "file"
        file.write_bytes(os.urandom(FILE_MIB << 20))
        put = FILE_MIB / min(seconds(lambda: session.put_file(file, TARGET)) for _ in range(2))
        copy = FILE_MIB / seconds(lambda: shutil.copyfile(file, world.folder / "copy"))
        agent.remove_file(TARGET)
    finally:
        session.close()
    on_channel = f"`true` by exec on the open connection: {execute:.1f} ms"
    return [
        Row("SSH connection", dial, "ms", None, f"OpenSSH's `ssh true`: {openssh:.0f} ms", openssh),
        Row("agent started on it", first, "ms", None, on_channel, execute),
        Row("agent call, ping", ping, "ms", None, on_channel, execute),
        Row("agent call, state of the machine", state, "ms", None, on_channel, execute),
        Row("file to the machine", put, "MB/s", None, f"copy on this computer: {copy:.0f} MB/s", copy),
    ]
