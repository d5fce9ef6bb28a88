"""CPI, resurrection and deploy configs. Source: manifest contract, sections 15 to 17."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from director.diagnostics import Diagnostic, Diagnostics, did_you_mean
from director.errors import ManifestError
from director.manifest import model
from director.manifest.load import Document
from director.manifest.reader import Fields, Reader

DUPLICATE_CPI, CPI_NOT_NAMED = 550000, 550001
DEPLOY_FLAGS = ("fix", "fix-releases", "recreate", "recreate-persistent-disks", "skip-upload-releases")


@dataclasses.dataclass(frozen=True)
class Cpi:
    """A cloud. `migrated_from` are older names of it; the empty text is the director's own CPI. `exec_path` is an executable that speaks
    BOSH's wire form, in the place of a CPI of ours."""

    name: str
    type: str
    properties: model.Tree = dataclasses.field(default_factory=dict, repr=False)
    migrated_from: tuple[str, ...] = ()
    exec_path: str = ""


@dataclasses.dataclass(frozen=True)
class Selection:
    """Deployments and instance groups; each key that is given must match."""

    deployments: frozenset[str] = frozenset()
    instance_groups: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return not self.deployments and not self.instance_groups

    def matches(self, deployment: str, group: str) -> bool:
        return (not self.deployments or deployment in self.deployments) and (not self.instance_groups or group in self.instance_groups)


@dataclasses.dataclass(frozen=True)
class ResurrectionRule:
    enabled: bool
    include: Selection = Selection()
    exclude: Selection = Selection()

    def applies(self, deployment: str, group: str) -> bool:
        """An empty include is everything, an empty exclude nothing."""
        return self.include.matches(deployment, group) and (self.exclude.is_empty or not self.exclude.matches(deployment, group))


def parse_cpi_config(documents: Sequence[Document]) -> tuple[Cpi, ...]:
    """All CPIs of all documents. Raises ManifestError with every diagnostic."""
    report = Diagnostics()
    made: list[Cpi] = []
    taken: set[str] = set()
    for document in documents:
        fields = Reader(document, report).fields("cpi_config", document.tree, ())
        for item in fields.items("cpis", "cpi") if fields else ():
            older = tuple(entry["name"] for entry in item.items("migrated_from", "cpi_migrated_from"))
            for name in (item["name"], *older):
                if name in taken:
                    item.error("name", f"Duplicate cpi name '{name}'", DUPLICATE_CPI, "Names and older names must differ from each other.")
                taken.add(name)
            made.append(Cpi(item["name"], item["type"], item["properties"], older, item["exec_path"]))
    _finish(report)
    return tuple(made)


def check_cpis(azs: Iterable[model.Az], names: Sequence[str]) -> None:
    """That zones and the CPI config's CPIs fit each other. Raises ManifestError with every diagnostic."""
    report = Diagnostics()
    for az in azs:
        if names and not az.cpi:
            report.add(
                f"AZ '{az.name}' must specify a CPI when CPI config is defined.",
                code=CPI_NOT_NAMED,
                suggestion=f"One of: {', '.join(names)}.",
            )
        elif az.cpi and az.cpi not in names:
            tail = "" if names else " (because cpi-config is not set)"
            hint = f"One of: {', '.join(names)}." if names else "Upload a CPI config, or remove cpi from the zone."
            report.add(f"Failed to load CPI for AZ '{az.name}': CPI '{az.cpi}' not found in cpi-config{tail}", suggestion=hint)
    _finish(report)


def parse_resurrection_configs(documents: Sequence[Document]) -> tuple[tuple[ResurrectionRule, ...], Diagnostics]:
    """The rules of all documents; malformed ones are skipped, and told in the diagnostics. Never raises."""
    report = Diagnostics()
    rules = []
    for document in documents:
        fields = Reader(document, report).fields("resurrection_config", document.tree, ())
        for item in fields.items("rules", "resurrection_rule") if fields else ():
            if not item.wrong:
                rules.append(ResurrectionRule(item["enabled"], _selection(item, "include"), _selection(item, "exclude")))
    return tuple(rules), report


def _selection(item: Fields, key: str) -> Selection:
    fields = item.child(key, "resurrection_filter")
    if fields is None:
        return Selection()
    return Selection(*(frozenset(fields.reader.strings(fields[name], fields.at(name))) for name in ("deployments", "instance_groups")))


def resurrects(rules: Iterable[ResurrectionRule], deployment: str, group: str) -> bool:
    """Whether an instance is brought back: every rule that applies says so, or none applies."""
    return all(rule.enabled for rule in rules if rule.applies(deployment, group))


def unknown_flags(document: Document) -> tuple[Diagnostic, ...]:
    """Warnings of flags that a deploy config names and nobody knows: they are ignored. For a document that `deploy_flags` takes."""
    report = Diagnostics()
    for index, flag in enumerate(document.tree.get("flags") or ()):
        if flag not in DEPLOY_FLAGS:
            hint = did_you_mean(str(flag), DEPLOY_FLAGS) or f"Known flags: {', '.join(DEPLOY_FLAGS)}."
            report.warn(f"Unknown flag '{flag}' is ignored", where=document.where(("flags", index)), suggestion=hint)
    return report.warnings


def deploy_flags(document: Document, deployment: str) -> tuple[str, ...]:
    """The flags that a deploy config adds for a deployment. Raises ManifestError; both lists given is one of its reasons."""
    report = Diagnostics()
    fields = Reader(document, report).fields("deploy_config", document.tree, ())
    flags: list[str] = []
    if fields is not None:
        include, exclude = (
            fields.reader.strings(fields[key], fields.at(key)) if fields.good(key) else None for key in ("include", "exclude")
        )
        if include is not None and exclude is not None:
            fields.error(
                "exclude", "Deploy config has both 'include' and 'exclude', only one is allowed", suggestion="Remove one of the two."
            )
        wanted = deployment in include if include is not None else deployment not in (exclude or ())
        flags = [flag for flag in fields.reader.strings(fields["flags"], fields.at("flags")) if flag in DEPLOY_FLAGS] if wanted else []
    _finish(report)
    return tuple(flags)


def _finish(report: Diagnostics) -> None:
    if report.errors:
        raise ManifestError(*report.errors)
