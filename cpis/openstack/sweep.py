"""What carries a token or this director's mark, whole or half made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cpis.cloud import tags
from cpis.contract import Found
from cpis.openstack import marks
from cpis.openstack.answers import Image, Port, Server, Snapshot, Volume
from cpis.openstack.images import Images
from cpis.openstack.marks import Marks
from cpis.openstack.networks import Networks
from cpis.openstack.servers import Servers
from cpis.openstack.volumes import Volumes


class Sweep:
    """`find` and `owned` of the contract. A machine of which there are only ports or a root volume is found as a machine too; its token
    stands for the CID that it never got, and `delete_vm` takes it."""

    def __init__(self, marks_: Marks, servers: Servers, networks: Networks, volumes: Volumes, images: Images) -> None:
        self._marks = marks_
        self._servers = servers
        self._networks = networks
        self._volumes = volumes
        self._images = images

    def find(self, token: str) -> Sequence[Found]:
        """A token that says what it is of is looked for there only."""
        kind = token.split("-")[0]
        kinds = {kind} if kind in ("vm", "disk", "stemcell", "snapshot") else {"vm", "disk", "stemcell", "snapshot"}
        named = self._volumes.named(token) if kinds & {"vm", "disk"} else None
        volumes = [named] if named else []
        found: list[Found] = []
        if "vm" in kinds:
            servers = [server for server in self._servers.tagged(token) if server.metadata.get(tags.TOKEN) == token]
            found += _machines(servers, self._networks.ports(token), volumes)
        if "disk" in kinds:
            found += _disks(volumes)
        if "snapshot" in kinds:
            snapshot = self._volumes.snapshot_named(token)
            found += _snapshots([snapshot] if snapshot else [])
        if "stemcell" in kinds:
            found += _stemcells(self._images.named(token))
        return found

    def owned(self) -> Sequence[Found]:
        volumes = self._volumes.owned(self._marks.director)
        return [
            *_machines(self._servers.tagged(self._marks.tag), self._networks.owned_ports(), volumes), *_disks(volumes),
            *_snapshots(self._volumes.owned_snapshots(self._marks.director)), *_stemcells(self._images.owned())]


def _machines(servers: Iterable[Server], ports: Iterable[Port], volumes: Iterable[Volume]) -> list[Found]:
    whole = [Found("vm", item.id, item.metadata.get(tags.TOKEN, ""), item.metadata, item.created_at) for item in servers]
    known = {found.token for found in whole}
    half: dict[str, Found] = {}
    for port in ports:
        if port.name not in known:
            half.setdefault(port.name, Found("vm", port.name, port.name, {}, port.created_at))
    for volume in volumes:
        token = volume.metadata.get(tags.TOKEN, "")
        if marks.ROOT in volume.metadata and token and token not in known:
            half.setdefault(token, Found("vm", token, token, volume.metadata, volume.created_at))
    return [*whole, *half.values()]


def _disks(volumes: Iterable[Volume]) -> list[Found]:
    return [
        Found("disk", item.id, item.metadata.get(tags.TOKEN, item.name), item.metadata, item.created_at)
        for item in volumes if marks.ROOT not in item.metadata]


def _snapshots(snapshots: Iterable[Snapshot]) -> list[Found]:
    return [Found("snapshot", item.id, item.metadata.get(tags.TOKEN, item.name), item.metadata, item.created_at) for item in snapshots]


def _stemcells(images: Iterable[Image]) -> list[Found]:
    return [Found("stemcell", item.id, item.name, {}, item.created_at) for item in images]
