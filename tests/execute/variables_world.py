"""A deployment that shows its variables: each instance of `show` has them in a file. Groups and variables are given by the test."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from typing import Any

import yaml
from fakes import Machine, World

from director.machine.agent import BLOBS

RELEASE = {
    "config/final.yml": "name: show\n",
    "jobs/show/spec": "name: show\ntemplates: {show.json.j2: config/show.json}\nproperties: {values: {default: {}}}\n"
                      "provides: [{name: shown, type: shown, properties: [values]}]\n",
    "jobs/show/monit": "check process show\n",
    "jobs/show/templates/show.json.j2": "{{ p('values') | tojson }}\n",
    "jobs/look/spec": "name: look\ntemplates: {look.json.j2: config/look.json}\nconsumes: [{name: shown, type: shown}]\n",
    "jobs/look/monit": "check process look\n",
    "jobs/look/templates/look.json.j2": "{{ link('shown').p('values') | tojson }}\n",
}


def manifest(
    variables: Sequence[dict[str, Any]], values: dict[str, Any], *, name: str = "app", instances: int = 2,
    job: dict[str, Any] | None = None, **more: Any,
) -> str:
    """One group `web` whose instances show `values`; `more` goes to the top level."""
    chosen = job or {"name": "show", "release": "show", "properties": {"values": values}, "provides": {"shown": {"shared": True}}}
    return yaml.safe_dump({
        "name": name, "releases": [{"name": "show", "version": "latest"}],
        "stemcells": [{"alias": "default", "os": "linux", "version": "latest"}],
        "update": {"canaries": 1, "max_in_flight": 1, "canary_watch_time": "0-1000", "update_watch_time": "0-1000"},
        "variables": list(variables),
        "instance_groups": [{
            "name": "web", "instances": instances, "azs": ["z1"], "vm_type": "small", "stemcell": "default",
            "networks": [{"name": "default"}], "jobs": [chosen],
        }],
        **more,
    })


def shown(machine: Machine, path: str = "show/config/show.json") -> Any:
    """What the file of the machine's job says."""
    digest = machine.spec["rendered_templates_archive"]["sha256"]
    with tarfile.open(fileobj=io.BytesIO(machine.files[f"{BLOBS}/{digest}"])) as archive:
        member = next(item for item in archive if item.name.endswith(path))
        stream = archive.extractfile(member)
        assert stream is not None
        return json.loads(stream.read())


def on(world: World, deployment: str = "app", path: str = "show/config/show.json") -> list[Any]:
    """What each instance shows, by group and index; None for one without a machine, or before its jobs are there."""
    found = []
    for row in world.store.instances.of(deployment):
        vm = world.store.vms.active_of(row.id)
        machine = world.fleet.machines[vm.cid] if vm is not None else None
        found.append(shown(machine, path) if machine is not None and machine.spec else None)
    return found
