"""What cloud configs ask of each cloud: checked against what it knows, and gathered for `caisson cloud check`.

BOSH gives cloud properties to the CPI unseen. So do we, and the CPI refuses what is wrong; but what a schema tells is told before, with
file and line, as a warning: a vm_type that no deployment uses must stop none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cpis import contract
from director.diagnostics import Diagnostic
from director.manifest.load import Document, Path

Tree = Mapping[Any, Any]
Types = Mapping[str, str]
"""CPI's name -> cloud; the empty name is the director's own. Of one that is no CPI of ours (a process) the cloud is empty."""

_UNREAD = (("local", "network"),)
"""The local CPI takes any properties of networks, so that configs written for other clouds run here."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Cloud properties somewhere in a config. `section` is the schema's, `cpis` who gets them (all, when the config does not tell)."""

    section: str
    name: str
    document: Document
    path: Path
    properties: Tree
    cpis: frozenset[str]


def parts(documents: Sequence[Document], cpis: Iterable[str]) -> Iterator[Part]:
    """All cloud properties of cloud configs, those of zones first."""
    everybody = frozenset(cpis)
    zones = {
        str(az.get("name")): str(az.get("cpi") or "") for document in documents for _, az in _items(document.tree, "azs")
    }
    for document in documents:
        for index, az in _items(document.tree, "azs"):
            yield from _part("az", document, ("azs", index), az, frozenset({str(az.get("cpi") or "")}) & everybody)
        for section, key in (("vm_type", "vm_types"), ("vm_type", "vm_extensions"), ("disk_type", "disk_types")):
            for index, item in _items(document.tree, key):
                yield from _part(section, document, (key, index), item, everybody)
        for index, network in _items(document.tree, "networks"):
            yield from _part("network", document, ("networks", index), network, everybody)
            for number, subnet in _items(network, "subnets"):
                names = subnet.get("azs") or ([subnet["az"]] if subnet.get("az") else [])
                there = frozenset(zones[name] for name in map(str, names if isinstance(names, list) else []) if name in zones)
                yield from _part(
                    "network", document, ("networks", index, "subnets", number), subnet, (there & everybody) or everybody,
                    name=f"{network.get('name')}/{subnet.get('range') or subnet.get('name') or number}")


def _items(tree: Any, key: str) -> Iterator[tuple[int, Tree]]:
    found = tree.get(key) if isinstance(tree, Mapping) else None
    for index, item in enumerate(found if isinstance(found, list) else ()):
        if isinstance(item, Mapping):
            yield index, item


def _part(section: str, document: Document, path: Path, item: Tree, cpis: frozenset[str], name: str = "") -> Iterator[Part]:
    properties = item.get("cloud_properties")
    if isinstance(properties, Mapping) and properties:
        yield Part(section, name or str(item.get("name")), document, (*path, "cloud_properties"), properties, cpis)


def problems(documents: Sequence[Document], types: Types, only: str | None = None) -> tuple[Diagnostic, ...]:
    """Warnings of keys and values that no cloud which gets them takes; with `only` of what that CPI gets. Placeholders may stand for
    anything."""
    return tuple(found for part in parts(documents, types) if only is None or only in part.cpis for found in _problems(part, types))


def _problems(part: Part, types: Types) -> Iterator[Diagnostic]:
    told: list[list[Diagnostic]] = []
    for cloud in sorted({types[name] for name in part.cpis}):
        if not cloud or (cloud, part.section) in _UNREAD:
            return  # it takes these as they are, or nobody knows
        found = list(_wrongs(part, cloud))
        if not found:
            return
        told.append(found)
    yield from told[0] if told else ()


def _wrongs(part: Part, cloud: str) -> Iterator[Diagnostic]:
    from cpis.cloud import schema

    if cloud not in schema.clouds():
        return
    known = schema.Schema.of(cloud)
    keys = known.sections[part.section]
    if part.section in ("az", "vm_type"):  # a zone's are merged under those of the machine
        own = {key.name for key in keys}
        keys = (*keys, *(key for key in known.sections["vm_type" if part.section == "az" else "az"] if key.name not in own))
    if not keys:
        return
    # What is required may stand in another place: a vm_type's in its zone or extension.
    keys = tuple(dataclasses.replace(key, required=False) for key in keys)
    for wrong, suggestion in schema.wrongs_of(keys, _without_placeholders(part.properties)):
        first = wrong.partition("'")[2].partition("'")[0].partition(".")[0].partition("[")[0]
        at = (*part.path, first) if first in part.properties else part.path
        yield Diagnostic(
            f"The {cloud} CPI will refuse the cloud properties of {_WORDS[part.section]} '{part.name}': {wrong}",
            where=part.document.where(at), suggestion=suggestion or f"`caisson docs cpi/{cloud} {part.section}s` explains all keys.",
            severity="warning")


_WORDS = {"az": "zone", "network": "network", "vm_type": "machines of", "disk_type": "disk type"}


def _without_placeholders(value: Any) -> Any:
    """Null where a placeholder is, which a schema takes for not given."""
    if isinstance(value, str):
        return None if "((" in value else value
    if isinstance(value, Mapping):
        return {key: _without_placeholders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [item for item in map(_without_placeholders, value) if item is not None]
    return value


def uses(documents: Sequence[Document], cpi: str, types: Types, stemcells: Iterable[str]) -> contract.Uses:
    """What there is to look at in that cloud. Of properties that several clouds might get, those that this one takes."""
    found: dict[str, dict[str, Tree]] = {"az": {}, "network": {}, "vm_type": {}, "disk_type": {}}
    for part in parts(documents, types):
        others = {types[name] for name in part.cpis} - {types[cpi]}
        if cpi in part.cpis and not (others and any(_wrongs(part, types[cpi]))):
            found[part.section][part.name] = dict(part.properties)
    return contract.Uses(found["az"], found["network"], found["vm_type"], found["disk_type"], tuple(stemcells))
