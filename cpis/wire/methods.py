"""The wire's methods over a CPI of ours. Source: CPI contract, sections 1 and 2."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cpis import hurry
from cpis.cloud.schema import Schema
from cpis.contract import (
    CloudChecker,
    Cpi,
    DiskRequest,
    Found,
    Invalid,
    Network,
    NetworkMaker,
    NetworkRequest,
    NotSupported,
    Remover,
    Uses,
    VmRequest,
    VmResources,
)
from cpis.wire import convert, settings
from cpis.wire.config import Configuration
from cpis.wire.errors import BadCall, NotImplementedHere

Tree = dict[str, Any]

API_VERSION = 3
OURS_VERSION = 1
_NO_REGISTRY = "a stemcell of API version {version} reads its settings from a registry, which there is none of"


@dataclasses.dataclass(frozen=True)
class Call:
    """One call. `version` is what the caller speaks; `ours` is what `cpis.process` says beside the contract (token, login, metadata)."""

    cloud: str
    configuration: Configuration
    context: Mapping[str, Any]
    version: int
    ours: Mapping[str, Any]

    def token(self, kind: str, tags: Mapping[str, Any] | None = None) -> str:
        """The caller's, when it has one; the wire has none, so a call that is repeated makes another thing, as with every BOSH CPI."""
        return str(self.ours.get("token") or (tags or {}).get("caisson-token") or f"{kind}-{uuid.uuid4()}")

    def metadata(self, tags: Any = None) -> dict[str, str]:
        given = self.ours.get("metadata")
        if isinstance(given, Mapping):
            return {str(key): str(value) for key, value in given.items()}
        return {**(_texts(tags) if isinstance(tags, Mapping) else {}), "director": str(self.context["director_uuid"])}


def told(formats: Sequence[str]) -> Tree:
    """What `info` answers for a CPI that takes these."""
    return {"stemcell_formats": list(formats), "api_version": API_VERSION, "caisson": OURS_VERSION}


def info(cpi: Cpi, call: Call) -> Tree:
    return told(cpi.info().stemcell_formats)


def ping(cpi: Cpi, call: Call) -> str:
    return "pong"


def create_stemcell(cpi: Cpi, call: Call, image_path: str, cloud_properties: Tree, env: Tree | None = None) -> str:
    properties = dict(cloud_properties)
    tags = (env or {}).get("tags")
    if isinstance(tags, Mapping) and tags and _takes_tags(call.cloud):
        properties["tags"] = {**(properties.get("tags") or {}), **tags}
    return cpi.create_stemcell(image_path, properties, call.token("stemcell"))


def _takes_tags(cloud: str) -> bool:
    try:
        return any(key.name == "tags" for key in Schema.of(cloud).sections["stemcell"])
    except Invalid:
        return False


def delete_stemcell(cpi: Cpi, call: Call, cid: str) -> None:
    cpi.delete_stemcell(cid)


def create_vm(
    cpi: Cpi, call: Call, agent_id: str, stemcell_cid: str, cloud_properties: Tree, networks: Tree, disk_cids: list[str] | None = None,
    env: Tree | None = None,
) -> Any:
    asked = _networks(networks)
    env = env or {}
    bosh = env.get("bosh")
    tags = bosh.get("tags") if isinstance(bosh, Mapping) else None
    tags = tags if isinstance(tags, Mapping) else None
    token = call.token("vm", tags)
    given = call.ours.get("login")
    if isinstance(given, Mapping):
        login = convert.login_from(given)
    else:
        _check_stemcell(call)
        login = settings.login_of(
            call.cloud, call.configuration.properties, call.configuration.agent, name=token, agent_id=agent_id, networks=asked, env=env,
            cloud_properties=cloud_properties)
    vm = cpi.create_vm(VmRequest(
        token, agent_id, stemcell_cid, cloud_properties, asked, login, tuple(map(str, disk_cids or ())), env, call.metadata(tags)))
    if call.version < 2:
        return vm.cid
    answer = {network.name: {**networks.get(network.name, {}), **convert.network_to(network)} for network in vm.networks}
    if not isinstance(given, Mapping):
        return [vm.cid, answer]
    ephemeral = dataclasses.asdict(vm.ephemeral_disk) if vm.ephemeral_disk else None
    return [vm.cid, answer, {"ssh_address": vm.ssh_address, "ssh_port": vm.ssh_port, "ephemeral_disk": ephemeral}]


def _networks(spec: Tree) -> tuple[Network, ...]:
    try:
        return convert.networks_from(spec)
    except ValueError as error:
        raise Invalid(str(error)) from error


def _check_stemcell(call: Call) -> None:
    vm = call.context.get("vm")
    stemcell = vm.get("stemcell") if isinstance(vm, Mapping) else None
    version = stemcell.get("api_version") if isinstance(stemcell, Mapping) else None
    if isinstance(version, int) and version < 2:
        raise NotSupported(_NO_REGISTRY.format(version=version), suggestion="Upload a newer stemcell.")


