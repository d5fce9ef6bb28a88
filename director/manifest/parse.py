"""A deployment manifest and its runtime configs -> Manifest, with all that is wrong told at once.

Source: manifest contract, sections 2 to 12 and 14.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence
from typing import Any

from director.diagnostics import Diagnostic, Diagnostics
from director.errors import ManifestError
from director.manifest import addons, model
from director.manifest.groups import Around, read_groups
from director.manifest.load import Document
from director.manifest.names import canonical, canonical_problem
from director.manifest.policy import check_text_map, read_features, read_update
from director.manifest.reader import MISSING_FIELD, Fields, Reader, inspect
from director.manifest.sources import Sources, read_releases, read_stemcells
from director.manifest.variables import DUPLICATE, read_variables
from director.release.model import Release, Stemcell

BAD_MANIFEST = 440001

_NAME = re.compile(r"[-0-9A-Za-z_+.]+\Z")
_CLOUD_ONLY = ("azs", "vm_types", "disk_types", "compilation")
_REFUSED = {
    "networks": (140026, "Deployment 'networks' are no longer supported. Network definitions must now be provided in a cloud-config."),
    "disk_pools": (140027, "disk_pools is no longer supported. Disk definitions must now be provided as disk_types in a cloud-config"),
    "jobs": (140023, "Jobs are no longer supported, please use instance groups instead"),
    "resource_pools": (140028, "resource_pools is no longer supported. You must now define resources in a cloud-config"),
    **{key: (190014, f"Deployment manifest contains '{key}' section, but this can only be set in a cloud-config.") for key in _CLOUD_ONLY},
}


def parse_manifest(
    document: Document,
    cloud: model.CloudConfig,
    *,
    runtime_configs: Sequence[Document] = (),
    releases: Sequence[Release] | None = None,
    stemcells: Sequence[Stemcell] | None = None,
    previous_groups: Collection[str] = (),
    teams: Collection[str] = (),
    vm_strategy: str = "",
    deployments: Collection[str] = (),
) -> model.Manifest:
    """Read and check a manifest against everything it names, and put the runtime configs' parts into it.

    `releases` and `stemcells` are all uploaded ones: names and `latest` are looked up in them; None skips that (an empty sequence does
    not). `previous_groups` are the groups of the last successful deploy, `teams` those of the deployment, `vm_strategy` is the
    director's default, `deployments` are all that there are.
    Early placeholders must have been resolved (`interpolate_for_director`). Warnings are in `Manifest.warnings`.
    Raises ManifestError with every diagnostic.
    """
    report = Diagnostics()
    reader = Reader(document, report)
    check_body(document)
    fields = _top_level(reader, document.tree)
    parser = _Parser(fields, cloud, Sources(releases, stemcells), teams)
    manifest = parser.read(vm_strategy, runtime_configs)
    parser.check_previous(manifest, previous_groups)
    parser.check_taken(manifest.name, deployments)
    if report.errors:
        raise ManifestError(*report.errors)
    return dataclasses.replace(manifest, warnings=report.warnings)


def check_runtime_configs(documents: Sequence[Document]) -> tuple[Diagnostic, ...]:
    """What is wrong with runtime configs by themselves, warnings too: without a manifest, and without knowing which releases there are."""
    report = Diagnostics()
    nothing = model.Manifest("", (), (), model.UpdatePolicy())
    _Runtime(report, Sources(None, None), addons.Deployment("", (), {}), "").apply(nothing, documents)
    return (*report.errors, *report.warnings)


def check_body(document: Document) -> str:
    """The deployment's name, from a document that may be anything. Raises ManifestError as the API does for a body. Source: section 2."""
    tree = document.tree
    if tree is None:
        raise ManifestError(
            "Manifest should not be empty", code=BAD_MANIFEST, suggestion=f"{document.file or 'The manifest'} holds nothing."
        )
    if not isinstance(tree, dict):
        raise ManifestError("Manifest should be a hash", code=BAD_MANIFEST, suggestion=f"It is {inspect(tree)}; begin with `name: ...`.")
    if "name" not in tree:
        raise ManifestError("Deployment manifest must have a 'name' key", code=MISSING_FIELD, suggestion="Add `name: DEPLOYMENT`.")
    return str(tree["name"])


def _top_level(reader: Reader, tree: dict[Any, Any]) -> Fields:
    refused = [key for key in _REFUSED if key in tree]
    for key in refused:
        code, text = _REFUSED[key]
        reader.error((key,), text, code, "Use `instance_groups`." if key == "jobs" else "Move it to the cloud config.")
    body = {key: value for key, value in tree.items() if key not in _REFUSED}
    if "release" in tree and "releases" in tree:
        reader.error(
            ("release",), "Deployment manifest contains both 'release' and 'releases' sections, please use one of the two.", 190001
        )
    elif "release" in tree:
        body["releases"] = [body.pop("release")]
    if "stemcells" not in tree or tree["stemcells"] == []:
        reader.error(
            ("stemcells",),
            "'stemcells' needs to be specified",
            190019,
            "For example: stemcells: [{alias: default, os: debian-12, version: latest}]",
        )
        body["stemcells"] = []
    fields = reader.fields("manifest", body, ())
    if fields is None:  # `body` is a map: check_body saw to that
        raise ManifestError("Manifest should be a hash", code=BAD_MANIFEST)
    return fields


