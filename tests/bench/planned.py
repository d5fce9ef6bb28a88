"""`python -m tests.bench.planned first|no-op COUNT`: plans in a process of its own, and says as JSON how long it took and how much memory
the process had at most. `no-op` is the director's own way: database, machines that are asked (in memory), templates, reasons."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.bench import planning
from tests.bench.world import ROOT

GROUP = planning.GROUP


def first(count: int) -> dict[str, float]:
    """A first deploy from its texts; median of three for small ones."""
    texts = planning.texts(count)
    planning.plan_of(*planning.texts(GROUP))  # what is imported and compiled once is no matter of the number
    before = _peak_mib()
    found = []
    for _ in range(3 if count <= 1000 else 1):
        started = time.perf_counter()
        made = planning.plan_of(*texts)
        found.append(time.perf_counter() - started)
    assert len(made.changes) == count
    tree = [{"id": change.id, "group": change.group, "networks": [item.ip for item in change.reservations]} for change in made.changes]
    text = json.dumps(tree)
    started = time.perf_counter()
    json.dumps(json.loads(text))
    return {"seconds": sorted(found)[len(found) // 2], "least": time.perf_counter() - started, "mib": _peak_mib(), "before": before}


def no_op(count: int) -> dict[str, float]:
    """The preview of a deployment in which nothing is to be done: median of three."""
    sys.path.insert(0, str(ROOT / "tests/execute"))
    from fakes import Machine, World
    from small_world import CLOUD, MANIFEST, RELEASE

    from director.execute import deploy, prepare
    from director.state.disks import DiskRow
    from director.state.vms import VmRow

    tree: dict[str, Any] = yaml.safe_load(MANIFEST)
    db, web = tree["instance_groups"]
    more = [{**web, "name": f"web{number}", "instances": GROUP} for number in range(count // GROUP)]
    more[0]["instances"] -= 1
    text = yaml.safe_dump({**tree, "instance_groups": [db, *more]})
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.configure(CLOUD.replace("10.0.0.0/24", "10.0.0.0/16"))
        world.stemcell()
        world.upload(RELEASE)
        world.store.deployments.ensure("app")
        wanted = prepare.Wanted(text)
        prepared = prepare.prepare(world.context, wanted, write=True)
        prepared.write_down(world.context)
        with world.store.transaction():
            for change in prepared.plan.changes:
                assert change.spec is not None
                network = {"name": "default", "type": "manual", "ip": change.reservations[0].ip}
                cid = f"vm-{change.id}"
                world.store.vms.add(VmRow(
                    cid, cid, "app", cid, change.id, active=True, networks=[network], notes={"ready": True}, host_public_key="key"))
                world.fleet.machines[cid] = Machine(cid, "key", running=True)
                prepared.record(world.context, change)
                for disk in change.spec.disks:
                    world.store.disks.add(DiskRow(
                        f"disk-{cid}", cid, disk.size_mib, cloud_properties=disk.cloud_properties, instance_id=change.id, active=True))
        deploy.keep(world.context, prepared, keep_text=False)
        found = []
        for _ in range(3):
            started = time.perf_counter()
            again = prepare.prepare(world.context, wanted, write=False)
            found.append(time.perf_counter() - started)
            assert again.plan.is_empty
            assert len(again.plan.changes) == count
        started = time.perf_counter()
        rows = [world.store.instances.of("app"), world.store.vms.of("app"), world.store.addresses.of("app")]
        least = time.perf_counter() - started
        assert len(rows[0]) == count
        world.close()
    return {"seconds": sorted(found)[1], "least": least, "mib": _peak_mib(), "before": 0.0}


def _peak_mib() -> float:
    """Of this program alone: what getrusage says begins with the memory of the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    print(json.dumps({"first": first, "no-op": no_op}[sys.argv[1]](int(sys.argv[2]))))