def delete_vm(cpi: Cpi, call: Call, cid: str) -> None:
    cpi.delete_vm(cid)


def has_vm(cpi: Cpi, call: Call, cid: str) -> bool:
    return cpi.has_vm(cid)


def reboot_vm(cpi: Cpi, call: Call, cid: str) -> None:
    cpi.reboot_vm(cid)


def set_vm_metadata(cpi: Cpi, call: Call, cid: str, metadata: Tree) -> None:
    cpi.set_vm_metadata(cid, _texts(metadata))


def calculate_vm_cloud_properties(cpi: Cpi, call: Call, wanted: Tree) -> Tree:
    numbers = []
    for key in ("cpu", "ram", "ephemeral_disk_size"):
        if key not in wanted:
            raise Invalid(f"'{key}' is missing", suggestion="A machine is asked for with cpu, ram and ephemeral_disk_size.")
        if not _is_whole(wanted[key]):
            raise Invalid(f"'{key}' must be a whole number, not {wanted[key]!r}")
        numbers.append(int(wanted[key]))
    return cpi.calculate_vm_cloud_properties(VmResources(*numbers))


def create_disk(cpi: Cpi, call: Call, size: int, cloud_properties: Tree, vm_cid: str | None = None) -> str:
    return cpi.create_disk(DiskRequest(call.token("disk"), size, cloud_properties, vm_cid or "", call.metadata()))


def delete_disk(cpi: Cpi, call: Call, cid: str) -> None:
    cpi.delete_disk(cid)


def has_disk(cpi: Cpi, call: Call, cid: str) -> bool:
    return cpi.has_disk(cid)


def attach_disk(cpi: Cpi, call: Call, vm_cid: str, disk_cid: str) -> Any:
    hint = cpi.attach_disk(vm_cid, disk_cid)
    if call.version < 2:
        return None
    return dataclasses.asdict(hint) if call.ours else convert.hint_to(hint, call.cloud)


def detach_disk(cpi: Cpi, call: Call, vm_cid: str, disk_cid: str) -> None:
    cpi.detach_disk(vm_cid, disk_cid)


def resize_disk(cpi: Cpi, call: Call, cid: str, size: int) -> None:
    cpi.resize_disk(cid, size)


def update_disk(cpi: Cpi, call: Call, cid: str, size: int, cloud_properties: Tree) -> str:
    return cpi.update_disk(cid, size, cloud_properties)


def set_disk_metadata(cpi: Cpi, call: Call, cid: str, metadata: Tree) -> None:
    cpi.set_disk_metadata(cid, _texts(metadata))


def get_disks(cpi: Cpi, call: Call, vm_cid: str) -> list[str]:
    return list(cpi.get_disks(vm_cid))


def snapshot_disk(cpi: Cpi, call: Call, cid: str, metadata: Tree | None = None) -> str:
    return cpi.snapshot_disk(cid, _texts(metadata or {}), call.token("snapshot"))


def delete_snapshot(cpi: Cpi, call: Call, cid: str) -> None:
    cpi.delete_snapshot(cid)


def create_network(cpi: Cpi, call: Call, spec: Tree) -> list[Any]:
    bits = spec.get("netmask_bits")
    if bits is not None and not _is_whole(bits):
        raise Invalid(f"'netmask_bits' must be a whole number, not {bits!r}")
    made = _maker(cpi).create_network(NetworkRequest(
        call.token("network"), spec.get("cloud_properties") or {}, str(spec.get("range") or ""), str(spec.get("gateway") or ""),
        None if bits is None else int(bits), str(spec.get("type") or "manual")))
    return [made.cid, {"range": made.range, "gateway": made.gateway, "reserved": list(made.reserved)}, dict(made.cloud_properties)]


def delete_network(cpi: Cpi, call: Call, cid: str) -> None:
    _maker(cpi).delete_network(cid)


def _maker(cpi: Cpi) -> NetworkMaker:
    if not isinstance(cpi, NetworkMaker):
        raise NotImplementedHere(f"the {cpi.name} CPI makes no networks")
    return cpi


def left_over(cpi: Cpi, call: Call, *arguments: Any) -> None:
    """What contract version 1 had for a registry and for the director's own machine."""
    raise NotSupported("this method belongs to version 1 of the contract and does nothing since")


# Between `cpis.process` and our own executables only: what the wire has no words for.

def caisson_find(cpi: Cpi, call: Call, token: str) -> list[Tree]:
    return [convert.found_to(found) for found in cpi.find(token)]


def caisson_owned(cpi: Cpi, call: Call) -> list[Tree]:
    return [convert.found_to(found) for found in cpi.owned()]


def caisson_remove(cpi: Cpi, call: Call, found: Tree) -> None:
    if not isinstance(cpi, Remover):
        raise NotImplementedHere(f"the {cpi.name} CPI deletes nothing by itself that has a method of its own")
    cpi.remove(Found(str(found.get("kind")), str(found.get("cid")), str(found.get("token"))))