class _Parser:
    """Reads one manifest; each method a section."""

    def __init__(self, fields: Fields, cloud: model.CloudConfig, sources: Sources, teams: Collection[str]) -> None:
        self.fields, self.cloud, self.sources, self.teams = fields, cloud, sources, teams
        self.reader = fields.reader

    def read(self, vm_strategy: str, runtime_configs: Sequence[Document]) -> model.Manifest:
        fields, sources = self.fields, self.sources
        name = self._name()
        stemcells = read_stemcells(fields.items("stemcells", "stemcell"), sources)
        releases = read_releases(fields.items("releases", "release"), sources)
        update = read_update(fields.child("update", "update"), model.UpdatePolicy(), vm_strategy=vm_strategy)
        features = read_features(self.reader, fields.raw["features"], fields.at("features")) if fields.has("features") else model.Features()
        mode = "converge" if features.converge_variables else "no-overwrite"
        variables = read_variables(self.reader, fields["variables"], fields.at("variables"), mode)
        by_name = {release.name: release for release in releases}
        by_alias = {stemcell.alias: stemcell for stemcell in stemcells}
        around = Around(self.cloud, sources, by_name, by_alias, update, fields["properties"], features.use_tmpfs_config)
        groups = read_groups(list(fields.items("instance_groups", "instance_group")), around)
        deployment = addons.Deployment(name, self.teams, by_alias)
        for addon in addons.read_addons(fields.items("addons", "addon"), by_name, runtime=False):
            groups, _ = addons.apply_addon(addon, groups, deployment, by_name, sources)
        manifest = model.Manifest(
            name, tuple(releases), tuple(stemcells), update, tuple(groups), tuple(variables), features, fields["tags"]
        )
        return _Runtime(self.reader.report, sources, deployment, mode).apply(manifest, runtime_configs)

    def _name(self) -> str:
        name = str(self.fields["name"])
        if self.fields.good("name"):
            if not _NAME.match(name):
                self.fields.error(
                    "name", f"Invalid deployment name '{name}'", 40000, "Letters, digits and the characters - _ + . are allowed."
                )
            elif problem := canonical_problem(name):
                self.fields.error("name", problem, 420001)
        return name

    def check_taken(self, name: str, deployments: Collection[str]) -> None:
        """Two deployments would have the same names in DNS. Source: section 1.3."""
        other = next((item for item in deployments if item != name and canonical(item) == canonical(name)), None)
        if other is not None:
            self.fields.error(
                "name", f"Invalid deployment name '{name}', canonical name already taken ('{other}')", 190009, "Choose another name.")

    def check_previous(self, manifest: model.Manifest, previous: Collection[str]) -> None:
        """Warn of `migrated_from` entries that name nothing, since a typing error there loses disks."""
        if not previous:
            return
        current = {group.name for group in manifest.instance_groups}
        for index, group in enumerate(manifest.instance_groups):
            for step, entry in enumerate(group.migrated_from):
                if entry.name not in previous and entry.name not in current and group.name not in previous:
                    self.reader.warn(
                        ("instance_groups", index, "migrated_from", step),
                        f"There is no instance group '{entry.name}' to migrate from",
                        f"Existing groups: {', '.join(sorted(previous))}.",
                    )


class _Runtime:
    """Puts runtime configs into a manifest, one after another. Source: manifest contract, section 14."""

    def __init__(self, report: Diagnostics, sources: Sources, deployment: addons.Deployment, mode: str) -> None:
        self.report, self.sources, self.deployment, self.mode = report, sources, deployment, mode
        self.tags_from = ""

    def apply(self, manifest: model.Manifest, documents: Sequence[Document]) -> model.Manifest:
        tags: model.Tree = {}
        for document in documents:
            if document.tree is None or document.tree == {}:
                continue
            fields = Reader(document, self.report).fields("runtime_config", document.tree, ())
            if fields is None:
                continue
            manifest = self._addons(manifest, fields)
            manifest = self._variables(manifest, fields)
            if fields.has("tags"):
                if self.tags_from:
                    fields.error(
                        "tags",
                        "Runtime config 'tags' key cannot be defined in multiple runtime configs.",
                        530006,
                        f"Also in {self.tags_from}.",
                    )
                self.tags_from = document.file or "another runtime config"
                tags = check_text_map(fields.reader, fields["tags"], fields.at("tags"), "tags")
        return dataclasses.replace(manifest, tags={**tags, **manifest.tags})

    def _addons(self, manifest: model.Manifest, fields: Fields) -> model.Manifest:
        items = list(fields.items("releases", "release"))
        refs = read_releases(items, self.sources, runtime=True)
        by_name = {ref.name: ref for ref in refs}
        groups: list[model.InstanceGroup] = list(manifest.instance_groups)
        used: set[str] = set()
        for addon in addons.read_addons(fields.items("addons", "addon"), by_name, runtime=True):
            groups, applied = addons.apply_addon(addon, groups, self.deployment, by_name, self.sources)
            used |= {job.release for job in addon.jobs} if applied else set()
        releases = list(manifest.releases)
        for item, ref in zip(items, refs, strict=True):
            existing = next((other for other in releases if other.name == ref.name), None)
            if ref.name not in used:
                continue
            if existing is None:
                releases.append(ref)
            elif existing.version != ref.version:
                item.error(
                    "version",
                    f"Runtime manifest specifies release '{ref.name}' with version as '{ref.version}'. This conflicts with version "
                    f"'{existing.version}' specified in the deployment manifest.",
                    530003,
                    "Use one version in both.",
                )
        return dataclasses.replace(manifest, instance_groups=tuple(groups), releases=tuple(releases))

    def _variables(self, manifest: model.Manifest, fields: Fields) -> model.Manifest:
        new = read_variables(fields.reader, fields["variables"], fields.at("variables"), self.mode)
        names = {variable.name for variable in manifest.variables}
        for index, variable in enumerate(new):
            if variable.name in names:
                fields.error(("variables", index), f"Duplicate variable name '{variable.name}'", DUPLICATE, "Remove one of the two.")
        return dataclasses.replace(manifest, variables=(*manifest.variables, *new))
