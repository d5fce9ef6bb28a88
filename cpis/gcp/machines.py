"""What a machine is asked for with: pure, from the request to the body of `instances.insert`. Source: CPI contract, sections 8.1 to 8.3."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cpis.cloud.sizes import MachineType, gib, smallest
from cpis.cloud.tags import SHAPE
from cpis.cloud.userdata import cloud_config, fit
from cpis.contract import DiskHint, Invalid, Login, Network, VmRequest, VmResources
from cpis.gcp.api import Body
from cpis.gcp.names import POOL, digest, labels_of, name_of, network_tags, region_of
from cpis.gcp.settings import Settings, of_network

VM = "caisson-vm"
LOCAL_SSD = DiskHint(path="/dev/disk/by-id/google-local-nvme-ssd-0")
_METADATA_BYTES = 262_144
_SCOPES = "https://www.googleapis.com/auth/"
_MIB_STEP = 256
_LEAST_PER_CORE, _MOST_PER_CORE = 0.9 * 1024, 6.5 * 1024
_CUSTOM_CORES = (1, *range(2, 97, 2))
_MOST_NICS = 8

# Google's own images have no cloud-init: their guest agent makes the user of `ssh-keys`, but no host key that we know.
_HOST_KEY_SCRIPT = """\
#!/bin/sh
# Shows the host key that the director made. Images with cloud-init do so by themselves.
set -eu
command -v cloud-init >/dev/null 2>&1 && exit 0
key=/etc/ssh/ssh_host_{kind}_key
umask 077
cat > "$key.new" <<'END'
{private}
END
if cmp -s "$key.new" "$key"; then rm -f "$key.new"; exit 0; fi
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
mv "$key.new" "$key"
echo '{public}' > "$key.pub"
chmod 644 "$key.pub"
systemctl restart ssh 2>/dev/null || systemctl restart sshd
"""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A machine to make. `nics` are the networks with an interface, in their order: the one with the default route comes first."""

    name: str
    zone: str
    token: str
    shape: str
    body: Body
    nics: tuple[Network, ...]
    backend_service: tuple[str, bool] | None
    target_pool: str


def plan(settings: Settings, request: VmRequest, properties: Mapping[str, Any], zone: str, image: str) -> Plan:
    """Raises Invalid for everything that can be seen before the first request. `image` is the path of the image."""
    nics, vip = _networks(request.networks)
    checked = {network.name: of_network(network.cloud_properties) for network in nics}
    name = properties.get("name") or name_of("vm", request.token)
    shape = digest([
        request.agent_id, request.stemcell_cid, dict(request.cloud_properties), zone, list(request.disk_cids),
        [[item.name, item.type, item.ip, dict(item.cloud_properties)] for item in request.networks]])
    pool = properties.get("target_pool") or ""

    def below(path: str) -> str:
        return f"projects/{settings.project}/zones/{zone}/{path}"

    extra = {SHAPE: shape, **({POOL: pool} if pool else {})}
    labels = labels_of(settings.director, request.token, request.metadata, properties.get("labels"), extra)
    body: Body = {
        "name": name, "description": "made by Caisson", "machineType": below(f"machineTypes/{machine_type(properties)}"),
        "disks": _disks(settings, properties, below, image, {**labels, VM: name}),
        "networkInterfaces": _interfaces(settings, nics, checked, properties, zone, vip),
        "metadata": {"items": _metadata(request.login, name)}, "labels": labels, "scheduling": _scheduling(properties),
        "canIpForward": _said("ip_forwarding", properties, checked.values()),
    }
    groups = (request.env.get("bosh") or {}).get("groups") if isinstance(request.env.get("bosh"), Mapping) else None
    tags = network_tags(*(item.get("tags") or () for item in (*checked.values(), properties)), groups or ())
    optional = {
        "tags": {"items": tags} if tags else None, "serviceAccounts": _accounts(properties),
        "guestAccelerators": [
            {"acceleratorType": below(f"acceleratorTypes/{item['type']}"), "acceleratorCount": item.get("count", 1)}
            for item in properties.get("accelerators") or ()],
    }
    body.update({key: value for key, value in optional.items() if value})
    return Plan(name, zone, request.token, shape, body, nics, _backend(properties), pool)