_CHECK_SECONDS = 30.0


def caisson_checks(cpi: Cpi, call: Call, uses: Tree, seconds: float = _CHECK_SECONDS) -> list[Tree]:
    if not isinstance(cpi, CloudChecker):
        raise NotImplementedHere(f"the {cpi.name} CPI has no checks")
    asked = Uses(**{**uses, "stemcell_cids": tuple(uses.get("stemcell_cids") or ())})
    with hurry.within(hurry.Hurry(seconds)):
        return [dataclasses.asdict(check) for check in cpi.checks(asked)]


def _texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in metadata.items() if value is not None}


def _is_whole(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a string", lambda value: isinstance(value, str)),
    "hash": ("a hash", lambda value: isinstance(value, dict)),
    "hash?": ("a hash or null", lambda value: value is None or isinstance(value, dict)),
    "text?": ("a string or null", lambda value: value is None or isinstance(value, str)),
    "list?": ("an array of strings or null", lambda value: value is None or (
        isinstance(value, list) and all(isinstance(item, str) for item in value))),
    "size": ("a whole number of MiB", _is_whole),
    "seconds": ("a number of seconds", lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value >= 0),
    "any": ("anything", lambda value: True),
}


@dataclasses.dataclass(frozen=True)
class Method:
    """`shape` names the arguments and their kinds; the last `optional` of them may be left out."""

    function: Callable[..., Any]
    shape: tuple[tuple[str, str], ...] = ()
    optional: int = 0

    def arguments(self, given: list[Any]) -> list[Any]:
        """What was given, checked. Raises BadCall, in the words of the reference for their number."""
        most, least = len(self.shape), len(self.shape) - self.optional
        if not least <= len(given) <= most:
            expected = str(most) if most == least else f"{least}..{most}"
            raise BadCall(f"Arguments are not correct, details: 'wrong number of arguments (given {len(given)}, expected {expected})'")
        for (name, kind), value in zip(self.shape, given, strict=False):
            words, holds = _KINDS[kind]
            if not holds(value):
                raise BadCall(f"Arguments are not correct, details: '{name} must be {words}'")
        return [int(value) if kind == "size" else value for (_, kind), value in zip(self.shape, given, strict=False)]


def _shape(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, kind) for name, _, kind in (part.partition(":") for part in text.split()))


METHODS: Mapping[str, Method] = {
    "info": Method(info),
    "ping": Method(ping),
    "create_stemcell": Method(create_stemcell, _shape("image_path:text cloud_properties:hash env:hash?"), 1),
    "delete_stemcell": Method(delete_stemcell, _shape("stemcell_cid:text")),
    "create_vm": Method(
        create_vm, _shape("agent_id:text stemcell_cid:text cloud_properties:hash networks:hash disk_cids:list? env:hash?"), 2),
    "delete_vm": Method(delete_vm, _shape("vm_cid:text")),
    "has_vm": Method(has_vm, _shape("vm_cid:text")),
    "reboot_vm": Method(reboot_vm, _shape("vm_cid:text")),
    "set_vm_metadata": Method(set_vm_metadata, _shape("vm_cid:text metadata:hash")),
    "calculate_vm_cloud_properties": Method(calculate_vm_cloud_properties, _shape("requirements:hash")),
    "create_disk": Method(create_disk, _shape("size:size cloud_properties:hash vm_cid:text?"), 1),
    "delete_disk": Method(delete_disk, _shape("disk_cid:text")),
    "has_disk": Method(has_disk, _shape("disk_cid:text")),
    "attach_disk": Method(attach_disk, _shape("vm_cid:text disk_cid:text")),
    "detach_disk": Method(detach_disk, _shape("vm_cid:text disk_cid:text")),
    "resize_disk": Method(resize_disk, _shape("disk_cid:text new_size:size")),
    "update_disk": Method(update_disk, _shape("disk_cid:text new_size:size cloud_properties:hash")),
    "set_disk_metadata": Method(set_disk_metadata, _shape("disk_cid:text metadata:hash")),
    "get_disks": Method(get_disks, _shape("vm_cid:text")),
    "snapshot_disk": Method(snapshot_disk, _shape("disk_cid:text metadata:hash?"), 1),
    "delete_snapshot": Method(delete_snapshot, _shape("snapshot_cid:text")),
    "create_network": Method(create_network, _shape("subnet_definition:hash")),
    "delete_network": Method(delete_network, _shape("network_cid:text")),
    "configure_networks": Method(left_over, _shape("vm_cid:any networks:any")),
    "current_vm_id": Method(left_over),
    "caisson_find": Method(caisson_find, _shape("token:text")),
    "caisson_owned": Method(caisson_owned),
    "caisson_remove": Method(caisson_remove, _shape("found:hash")),
    "caisson_checks": Method(caisson_checks, _shape("uses:hash seconds:seconds"), 1),
}
