"""A job's specification and sources, from its archive or its folder. Source: release contract, section 2."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from director import diagnostics, errors
from director.release import model, tar, text

NO_MANIFEST = 80001
NO_TEMPLATE = 80002
NO_MONIT = 80004
BAD_PROPERTIES = 80008
BAD_LINKS = 80013
DUPLICATE_LINK = 80014
BAD_NAME = 80016

_LINK_ITEM = (
    "Each {0} item in the {0} section of the release spec must contain 'name' and 'type'"
)


@dataclasses.dataclass(frozen=True)
class JobSource:
    """A job with everything that rendering needs: monit text, extra monit files by name, template texts by source name."""

    spec: model.JobSpec
    monit: str
    templates: Mapping[str, str]
    properties_schema: Mapping[str, Any] | None = None
    extra_monits: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Identity:
    """What the release manifest says of a job."""

    name: str = ""
    release: str = ""
    version: str = ""
    fingerprint: str = ""
    digest: str = ""
    packages: tuple[str, ...] | None = None


def read_job(archive: Path, identity: Identity = Identity(), *, label: str = "") -> JobSource:
    """Read a job's archive. Raises ReleaseError with everything that is wrong with it."""
    files = tar.read_files(archive, label=label or archive.name)
    return _read(identity, "job.MF", sorted(files), lambda name: files[name][0] if name in files else None)


def read_job_folder(directory: Path, identity: Identity = Identity()) -> JobSource:
    """Read `jobs/NAME` of a release directory. Raises ReleaseError with everything that is wrong with it."""

    def load(name: str) -> bytes | None:
        path = directory / ("spec" if name == "job.MF" else name)
        return path.read_bytes() if path.is_file() else None

    names = [path.name for path in directory.iterdir() if path.is_file()]
    return _read(dataclasses.replace(identity, name=identity.name or directory.name), f"jobs/{directory.name}/spec", names, load)


def _read(identity: Identity, file: str, names: list[str], load: Callable[[str], bytes | None]) -> JobSource:
    problems = diagnostics.Diagnostics()
    raw = load("job.MF")
    if raw is None:
        raise errors.ReleaseError(f"Missing job manifest for '{identity.name}'", code=NO_MANIFEST)
    spec = text.read_map(_decode(raw, file, problems), file)
    name = identity.name or str(spec.get("name", ""))
    if spec.get("name") != name:
        problems.add(f"Inconsistent name for job '{name}'(exptected: '{name}', got: '{spec.get('name')}')", code=BAD_NAME)
    templates = {str(key): str(value) for key, value in _map_of(spec, "templates", name, problems).items()}
    sources = {}
    for source in templates:
        content = load(f"templates/{source}")
        if content is None:
            problems.add(f"Missing template file '{source}' for job '{name}'", code=NO_TEMPLATE, where=diagnostics.Where(file))
        else:
            sources[source] = _decode(content, f"{name}/templates/{source}", problems)
    _check_destinations(templates, name, file, problems)
    monit = load("monit")
    extra = {item: _decode(load(item) or b"", item, problems) for item in names if item.endswith(".monit") and "/" not in item}
    if monit is None and not extra:
        problems.add(f"Job '{name}' is missing monit file", code=NO_MONIT, suggestion="An empty file will do for a job without processes.")
    schema = _schema(load("properties_schema.json"), name, problems)
    job = model.JobSpec(
        name=name, release=identity.release, version=identity.version, fingerprint=identity.fingerprint, digest=identity.digest,
        templates=templates, packages=_packages(spec, identity, name, problems), properties=_properties(spec, name, problems),
        provides=_links(spec, "provides", name, problems), consumes=_links(spec, "consumes", name, problems), properties_schema=schema,
    )
    if problems.errors:
        raise errors.ReleaseError(*problems.errors)
    return JobSource(job, _decode(monit or b"", "monit", problems), sources, schema, extra)