def machine_type(properties: Mapping[str, Any]) -> str:
    """The machine type, or the name of the custom one. Raises Invalid."""
    named, cpu, ram = properties.get("machine_type"), properties.get("cpu"), properties.get("ram")
    if named and (cpu or ram):
        raise Invalid("a machine has either 'machine_type' or 'cpu' and 'ram', not both")
    if named:
        return str(named)
    if not cpu or not ram:
        raise Invalid("a machine needs 'machine_type', or 'cpu' and 'ram'", suggestion="For example machine_type: e2-medium.")
    series = properties.get("machine_series") or "n1"
    if cpu < 1 or (cpu > 1 and cpu % 2):
        raise Invalid(f"a custom machine type has 1 core or an even number, not {cpu}")
    if ram % _MIB_STEP:
        raise Invalid(f"'ram' of a custom machine type must be a multiple of {_MIB_STEP} MiB, not {ram}", suggestion=f"{_up(ram)} is one.")
    if series == "n1" and not _LEAST_PER_CORE * cpu <= ram <= _MOST_PER_CORE * cpu:
        least, most = _up(_LEAST_PER_CORE * cpu), int(_MOST_PER_CORE * cpu) // _MIB_STEP * _MIB_STEP
        raise Invalid(f"a custom machine type with {cpu} cores has {least} to {most} MiB of memory, not {ram}", limit=str(most))
    return f"custom-{cpu}-{ram}" if series == "n1" else f"{series}-custom-{cpu}-{ram}"


