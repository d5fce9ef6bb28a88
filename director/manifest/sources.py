"""Releases and stemcells of a manifest, and what `latest` means today. Source: manifest contract, sections 4, 5 and 14."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from director.errors import ReleaseError
from director.manifest import model
from director.manifest.reader import MISSING_FIELD, Fields
from director.release import versions
from director.release.model import Release, Stemcell

RELEASE_MISSING, VERSION_MISSING, STEMCELL_MISSING = 30005, 30006, 50003

_LATEST = re.compile(r"(?:^|(.+)\.)latest$")

T = TypeVar("T", Release, Stemcell)


@dataclasses.dataclass(frozen=True)
class Sources:
    """What manifests may name. None: not known, so that nothing is looked up and `latest` stays."""

    releases: Sequence[Release] | None
    stemcells: Sequence[Stemcell] | None

    def release(self, name: str, version: str) -> Release | None:
        return next((item for item in self.releases or () if item.name == name and _same(item.version, version)), None)


def _same(stored: str, wanted: str) -> bool:
    """Whether two texts name the same version: equal order is not enough, `1` and `1.0` are two; `2.1-dev` is written `2+dev.1`."""
    if stored == wanted:
        return True
    try:
        return stored == str(versions.parse(wanted))
    except ReleaseError:
        return False


def _latest(wanted: str, texts: Iterable[str], *, stemcell: bool) -> str | None:
    """The greatest fitting version; texts that are no versions are passed over."""
    readable = []
    for text in texts:
        try:
            versions.parse_stemcell(text) if stemcell else versions.parse(text)
        except ReleaseError:
            continue
        readable.append(text)
    return versions.latest_of(wanted, readable, stemcell=stemcell)


def read_releases(items: Iterable[Fields], sources: Sources, *, runtime: bool = False) -> list[model.ReleaseRef]:
    """The `releases` of a manifest or a runtime config with exact versions."""
    made: list[model.ReleaseRef] = []
    seen: set[str] = set()
    for fields in items:
        name, version = fields["name"], fields["version"]
        if name and name in seen:
            fields.error("name", f"Duplicate release name '{name}'", 190002, "Remove one of the two.")
        seen.add(name)
        if runtime and re.search(r"(^|[._])latest$", version):
            fields.error(
                "version",
                f"Runtime manifest contains the release '{name}' with version as 'latest'. Please specify the actual version string.",
                530001,
            )
        elif name and version:
            version = _release_version(fields, name, version, sources)
        exported = tuple({"os": item["os"], "version": item["version"]} for item in fields.items("exported_from", "exported_from"))
        made.append(model.ReleaseRef(name, version, _text(fields, "url"), _text(fields, "sha1"), _stemcell_of(fields), exported))
    return made


def _text(fields: Fields, key: str) -> str:
    return fields[key] or ""


def _stemcell_of(fields: Fields) -> dict[str, str] | None:
    stemcell = fields["stemcell"]
    return {str(key): str(value) for key, value in stemcell.items()} if isinstance(stemcell, dict) else None


def _release_version(fields: Fields, name: str, version: str, sources: Sources) -> str:
    if sources.releases is None:
        return str(version)
    of_name = [item.version for item in sources.releases if item.name == name]
    if not of_name:
        fields.reader.unknown(
            fields.at("name"),
            f"Release '{name}' doesn't exist",
            RELEASE_MISSING,
            name,
            {item.name for item in sources.releases},
            "releases",
        )
        return str(version)
    match = _LATEST.match(version)
    if match:
        found = _latest(version, of_name, stemcell=False)
        if found is None:
            fields.error("version", f"Release version '{name}/{version}' doesn't exist", VERSION_MISSING, _uploaded(of_name))
        return found or version
    try:
        versions.parse(version)
    except ReleaseError as error:
        fields.error("version", f"Release version invalid: {version}", error.code, "A version looks like 1.2, 1.2-rc.1 or 1.2+dev.3.")
        return str(version)
    release = sources.release(name, version)
    if release is None:
        fields.error("version", f"Release version '{name}/{version}' doesn't exist", VERSION_MISSING, _uploaded(of_name))
        return str(version)
    return release.version


def _uploaded(texts: Sequence[str]) -> str:
    try:
        shown = versions.sort(texts)[-5:]
    except ReleaseError:
        shown = list(texts)[-5:]
    return f"Uploaded: {', '.join(shown)}. Upload the wanted one, or correct the version."


def read_stemcells(items: Iterable[Fields], sources: Sources) -> list[model.StemcellRef]:
    """The `stemcells` of a manifest; with known stemcells each has its exact version, os and name."""
    made: list[model.StemcellRef] = []
    seen: set[str] = set()
    for fields in items:
        alias = fields["alias"]
        if alias and alias in seen:
            fields.error("alias", f"Duplicate stemcell alias '{alias}'", 50005, "Rename one of the two.")
        seen.add(alias)
        os, name, version = _text(fields, "os"), _text(fields, "name"), fields["version"]
        if not os and not name:
            if not fields.wrong & {"os", "name"}:
                fields.reader.error(
                    fields.path,
                    f"Required property 'os' or 'name' was not specified in object (stemcell '{alias}')",
                    MISSING_FIELD,
                    "For example: os: debian-12",
                )
            made.append(model.StemcellRef(alias, version))
            continue
        ref = model.StemcellRef(alias, version, os, name)
        made.append(_resolve_stemcell(fields, ref, sources) if version and sources.stemcells is not None else ref)
    return made


def _resolve_stemcell(fields: Fields, ref: model.StemcellRef, sources: Sources) -> model.StemcellRef:
    stemcells = sources.stemcells or ()
    fits: Callable[[Stemcell], bool] = (lambda item: item.name == ref.name) if ref.name else (lambda item: item.os == ref.os)
    of_name = [item for item in stemcells if fits(item)]
    match = _LATEST.match(ref.version)
    version: str | None = ref.version
    if match:
        version = _latest(ref.version, [item.version for item in of_name], stemcell=True)
    found = next((item for item in of_name if item.version == version), None)
    if found is not None:
        return dataclasses.replace(ref, version=found.version, os=found.os, name=ref.name)
    if match and not of_name:
        summary = f"Stemcell '{ref.name}' doesn't exist" if ref.name else f"Stemcell with Operating System '{ref.os}' doesn't exist"
    elif match:
        prefix = match.group(1)
        what = f"Stemcell '{ref.name}'" if ref.name else f"Stemcell with Operating System '{ref.os}'"
        summary = f"{what} exists, but version with prefix '{prefix}' not found."
    else:
        summary = (
            f"Stemcell '{ref.name}/{ref.version}' doesn't exist"
            if ref.name
            else f"Stemcell version '{ref.version}' for OS '{ref.os}' doesn't exist"
        )
    key = "version" if of_name else "name" if ref.name else "os"
    fields.reader.unknown(
        fields.at(key),
        summary,
        STEMCELL_MISSING,
        ref.version if of_name else ref.name or ref.os,
        {item.version if of_name else item.name if ref.name else item.os for item in (of_name or stemcells)},
        "versions" if of_name else "stemcells",
    )
    return ref
