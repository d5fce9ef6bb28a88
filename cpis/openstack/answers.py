"""What the services tell, as values. Reading raises KeyError or TypeError for a field that is missing or of another type, which the caller
of requests takes for an answer that is none."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

_ATTACHED = "os-extended-volumes:volumes_attached"
Kind = TypeVar("Kind")
Tree = Mapping[str, Any]


def take(tree: Any, key: str, kind: type[Kind]) -> Kind:
    """A field that must be there."""
    value = tree[key]
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise TypeError(f"'{key}' is {type(value).__name__}, not {kind.__name__}")
    return value


def text(tree: Tree, key: str) -> str:
    """A text that may be missing or null, then empty."""
    return "" if tree.get(key) is None else take(tree, key, str)


def texts(tree: Tree, key: str) -> dict[str, str]:
    """A hash of texts that may be missing or null."""
    found = {} if tree.get(key) is None else take(tree, key, dict)
    return {str(name): take(found, name, str) for name in found}


def moment(tree: Tree, *keys: str) -> float | None:
    """Unix time of the first of these fields; services differ in its name, and Cinder leaves the zone (UTC) out."""
    found = next((tree[key] for key in keys if isinstance(tree.get(key), str)), None)
    if found is None:
        return None
    time = datetime.datetime.fromisoformat(found)
    return (time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)).timestamp()  # noqa: UP017


@dataclasses.dataclass(frozen=True)
class Server:
    """`volumes` are (id, goes with the machine)."""

    id: str
    name: str
    status: str
    task: str
    zone: str
    metadata: Mapping[str, str]
    volumes: tuple[tuple[str, bool], ...]
    fault: Tree | None
    created_at: float | None

    @classmethod
    def read(cls, tree: Tree) -> Server:
        attached = take(tree, _ATTACHED, list) if _ATTACHED in tree else []
        volumes = tuple(
            (take(item, "id", str), "delete_on_termination" in item and take(item, "delete_on_termination", bool)) for item in attached)
        fault = tree.get("fault")
        return cls(
            take(tree, "id", str), text(tree, "name"), take(tree, "status", str), text(tree, "OS-EXT-STS:task_state"),
            text(tree, "OS-EXT-AZ:availability_zone"), texts(tree, "metadata"), volumes,
            fault if isinstance(fault, Mapping) else None, moment(tree, "created"))


@dataclasses.dataclass(frozen=True)
class Volume:
    """`attachments` are (machine, device); `size` is in GiB."""

    id: str
    name: str
    status: str
    size: int
    zone: str
    type: str
    metadata: Mapping[str, str]
    attachments: tuple[tuple[str, str], ...]
    created_at: float | None

    @classmethod
    def read(cls, tree: Tree) -> Volume:
        attachments = tuple(
            (take(item, "server_id", str), text(item, "device")) for item in tree.get("attachments") or [] if item.get("server_id"))
        return cls(
            take(tree, "id", str), text(tree, "name"), take(tree, "status", str), take(tree, "size", int),
            text(tree, "availability_zone"), text(tree, "volume_type"), texts(tree, "metadata"), attachments, moment(tree, "created_at"))


@dataclasses.dataclass(frozen=True)
class Snapshot:
    id: str
    name: str
    status: str
    volume: str
    metadata: Mapping[str, str]
    created_at: float | None

    @classmethod
    def read(cls, tree: Tree) -> Snapshot:
        return cls(
            take(tree, "id", str), text(tree, "name"), take(tree, "status", str), take(tree, "volume_id", str), texts(tree, "metadata"),
            moment(tree, "created_at"))


@dataclasses.dataclass(frozen=True)
class Port:
    """`addresses` are (subnet, address)."""

    id: str
    name: str
    network: str
    device: str
    description: str
    addresses: tuple[tuple[str, str], ...]
    created_at: float | None

    @classmethod
    def read(cls, tree: Tree) -> Port:
        addresses = tuple((take(item, "subnet_id", str), take(item, "ip_address", str)) for item in take(tree, "fixed_ips", list))
        return cls(
            take(tree, "id", str), text(tree, "name"), take(tree, "network_id", str), text(tree, "device_id"), text(tree, "description"),
            addresses, moment(tree, "created_at"))


@dataclasses.dataclass(frozen=True)
class Subnet:
    id: str
    cidr: str
    gateway: str
    dns: tuple[str, ...]

    @classmethod
    def read(cls, tree: Tree) -> Subnet:
        return cls(
            take(tree, "id", str), take(tree, "cidr", str), text(tree, "gateway_ip"), tuple(map(str, tree.get("dns_nameservers") or ())))


@dataclasses.dataclass(frozen=True)
class Flavor:
    """`ram` in MiB, `disk` (root) and `ephemeral` in GiB."""

    id: str
    name: str
    cores: int
    ram: int
    disk: int
    ephemeral: int

    @classmethod
    def read(cls, tree: Tree) -> Flavor:
        return cls(
            take(tree, "id", str), take(tree, "name", str), take(tree, "vcpus", int), take(tree, "ram", int), take(tree, "disk", int),
            int(tree.get("OS-FLV-EXT-DATA:ephemeral") or 0))


@dataclasses.dataclass(frozen=True)
class Image:
    id: str
    name: str
    status: str
    tags: tuple[str, ...]
    created_at: float | None

    @classmethod
    def read(cls, tree: Tree) -> Image:
        return cls(
            take(tree, "id", str), text(tree, "name"), take(tree, "status", str), tuple(map(str, tree.get("tags") or ())),
            moment(tree, "created_at"))
