"""A release directory, read: its name, jobs, packages, license and how each is fingerprinted.

Source: release contract, sections 1 to 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from director import diagnostics, errors
from director.release import fingerprint, globs, job, text

PREPARED = "pre_packaging"
_SPECIAL = ("packaging", PREPARED)


@dataclasses.dataclass(frozen=True)
class JobFolder:
    """`jobs/NAME`; `entries` maps names in the archive to files."""

    name: str
    fingerprint: str
    packages: tuple[str, ...]
    entries: dict[str, Path]


@dataclasses.dataclass(frozen=True)
class PackageFolder:
    """`packages/NAME`. A vendored package (`spec.lock`) has no entries: its archive comes from `.final_builds`."""

    name: str
    fingerprint: str
    dependencies: tuple[str, ...]
    entries: dict[str, Path]
    prepare: Path | None = None
    no_compression: bool = False
    vendored: bool = False


@dataclasses.dataclass(frozen=True)
class Source:
    """`final` is `config/final.yml` with `config/private.yml` merged over its blobstore options."""

    directory: Path
    name: str
    final: dict[str, Any]
    jobs: tuple[JobFolder, ...]
    packages: tuple[PackageFolder, ...]
    license_files: tuple[Path, ...]
    license_fingerprint: str = ""


def read_config(directory: Path) -> dict[str, Any]:
    """`config/final.yml` as a map, credentials of `config/private.yml` merged in; {} when there is none."""
    final = _read(directory / "config" / "final.yml", directory)
    private = _read(directory / "config" / "private.yml", directory)
    options = (private.get("blobstore") or {}).get("options") or {}
    if options:
        blobstore = dict(final.get("blobstore") or {})
        blobstore["options"] = {**(blobstore.get("options") or {}), **options}
        final["blobstore"] = blobstore
    return final


def read_source(directory: Path, *, name: str = "") -> Source:
    """Read and fingerprint everything. `name` beats the configured one. Raises ReleaseError with all problems."""
    problems = diagnostics.Diagnostics()
    final = read_config(directory)
    if final.get("name") and final.get("final_name"):
        problems.add("Both 'name' and 'final_name' are set", where=diagnostics.Where("config/final.yml"), suggestion="Keep 'name'.")
    name = name or str(final.get("name") or final.get("final_name") or "")
    if not name:
        problems.add(
            "Expected non-empty 'name' in config 'config/final.yml'", where=diagnostics.Where(str(directory)),
            suggestion="Write 'name: RELEASE' into config/final.yml, or give --name.",
        )
    src, blobs = tuple(globs.files_below(directory / "src")), tuple(globs.files_below(directory / "blobs"))
    jobs = [item for folder in _folders(directory / "jobs") if (item := _job(folder, problems))]
    packages = [found for folder in _folders(directory / "packages") if (found := _package(folder, src, blobs, problems))]
    _check_names(jobs, packages, problems)
    licenses = sorted(
        (path for path in directory.iterdir() if path.name.startswith(("LICENSE", "NOTICE"))), key=lambda path: path.name
    )
    for path in licenses:
        if path.is_dir():
            problems.add(f"'{path.name}' is a directory, expected a license text", where=diagnostics.Where(path.name))
    if problems.errors:
        raise errors.ReleaseError(*problems.errors)
    mark = fingerprint.license_fingerprint(licenses) if licenses else ""
    return Source(directory, name, final, tuple(jobs), tuple(packages), tuple(licenses), mark)


def _job(folder: Path, problems: diagnostics.Diagnostics) -> JobFolder | None:
    where = diagnostics.Where(f"jobs/{folder.name}/spec")
    if not (folder / "spec").is_file():
        problems.add(f"Job '{folder.name}' has no spec", where=where)
        return None
    try:
        spec = text.read_map((folder / "spec").read_text("utf-8", errors="replace"), str(where))
        if spec.get("name") != folder.name:
            problems.add(f"Job directory '{folder.name}' does not match job name '{spec.get('name')}' in spec", where=where)
            return None
        source = job.read_job_folder(folder)
    except errors.ReleaseError as error:
        problems.extend(_placed(error, where))
        return None
    entries = {"job.MF": folder / "spec"}
    for name in ("monit", "properties_schema.json"):
        if (folder / name).exists():
            entries[name] = folder / name
    entries.update({f"templates/{name}": folder / "templates" / name for name in source.templates})
    mark = fingerprint.job_fingerprint(folder, source.templates)
    return JobFolder(folder.name, mark, source.spec.packages, entries)


def _package(folder: Path, src: tuple[str, ...], blobs: tuple[str, ...], problems: diagnostics.Diagnostics) -> PackageFolder | None:
    root = folder.parent.parent
    lock = folder / "spec.lock"
    file = lock if lock.is_file() else folder / "spec"
    where = diagnostics.Where(f"packages/{folder.name}/{file.name}")
    if not file.is_file():
        problems.add(f"Package '{folder.name}' has no spec", where=where)
        return None
    try:
        spec = text.read_map(file.read_text("utf-8", errors="replace"), where.file)
        name = str(spec.get("name") or folder.name)
        dependencies = _texts(spec, "dependencies", where, problems)
        if file == lock:
            return PackageFolder(name, str(spec.get("fingerprint") or ""), dependencies, {}, vendored=True)
        if not (folder / "packaging").is_file():
            problems.add(f"Expected to find 'packages/{folder.name}/packaging' for package '{name}'", where=where)
            return None
        patterns, excluded = _texts(spec, "files", where, problems), _texts(spec, "excluded_files", where, problems)
        files = _selected(root, patterns, excluded, src, blobs, where, problems)
    except errors.ReleaseError as error:
        problems.extend(_placed(error, where))
        return None
    for special in _SPECIAL:
        if special in files:
            problems.add(
                f"Expected special '{special}' file to not be included via 'files' key for package '{name}'", where=where
            )
    mark = fingerprint.package_fingerprint(folder, files, dependencies)
    prepare = folder / PREPARED if (folder / PREPARED).is_file() else None
    entries = {**files, "packaging": folder / "packaging"}
    return PackageFolder(name, mark, dependencies, entries, prepare, spec.get("no_compression") is True)


def _selected(
    root: Path, patterns: Iterable[str], excluded: Iterable[str], src: tuple[str, ...], blobs: tuple[str, ...], where: diagnostics.Where,
    problems: diagnostics.Diagnostics,
) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for pattern in patterns:
        found = {path: root / "blobs" / path for path in globs.select(blobs, pattern)}
        found.update({path: root / "src" / path for path in globs.select(src, pattern)})
        if not found:
            problems.add(
                f"Missing files for pattern '{pattern}'", where=where,
                suggestion="Put files that it matches into src/ or blobs/; patterns name files, not folders.",
            )
        files.update({path: file for path, file in found.items() if path not in files or file.relative_to(root).parts[0] == "src"})
    for pattern in excluded:
        for path in globs.select(list(files), pattern):
            del files[path]
    return files


def _check_names(jobs: Iterable[JobFolder], packages: Iterable[PackageFolder], problems: diagnostics.Diagnostics) -> None:
    known = {package.name for package in packages}
    wanted = [(f"Job '{item.name}'", f"jobs/{item.name}/spec", item.packages) for item in jobs]
    wanted += [(f"Package '{item.name}'", f"packages/{item.name}/spec", item.dependencies) for item in packages]
    for who, file, names in wanted:
        for name in names:
            if name not in known:
                problems.add(
                    f"{who} references missing package '{name}'", where=diagnostics.Where(file),
                    suggestion=diagnostics.did_you_mean(name, known),
                )


def _texts(spec: dict[str, Any], key: str, where: diagnostics.Where, problems: diagnostics.Diagnostics) -> tuple[str, ...]:
    value = spec.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.add(f"'{key}' is not a list", where=where)
        return ()
    return tuple(str(item) for item in value)


def _placed(error: errors.ReleaseError, where: diagnostics.Where) -> list[diagnostics.Diagnostic]:
    return [item if item.where else dataclasses.replace(item, where=where) for item in error.diagnostics]


def _read(path: Path, root: Path) -> dict[str, Any]:
    return text.read_map(path.read_text("utf-8"), path.relative_to(root).as_posix()) if path.is_file() else {}


def _folders(path: Path) -> list[Path]:
    return sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith(".")) if path.is_dir() else []
