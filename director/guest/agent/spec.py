"""The apply spec as the director sends it. Source: the releases contract, section 15."""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple

from . import files
from .errors import InvalidArguments
from .layout import Layout

Tree = Dict[str, Any]
NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$")


class Package(NamedTuple):
    name: str
    version: str
    digest: str


class Spec:
    """A spec, read. Raises InvalidArguments for names that cannot be names of folders."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        job = tree.get("job") or {}
        self.group = str(job.get("name") or "")
        self.template = str(job.get("template") or "")
        self.jobs: List[str] = [_name(item["name"]) for item in job.get("templates") or []]
        self.packages: List[Package] = [
            Package(_name(item.get("name") or name), str(item.get("version", "")), files.bare(str(item.get("sha1") or "")))
            for name, item in sorted((tree.get("packages") or {}).items())
        ]
        archive = tree.get("rendered_templates_archive") or {}
        self.archive = files.bare(str(archive.get("sha256") or archive.get("sha1") or ""))
        self.configuration_hash = str(tree.get("configuration_hash") or "")
        self.persistent_disk = tree.get("persistent_disk", 0)

    @property
    def state_text(self) -> Tree:
        """What drain scripts are told of a spec."""
        return {"persistent_disk": self.persistent_disk or 0}


def load(layout: Layout) -> Spec:
    """The spec applied last; an empty one before."""
    return Spec(files.read_json(layout.spec) or {})


def default_ip(networks: Tree) -> str:
    """The address of the network that is the default for anything, else the first that there is."""
    for network in networks.values():
        if network.get("default") and network.get("ip"):
            return str(network["ip"])
    return next((str(network["ip"]) for network in networks.values() if network.get("ip")), "")


def _name(name: Any) -> str:
    if not isinstance(name, str) or not NAME.match(name):
        raise InvalidArguments("'%s' cannot be a name of a job or package" % (name,))
    return name
