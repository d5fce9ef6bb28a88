"""What `caisson cloud check` asks: reach, sign in, each permission, then what the cloud config names, and how much is left."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from cpis.contract import Check, CpiError, Denied, Invalid, NotFound, Unavailable, Uses
from cpis.gcp.api import Compute, quoted
from cpis.gcp.credentials import Tokens
from cpis.gcp.driver import API
from cpis.gcp.machines import machine_type
from cpis.gcp.names import region_of
from cpis.gcp.settings import Settings
from cpis.gcp.vms import image_link

PERMISSIONS = (
    "compute.addresses.use", "compute.diskTypes.get", "compute.diskTypes.list", "compute.disks.create",
    "compute.disks.createSnapshot", "compute.disks.delete", "compute.disks.get", "compute.disks.list", "compute.disks.resize",
    "compute.disks.setLabels", "compute.disks.use", "compute.globalOperations.get", "compute.images.create",
    "compute.images.delete", "compute.images.get", "compute.images.getFromFamily", "compute.images.list",
    "compute.images.setLabels", "compute.images.useReadOnly", "compute.instances.attachDisk", "compute.instances.create",
    "compute.instances.delete", "compute.instances.detachDisk", "compute.instances.get", "compute.instances.list",
    "compute.instances.reset", "compute.instances.resume", "compute.instances.setDiskAutoDelete", "compute.instances.setLabels",
    "compute.instances.setMetadata", "compute.instances.setServiceAccount", "compute.instances.setTags", "compute.instances.start",
    "compute.instances.use", "compute.machineTypes.get", "compute.networks.get", "compute.projects.get",
    "compute.regionOperations.get", "compute.regions.get", "compute.snapshots.create", "compute.snapshots.delete",
    "compute.snapshots.get", "compute.snapshots.list", "compute.snapshots.setLabels", "compute.snapshots.useReadOnly",
    "compute.subnetworks.get", "compute.subnetworks.use", "compute.subnetworks.useExternalIp", "compute.zoneOperations.get",
    "compute.zones.get",
)
BALANCING = (
    "compute.backendServices.get", "compute.instanceGroups.get", "compute.instanceGroups.update", "compute.regionBackendServices.get",
    "compute.targetPools.addInstance", "compute.targetPools.removeInstance",
)
UPLOADS = (
    "storage.buckets.create", "storage.buckets.delete", "storage.buckets.list", "storage.objects.create", "storage.objects.delete",
    "storage.objects.get",
)
_QUOTAS = ("CPUS", "INSTANCES", "DISKS_TOTAL_GB", "IN_USE_ADDRESSES")
_PATIENCE_SECONDS = 20.0
_SKEW_SECONDS = 60.0


class Checks:
    """Reads only. See `cpis.contract.CloudChecker`."""

    def __init__(self, settings: Settings, compute: Compute, tokens: Tokens, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._compute = compute
        self._tokens = tokens
        self._clock = clock

    def all(self, uses: Uses) -> Iterator[Check]:
        """Nothing comes after a failed beginning."""
        well = True
        for check in self._beginning():
            well = well and (check.kind == "clock" or bool(check.ok))
            yield check
        if not well:
            return
        balanced = any({"target_pool", "backend_service"} & set(item) for item in uses.vm_types.values())
        yield from self._permissions(PERMISSIONS + (BALANCING if balanced else ()))
        yield from self._uploads()
        zones = sorted({str(item["zone"]) for item in [*uses.azs.values(), {"zone": self._settings.zone}] if item.get("zone")})
        for zone in zones:
            yield self._there(f"zone {zone}", "configuration", f"/zones/{zone}", lambda found: f"it is {found.get('status')}")
        for region in sorted({region_of(zone) for zone in zones}):
            yield from self._quotas(region)
        for name, network in uses.networks.items():
            yield from self._network(name, network, zones)
        for name, properties in uses.vm_types.items():
            yield from self._machine(name, properties, zones)
        for name, properties in uses.disk_types.items():
            kind = str(properties.get("type") or "pd-standard")
            for zone in zones:
                yield self._there(f"disk type {name}: {kind} in {zone}", "storage", f"/zones/{zone}/diskTypes/{quoted(kind)}")
        for cid in uses.stemcell_cids:
            yield self._image(cid)

    def _beginning(self) -> Iterator[Check]:
        try:
            self._tokens.access_token  # noqa: B018 - getting it is the question
        except CpiError as error:
            lost = isinstance(error, Unavailable) or error.code == "tls"
            yield Check.failed(f"token for {self._tokens.who}", "reach" if lost else "authenticate", error)
            return
        place = self._settings.compute
        try:
            answer = self._compute.call(
                "GET project", lambda: self._compute.driver.connection.request(f"{API}/{self._settings.project}"),
                patience=_PATIENCE_SECONDS)
        except (Unavailable, Denied) as error:
            yield from Check.not_entered(f"{place.host}:{place.port}", f"{self._tokens.who} in project {self._settings.project}", error)
            return
        except NotFound as error:
            yield Check.failed(f"project {self._settings.project}", "configuration", error)
            return
        except CpiError as error:
            yield Check.failed(f"project {self._settings.project}", "authenticate", error)
            return
        yield Check(f"{place.host}:{place.port}", "reach", True, "answers")
        yield Check(f"{self._tokens.who} in project {self._settings.project}", "authenticate", True, "signed in")
        yield self._time(answer.headers.get("date") or "")

    def _time(self, told: str) -> Check:
        """Google takes no signature of another time."""
        try:
            apart = email.utils.parsedate_to_datetime(told).timestamp() - self._clock()
        except ValueError:
            return Check("clock", "clock", None, "the answer has no date")
        well = abs(apart) < _SKEW_SECONDS
        return Check(
            "clock", "clock", well, f"it differs by {abs(apart):.0f} s from Google's", "" if well else "Set this computer's clock right.")

    def _allowed(self, names: tuple[str, ...]) -> set[str]:
        path = f"/v1/projects/{self._settings.project}:testIamPermissions"
        answer = self._compute.call(
            f"POST {path}", lambda: self._compute.resources.request(path, method="POST", data={"permissions": list(names)}),
            patience=_PATIENCE_SECONDS)
        return set(answer.object.get("permissions") or ())

    def _permissions(self, names: tuple[str, ...]) -> Iterator[Check]:
        try:
            allowed = self._allowed(names)
        except CpiError as error:
            yield Check(
                "permissions", "permission", None, f"what the account may do cannot be asked: {error.message}",
                "Enable the API: gcloud services enable cloudresourcemanager.googleapis.com")
            return
        for name in names:
            yield Check(
                name, "permission", name in allowed, "" if name in allowed else "the account may not",
                "" if name in allowed else "Give it the role of docs/clouds/gcp.md.")

    def _uploads(self) -> Iterator[Check]:
        """These are needed for heavy stemcells only, so that their lack is no failure."""
        try:
            missing = sorted(set(UPLOADS) - self._allowed(UPLOADS))
        except CpiError:
            return  # said above already, for the others
        yield Check(
            "upload of heavy stemcells", "permission", None if missing else True,
            f"not allowed: {', '.join(missing)}" if missing else "", "Light stemcells do without." if missing else "")

    def _there(self, name: str, kind: Any, path: str, tell: Any = lambda found: "it is there") -> Check:
        try:
            found = self._compute.get(path, patience=_PATIENCE_SECONDS)
        except CpiError as error:
            return Check.failed(name, kind, error)
        well = found.get("status") in (None, "UP", "READY")
        return Check(name, kind, well, tell(found), "" if well else "Take another one, or wait until it is ready.")

    def _quotas(self, region: str) -> Iterator[Check]:
        try:
            found = self._compute.get(f"/regions/{region}", patience=_PATIENCE_SECONDS)
        except CpiError as error:
            yield Check.failed(f"quotas in {region}", "quota", error)
            return
        told = {item["metric"]: item for item in found.get("quotas") or ()}
        for metric in _QUOTAS:
            if metric in told:
                limit, usage = float(told[metric].get("limit") or 0), float(told[metric].get("usage") or 0)
                yield Check(
                    f"{metric} in {region}", "quota", usage < limit, f"{usage:.0f} of {limit:.0f} are used",
                    "" if usage < limit else "Ask for more in the console under IAM & Admin, Quotas.")

    def _network(self, name: str, properties: Mapping[str, Any], zones: list[str]) -> Iterator[Check]:
        project = f"{API}/{properties.get('xpn_host_project_id') or self._settings.project}"
        network = str(properties.get("network_name") or "default")
        yield self._there(f"network {name}: {network}", "network", f"{project}/global/networks/{quoted(network)}")
        subnet = properties.get("subnetwork_name")
        for region in sorted({region_of(zone) for zone in zones}) if subnet else ():
            title = f"network {name}: {subnet} in {region}"
            try:
                found = self._compute.get(f"{project}/regions/{region}/subnetworks/{quoted(str(subnet))}", patience=_PATIENCE_SECONDS)
                inside = _inside(name, str(found.get("ipCidrRange")))
            except CpiError as error:
                yield Check.failed(title, "network", error)
                continue
            yield Check(
                title, "network", inside, f"its range is {found.get('ipCidrRange')}",
                "" if inside else "Give the subnet of the cloud config a range within it.")

    def _machine(self, name: str, properties: Mapping[str, Any], zones: list[str]) -> Iterator[Check]:
        try:
            kind = machine_type(properties)
        except Invalid as error:
            if set(properties) & {"machine_type", "cpu", "ram"}:  # an extension may say nothing of the size
                yield Check.failed(f"machine type {name}", "configuration", error)
            return
        for zone in [str(properties["zone"])] if properties.get("zone") else zones:
            yield self._there(f"machine type {name}: {kind} in {zone}", "configuration", f"/zones/{zone}/machineTypes/{quoted(kind)}")

    def _image(self, cid: str) -> Check:
        try:
            path = image_link(self._settings.project, cid)
        except NotFound as error:
            return Check.failed(f"stemcell {cid}", "image", error)
        return self._there(f"stemcell {cid}", "image", f"/compute/v1/{path}")


def _inside(name: str, cidr: str) -> bool:
    """Whether the range in a network's name (`NETWORK/CIDR`) lies in the subnetwork's; a name without one does."""
    _, _, wanted = name.partition("/")
    try:
        return not wanted or ip_network(wanted, strict=False).subnet_of(ip_network(cidr))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False
