"""Instance groups. Source: manifest contract, section 8."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from director.diagnostics import did_you_mean
from director.errors import ReleaseError
from director.manifest import disks, model
from director.manifest.cloud_config import azs_match, network_azs, read_vm_resources
from director.manifest.group_networks import read_group_networks
from director.manifest.load import Path
from director.manifest.names import canonical, canonical_problem
from director.manifest.policy import read_update
from director.manifest.reader import INVALID_TYPE, Fields, Reader, inspect
from director.manifest.sources import Sources
from director.release import versions

STATES = ("started", "stopped", "detached", "restart", "recreate")


@dataclasses.dataclass(frozen=True)
class Around:
    """What a group is read against. `releases` are those of the manifest itself, by name."""

    cloud: model.CloudConfig
    sources: Sources
    releases: Mapping[str, model.ReleaseRef]
    stemcells: Mapping[str, model.StemcellRef]
    update: model.UpdatePolicy
    properties: Mapping[str, Any]
    tmpfs: bool | None = None


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Maps merge key by key, all else is replaced by `above`."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = deep_merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def read_groups(items: Sequence[Fields], around: Around) -> list[model.InstanceGroup]:
    """All groups in listed order."""
    made: list[model.InstanceGroup] = []
    seen: dict[str, str] = {}
    for fields in items:
        name = fields["name"]
        form = canonical(name)
        problem = canonical_problem(name)
        if problem:
            fields.error("name", problem, 420001)
        if name and form in seen:
            hint = "Rename one of the two." if seen[form] == name else f"It equals '{seen[form]}' in DNS: rename one of the two."
            fields.error("name", f"Invalid instance group name '{name}', canonical name already taken", 190006, hint)
        seen.setdefault(form, name)
        made.append(_Group(fields, around).read())
    _check_migrations(items, made)
    return made


def _check_migrations(items: Sequence[Fields], groups: Sequence[model.InstanceGroup]) -> None:
    names = {group.name for group in groups}
    taken: dict[str, str] = {}
    for fields, group in zip(items, groups, strict=True):
        for index, entry in enumerate(group.migrated_from):
            text = f"Failed to migrate instance group '{entry.name}' to '{group.name}'"
            where = ("migrated_from", index)
            if entry.name != group.name and entry.name in names:
                fields.error(
                    where,
                    f"{text}. A deployment can not migrate an instance group and also specify it. "
                    f"Please remove instance group '{entry.name}'.",
                    190018,
                )
            elif taken.get(entry.name, group.name) != group.name:
                fields.error(
                    where,
                    f"{text}. An instance group may be migrated to only one instance group.",
                    190018,
                    f"'{taken[entry.name]}' takes it too.",
                )
            taken.setdefault(entry.name, group.name)


class _Group:
    """Reads one group."""

    def __init__(self, fields: Fields, around: Around) -> None:
        self.fields, self.around = fields, around
        self.reader: Reader = fields.reader
        self.name: str = fields["name"]

    def error(self, key: str, summary: str, code: int, suggestion: str = "") -> None:
        self.fields.error(key, summary, code, suggestion)

    def unknown(self, path: Path, what: str, code: int, word: str, candidates: Any, kind: str) -> None:
        self.reader.unknown(path, f"Instance group '{self.name}' {what}", code, word, candidates, kind)

    def read(self) -> model.InstanceGroup:
        fields = self.fields
        self._refuse_old_keys()
        networks = read_group_networks(fields, self.around.cloud)
        azs = self._azs(networks)
        group = model.InstanceGroup(
            name=self.name,
            instances=fields["instances"],
            stemcell=self._stemcell(),
            jobs=self._jobs(),
            networks=networks,
            lifecycle=self._lifecycle(),
            azs=azs,
            vm_type=self._vm_type(),
            vm_resources=read_vm_resources(fields),
            vm_extensions=self._vm_extensions(),
            disks=disks.read_disks(fields, self.around.cloud),
            update=read_update(fields.child("update", "update", required=False), self.around.update),
            migrated_from=self._migrated_from(azs),
            env=self._env(),
            tags=fields["tags"],
            state=self._state(),
            instance_states=self._instance_states(),
            line=self.reader.document.line(fields.path),
        )
        check_exported_from(fields, group, self.around)
        return group

    def _refuse_old_keys(self) -> None:
        raw = self.fields.raw
        if "template" in raw or "templates" in raw:
            key = "template" if "template" in raw else "templates"
            self.error(
                key,
                f"Instance group '{self.name}' specifies template or templates. This is no longer supported, please use jobs instead",
                140024,
            )
        if "resource_pool" in raw:
            self.error(
                "resource_pool", "Instance groups no longer support resource_pool, please use 'vm_type' or 'vm_resources' keys", 140025
            )
        if "persistent_disk_pool" in raw:
            self.error(
                "persistent_disk_pool",
                "`persistent_disk_pool` is not supported as an `instance_groups` key. Please use `persistent_disk_type` instead.",
                140027,
            )

    def _lifecycle(self) -> str:
        lifecycle = str(self.fields["lifecycle"])
        if lifecycle not in ("service", "errand"):
            hint = did_you_mean(lifecycle, ("service", "errand"))
            self.error(
                "lifecycle",
                f"Invalid lifecycle '{lifecycle}' for '{self.name}', valid lifecycle profiles are: service, errand",
                140011,
                hint,
            )
        return lifecycle

    def _stemcell(self) -> str:
        alias = str(self.fields["stemcell"])
        if self.fields.good("stemcell") and alias not in self.around.stemcells:
            self.unknown(
                self.fields.at("stemcell"), f"references an unknown stemcell '{alias}'", 140005, alias, self.around.stemcells, "stemcells"
            )
        return alias

    def _vm_type(self) -> str:
        fields = self.fields
        if fields.has("vm_type") and fields.has("vm_resources"):
            self.error(
                "vm_resources",
                f"Instance group '{self.name}' can only specify 'vm_type' or 'vm_resources' keys.",
                140022,
                "Remove one of them.",
            )
        elif not fields.has("vm_type") and not fields.has("vm_resources"):
            self.reader.error(fields.path, f"Instance group '{self.name}' is missing either 'vm_type' or 'vm_resources' section.", 140022)
        vm_type = fields["vm_type"] or ""
        known = [item.name for item in self.around.cloud.vm_types]
        if fields.good("vm_type") and vm_type not in known:
            self.unknown(fields.at("vm_type"), f"references an unknown vm type '{vm_type}'", 140004, vm_type, known, "vm types")
        return vm_type

    def _vm_extensions(self) -> tuple[str, ...]:
        names = self.reader.strings(self.fields["vm_extensions"], self.fields.at("vm_extensions"))
        known = [item.name for item in self.around.cloud.vm_extensions]
        for index, name in enumerate(names):
            if name not in known:
                self.reader.unknown(
                    self.fields.at("vm_extensions", index),
                    f"The vm_extension '{name}' has not been configured in cloud-config.",
                    100,
                    name,
                    known,
                    "vm extensions",
                )
        return tuple(names)

    def _azs(self, networks: Sequence[model.GroupNetwork]) -> tuple[str, ...]:
        fields = self.fields
        if not fields.good("azs"):
            if not fields.has("azs"):
                self._check_network_azs(networks, None)
            return ()
        azs = fields["azs"]
        if not azs:
            self.error(
                "azs",
                f"Instance group '{self.name}' has empty availability zones",
                140017,
                "Remove the key, or name zones of the cloud config.",
            )
            return ()
        known = [az.name for az in self.around.cloud.azs]
        good = []
        for index, az in enumerate(azs):
            if not isinstance(az, str):
                self.fields.error(
                    ("azs", index), f"Instance group '{self.name}' has invalid availability zone '{inspect(az)}', string expected", 140016
                )
            elif az not in known:
                self.unknown(fields.at("azs", index), f"references unknown availability zone '{az}'", 140018, az, known, "azs")
            else:
                good.append(az)
        if len(good) == len(azs):
            self._check_network_azs(networks, good)
        return tuple(good)

    def _check_network_azs(self, networks: Sequence[model.GroupNetwork], azs: Sequence[str] | None) -> None:
        for index, item in enumerate(networks):
            network = self.around.cloud.network(item.name)
            if network is not None and not azs_match(network, azs):
                shown = ", ".join(sorted(network_azs(network))) or "none"
                self.fields.error(
                    ("networks", index),
                    f"Instance group '{self.name}' must specify availability zone that matches availability zones of network '{item.name}'",
                    150006,
                    f"The network's zones are: {shown}.",
                )

    def _jobs(self) -> tuple[model.JobRef, ...]:
        fields = self.fields
        if not fields.has("jobs") or fields.raw["jobs"] is None:
            return ()
        inherited = deep_merge(self.around.properties, fields["properties"])
        made: list[model.JobRef] = []
        for item in fields.items("jobs", "job"):
            job = self._job(item, inherited)
            if job.name and any(other.name == job.name for other in made):
                item.error("name", colocated(job.name, self.name), 140010, "Remove one of the two.")
            made.append(job)
        return tuple(made)

    def _job(self, item: Fields, inherited: Mapping[str, Any]) -> model.JobRef:
        name, release = item["name"], item["release"]
        if item.good("release"):
            ref = self.around.releases.get(release)
            if ref is None:
                self.reader.unknown(
                    item.at("release"),
                    f"Job '{name}' (instance group '{self.name}') references an unknown release '{release}'",
                    140002,
                    release,
                    self.around.releases,
                    "releases of the manifest",
                )
            else:
                check_job(item, name, ref, self.around.sources, 140029, f"Job '{name}' not found in release '{release}'")
        properties = item["properties"] if item.has("properties") and item.good("properties") else dict(inherited)
        return model.JobRef(name, release, properties, read_links(item, "consumes"), read_links(item, "provides"), _custom_providers(item))

    def _migrated_from(self, azs: tuple[str, ...]) -> tuple[model.MigratedFrom, ...]:
        made = []
        for item in self.fields.items("migrated_from", "migrated_from"):
            az = item["az"] or ""
            if az and az not in azs:
                item.error(
                    "az",
                    f"Instance group '{item['name']}' specified for migration to instance group '{self.name}' refers to availability "
                    f"zone '{az}'. Az '{az}' is not in the list of availability zones of instance group '{self.name}'.",
                    190018,
                    did_you_mean(az, azs),
                )
            made.append(model.MigratedFrom(item["name"], az))
        return tuple(made)

    def _env(self) -> model.Tree:
        env: model.Tree = self.fields["env"]
        if self.around.tmpfs is None:
            return env
        defaults = {"bosh": {"job_dir": {"tmpfs": self.around.tmpfs}, "agent": {"settings": {"tmpfs": self.around.tmpfs}}}}
        return deep_merge(defaults, env)

    def _state(self) -> str:
        state = self.fields["state"] or ""
        if state and state not in STATES:
            self.error(
                "state",
                f"Invalid state '{state}' for '{self.name}', valid states are: {', '.join(STATES)}",
                140008,
                did_you_mean(state, STATES),
            )
        return state

    def _instance_states(self) -> dict[str, str]:
        states = {}
        for key, state in self.fields["instance_states"].items():
            if state in STATES:
                states[str(key)] = state
            else:
                self.fields.error(
                    ("instance_states", key),
                    f"Invalid state '{state}' for '{self.name}/{key}', valid states are: {', '.join(STATES)}",
                    140007,
                    did_you_mean(str(state), STATES),
                )
        return states


def colocated(job: str, group: str) -> str:
    """The text of error 140010."""
    return f"Colocated job '{job}' is already added to the instance group '{group}'"


def check_job(item: Fields, name: str, ref: model.ReleaseRef, sources: Sources, code: int, text: str) -> bool:
    """Whether the release has the job, or is not known; else an error with the nearest job."""
    release = sources.release(ref.name, ref.version)
    if release is None or not name or release.job(name) is not None:
        return True
    item.reader.unknown(item.at("name"), text, code, name, [job.name for job in release.jobs], f"jobs of '{ref.name}'")
    return False


def read_links(item: Fields, key: str) -> model.Tree:
    """`consumes` or `provides` of a job: link name to a map, or to the text `nil`."""
    links: model.Tree = {}
    for name, value in (item[key] or {}).items():
        if isinstance(value, dict) or value == "nil":
            links[str(name)] = value
        else:
            item.error(
                (key, name),
                f"Property '{name}' value ({inspect(value)}) did not match the required type 'Hash'",
                INVALID_TYPE,
                "Write a map such as {from: NAME}, or the word nil.",
            )
    return links


def _custom_providers(item: Fields) -> tuple[model.Tree, ...]:
    made: list[model.Tree] = []
    for entry in item.items("custom_provider_definitions", "custom_provider"):
        if any(other["name"] == entry["name"] for other in made):
            entry.error("name", f"Custom provider '{entry['name']}' in job '{item['name']}' is defined multiple times in manifest.", 140010)
        made.append({"name": entry["name"], "type": entry["type"], "properties": entry["properties"]})
    return tuple(made)


def check_exported_from(fields: Fields, group: model.InstanceGroup, around: Around) -> None:
    """Error 80015: a compiled release that was not made for the group's stemcell. Source: manifest contract, section 4."""
    stemcell = around.stemcells.get(group.stemcell)
    if stemcell is None or not stemcell.os:
        return
    for name in dict.fromkeys(job.release for job in group.jobs):
        ref = around.releases.get(name)
        if ref is None or not ref.exported_from:
            continue
        if any(entry["os"] == stemcell.os and _same_line(entry["version"], stemcell.version) for entry in ref.exported_from):
            continue
        shown = f"{stemcell.os}/{stemcell.version}"
        listed = ", ".join(f"'{entry['os']}/{entry['version']}'" for entry in ref.exported_from)
        fields.error(
            "stemcell",
            f"Invalid release detected in instance group '{group.name}' using stemcell '{shown}': release '{name}' must be "
            f"exported from stemcell '{shown}'. Release '{name}' is exported from: {listed}.",
            80015,
        )


def _same_line(left: str, right: str) -> bool:
    try:
        return versions.same_line(left, right)
    except ReleaseError:
        return left == right