def _packages(spec: Mapping[str, Any], identity: Identity, name: str, problems: diagnostics.Diagnostics) -> tuple[str, ...]:
    packages = spec.get("packages") or []
    if not isinstance(packages, list):
        problems.add(f"Job '{name}' has invalid packages spec format", detail="'packages' is a list of package names.")
        return ()
    return tuple(str(item) for item in packages) or identity.packages or ()


def _map_of(spec: Mapping[str, Any], key: str, job: str, problems: diagnostics.Diagnostics) -> dict[str, Any]:
    value = spec.get(key)
    if value is None or isinstance(value, dict):
        return value or {}
    code = {"properties": BAD_PROPERTIES}.get(key)
    problems.add(f"Job '{job}' has invalid {key} spec format", detail=f"'{key}' is a map, got a {type(value).__name__}.", code=code)
    return {}


def _properties(spec: Mapping[str, Any], job: str, problems: diagnostics.Diagnostics) -> tuple[model.PropertySpec, ...]:
    found = []
    for name, definition in _map_of(spec, "properties", job, problems).items():
        details = definition if isinstance(definition, dict) else {}
        found.append(
            model.PropertySpec(str(name), details.get("default"), "default" in details, str(details.get("description") or "").strip())
        )
    return tuple(found)


def _links(spec: Mapping[str, Any], kind: str, job: str, problems: diagnostics.Diagnostics) -> tuple[model.LinkSpec, ...]:
    items = spec.get(kind)
    if items is None:
        return ()
    if not isinstance(items, list):
        problems.add(
            f"Job '{job}' has invalid spec format: '{kind}' must be an array of hashes with name and type", code=BAD_LINKS
        )
        return ()
    found: dict[str, model.LinkSpec] = {}
    for item in items:
        if not isinstance(item, dict):
            problems.add(f"{kind.capitalize()} section in the release spec must be a list of hashes", code=BAD_LINKS)
            continue
        name, type_ = item.get("name"), item.get("type")
        if not isinstance(name, str) or not isinstance(type_, str) or not name or not type_:
            problems.add(_LINK_ITEM.format(kind), detail=f"Job '{job}'", code=BAD_LINKS)
            continue
        if kind == "provides" and "optional" in item:
            problems.add(f"Link '{name}' of type '{type_}' is a provides link, not allowed to have 'optional' key", code=BAD_LINKS)
        if name in found:
            problems.add(f"Job '{job}' specifies duplicate {kind} link with name '{name}'", code=DUPLICATE_LINK)
        properties = item.get("properties") if kind == "provides" else None
        names = tuple(str(entry) for entry in properties) if isinstance(properties, list) else ()
        found[name] = model.LinkSpec(name, type_, names, item.get("optional") is True)
    return tuple(found.values())


def _check_destinations(templates: Mapping[str, str], job: str, file: str, problems: diagnostics.Diagnostics) -> None:
    """Templates become files of `/var/vcap/jobs/NAME`, and nothing outside of it."""
    for source, destination in templates.items():
        for kind, name in (("source", source), ("destination", destination)):
            if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
                where = diagnostics.Where(file, path=f"templates/{source}")
                problems.add(f"Template {kind} '{name}' of job '{job}' leads out of the job", where=where)


def _schema(raw: bytes | None, job: str, problems: diagnostics.Diagnostics) -> dict[str, Any] | None:
    if raw is None:
        return None
    try:
        schema = json.loads(raw)
    except (ValueError, RecursionError) as error:
        problems.add(f"Job '{job}' has a properties_schema.json that is not valid JSON: {error}")
        return None
    if not isinstance(schema, dict):
        problems.add(f"Job '{job}' has a properties_schema.json that is not an object")
        return None
    return schema


def _decode(raw: bytes, file: str, problems: diagnostics.Diagnostics) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        problems.add(f"'{file}' is not UTF-8 text: byte {error.start} is {raw[error.start]:#04x}", where=diagnostics.Where(file))
        return ""