def calculate(resources: VmResources, root_disk_size_gb: int) -> dict[str, Any]:
    """Cloud properties of the smallest custom machine type. What a machine writes goes to its root disk, which therefore holds the
    system's size and what is asked for. Raises Invalid.
    """
    types = [MachineType(f"custom-{cpu}", cpu, int(_MOST_PER_CORE * cpu) // _MIB_STEP * _MIB_STEP) for cpu in _CUSTOM_CORES]
    cpu = smallest(types, resources).cpu
    ram = _up(max(resources.ram_mib, _LEAST_PER_CORE * cpu))
    return {"cpu": cpu, "ram": ram, "root_disk_size_gb": root_disk_size_gb + gib(resources.ephemeral_disk_size_mib)}


def _up(mib: float) -> int:
    return math.ceil(mib / _MIB_STEP) * _MIB_STEP


def _networks(networks: Sequence[Network]) -> tuple[tuple[Network, ...], str]:
    """Those with an interface, the gateway's first, and the address of the vip network ('' without one). Raises Invalid."""
    nics = sorted((item for item in networks if item.type != "vip"), key=lambda item: "gateway" not in item.default)
    vips = [item for item in networks if item.type == "vip"]
    if not nics:
        raise Invalid("a machine needs a manual or dynamic network", suggestion="A vip network comes beside one.")
    if len(nics) > _MOST_NICS:
        raise Invalid(f"a machine has at most {_MOST_NICS} networks on GCP, not {len(nics)}", limit=str(_MOST_NICS), used=str(len(nics)))
    if len(vips) > 1 or any(not item.ip for item in vips):
        raise Invalid("a machine has one vip network at most, with an address (static_ips)")
    return tuple(nics), vips[0].ip if vips else ""


def _interfaces(
    settings: Settings, nics: Sequence[Network], checked: Mapping[str, Mapping[str, Any]], properties: Mapping[str, Any], zone: str,
    vip: str,
) -> list[Body]:
    result = []
    for number, network in enumerate(nics):
        told = checked[network.name]
        project = told.get("xpn_host_project_id") or settings.project
        nic: Body = {"network": f"projects/{project}/global/networks/{told['network_name']}"}
        if told.get("subnetwork_name"):
            nic["subnetwork"] = f"projects/{project}/regions/{region_of(zone)}/subnetworks/{told['subnetwork_name']}"
        if network.ip:
            nic["networkIP"] = network.ip
        # No external address unless asked for: without `accessConfigs` there is none.
        public = _said("ephemeral_external_ip", properties, [told]) and (number == 0 or not properties.get("ephemeral_external_ip"))
        if (vip and number == 0) or public:
            address = {"natIP": vip} if vip and number == 0 else {}
            nic["accessConfigs"] = [{"name": "External NAT", "type": "ONE_TO_ONE_NAT", **address}]
        result.append(nic)
    return result


def _said(key: str, properties: Mapping[str, Any], networks: Any) -> bool:
    """A switch of the machine type, else of any network."""
    own = properties.get(key)
    return bool(own) if own is not None else any(item.get(key) for item in networks)


def _disks(
    settings: Settings, properties: Mapping[str, Any], below: Callable[[str], str], image: str, labels: Mapping[str, str],
) -> list[Body]:
    kind = properties.get("root_disk_type") or settings.root_disk_type
    size = properties.get("root_disk_size_gb") or settings.root_disk_size_gb
    if size < 1:
        raise Invalid(f"'root_disk_size_gb' must be more than 0, not {size}")
    disks: list[Body] = [{
        "boot": True, "autoDelete": True, "type": "PERSISTENT", "mode": "READ_WRITE", "deviceName": "root",
        "initializeParams": {
            "sourceImage": image, "diskSizeGb": str(size), "diskType": below(f"diskTypes/{kind}"),
            "labels": dict(labels)},
    }]
    if properties.get("ephemeral_disk_type"):
        disks.append({
            "type": "SCRATCH", "autoDelete": True, "interface": "NVME", "deviceName": "local-ssd-0",
            "initializeParams": {"diskType": below(f"diskTypes/{properties['ephemeral_disk_type']}")},
        })
    return disks


def _metadata(login: Login, name: str) -> list[Body]:
    """How the first connection is made. A BOSH agent finds its settings where BOSH's CPI puts them."""
    if login.agent_settings:
        items = {"bosh_settings": login.agent_settings}  # where `agent.json` of its stemcells looks (SettingsPath)
    else:
        kind = login.host_public_key.split(" ")[0].removeprefix("ssh-").split("-")[0]
        items = {
            "user-data": cloud_config(login, name),
            "startup-script": _HOST_KEY_SCRIPT.format(
                kind=kind, private=login.host_private_key.strip(), public=login.host_public_key.strip()),
        }
    if login.public_key:
        items["ssh-keys"] = f"{login.user}:{login.public_key.strip()} {login.user}"
    # OS Login takes no keys from metadata, and keys of the whole project would open this machine to others.
    items.update({"block-project-ssh-keys": "TRUE", "enable-oslogin": "FALSE"})
    for value in items.values():
        fit(value, _METADATA_BYTES, "GCP")
    return [{"key": key, "value": value} for key, value in items.items()]


def _scheduling(properties: Mapping[str, Any]) -> Body:
    """Raises Invalid for wishes that exclude each other."""
    spot = properties.get("provisioning_model") == "SPOT"
    preemptible = bool(properties.get("preemptible"))
    if preemptible and properties.get("provisioning_model") == "STANDARD":
        raise Invalid("a preemptible machine has no provisioning_model STANDARD", suggestion="Leave one of the two out.")
    stays = preemptible or spot or bool(properties.get("accelerators"))
    maintenance = properties.get("on_host_maintenance") or ("TERMINATE" if stays else "MIGRATE")
    if stays and maintenance == "MIGRATE":
        raise Invalid(
            "machines that are preemptible, SPOT or have accelerators cannot be moved",
            suggestion="Leave on_host_maintenance out, or say TERMINATE.")
    restart = bool(properties.get("automatic_restart"))
    if restart and (preemptible or spot):
        raise Invalid("preemptible and SPOT machines are not started again by Google", suggestion="Leave automatic_restart out.")
    result: Body = {"automaticRestart": restart, "onHostMaintenance": maintenance}
    if preemptible:
        result["preemptible"] = True
    if properties.get("provisioning_model"):
        result["provisioningModel"] = properties["provisioning_model"]
    if properties.get("node_group"):
        result["nodeAffinities"] = [
            {"key": "compute.googleapis.com/node-group-name", "operator": "IN", "values": [properties["node_group"]]}]
    return result


def _accounts(properties: Mapping[str, Any]) -> list[Body]:
    account, scopes = properties.get("service_account"), properties.get("service_scopes")
    if not account and not scopes:
        return []
    whole = [scope if scope.startswith("https://") else f"{_SCOPES}{scope}" for scope in scopes or ["cloud-platform"]]
    return [{"email": account or "default", "scopes": whole}]


def _backend(properties: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Name of the backend service, and whether it is a regional one."""
    told = properties.get("backend_service")
    if not told:
        return None
    return (told["name"], told.get("scheme") == "INTERNAL") if isinstance(told, Mapping) else (str(told), False)
