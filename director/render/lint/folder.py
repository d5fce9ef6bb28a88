"""A release directory as it is written, for the rules: specs with their lines, templates, scripts. Wrong things are kept, not refused."""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from director.diagnostics import Diagnostic, Where
from director.errors import ManifestError, UsageError
from director.manifest.load import Document, load_yaml

LARGEST = 4 << 20
"""Bytes of a file that is read; templates are much smaller."""


@dataclasses.dataclass(frozen=True)
class File:
    """`text` is None for what is no UTF-8 text or too large."""

    label: str
    text: str | None = None
    executable: bool = False


@dataclasses.dataclass(frozen=True)
class Job:
    """`jobs/NAME`. `templates` are the files below `templates/`, `monits` all monit files, both by name."""

    name: str
    label: str
    spec: Document
    templates: Mapping[str, File]
    monits: Mapping[str, File]
    schema: File | None = None

    @property
    def tree(self) -> Mapping[Any, Any]:
        return self.spec.tree if isinstance(self.spec.tree, dict) else {}

    def listed(self) -> Iterator[tuple[str, str]]:
        """Source and destination of the templates in the spec."""
        found = self.tree.get("templates")
        for source, destination in (found if isinstance(found, dict) else {}).items():
            yield str(source), str(destination)

    @property
    def whole(self) -> bool:
        """Whether all listed templates are there."""
        return all(source in self.templates for source, _destination in self.listed())

    def properties(self) -> tuple[str, ...]:
        found = self.tree.get("properties")
        return tuple(map(str, found)) if isinstance(found, dict) else ()

    def links(self, kind: str) -> Iterator[tuple[int, Mapping[Any, Any]]]:
        """Well-formed entries of `provides` or `consumes`, with their index."""
        found = self.tree.get(kind)
        for index, item in enumerate(found if isinstance(found, list) else ()):
            if isinstance(item, dict) and isinstance(item.get("name"), str):
                yield index, item

    def texts(self) -> Iterator[tuple[str, File]]:
        """All that is filled in: listed templates that are there, and monit files."""
        for source, _destination in self.listed():
            if source in self.templates:
                yield source, self.templates[source]
        yield from self.monits.items()


@dataclasses.dataclass(frozen=True)
class Package:
    """`packages/NAME`; `vendored` when it is a `spec.lock`."""

    name: str
    label: str
    spec: Document
    has_packaging: bool
    vendored: bool = False

    @property
    def tree(self) -> Mapping[Any, Any]:
        return self.spec.tree if isinstance(self.spec.tree, dict) else {}


@dataclasses.dataclass(frozen=True)
class Release:
    """`unreadable` tells of YAML that is none."""

    label: str
    config: Document
    jobs: tuple[Job, ...]
    packages: tuple[Package, ...]
    unreadable: tuple[Diagnostic, ...] = ()


def read_release(directory: Path) -> Release:
    """Read `directory`. Raises UsageError when it holds no release."""
    if not any((directory / name).exists() for name in ("jobs", "packages", "config/final.yml")):
        raise UsageError(
            f"'{directory}' is no release directory", suggestion="One has jobs/, packages/ and config/final.yml; give its path."
        )
    reader = _Reader(directory)
    jobs = tuple(reader.job(folder) for folder in _folders(directory / "jobs"))
    packages = tuple(reader.package(folder) for folder in _folders(directory / "packages"))
    config = reader.document(directory / "config/final.yml")
    return Release(str(directory), config, jobs, packages, tuple(reader.problems))


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")) if parent.is_dir() else []


class _Reader:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.problems: list[Diagnostic] = []

    def job(self, folder: Path) -> Job:
        templates = {
            path.relative_to(folder / "templates").as_posix(): self._file(path)
            for path in sorted((folder / "templates").rglob("*")) if path.is_file()
        }
        monits = {path.name: self._file(path) for path in sorted(folder.iterdir()) if path.name == "monit" or path.name.endswith(".monit")}
        schema = folder / "properties_schema.json"
        return Job(
            folder.name, str(folder), self.document(folder / "spec"), templates, monits, self._file(schema) if schema.is_file() else None
        )

    def package(self, folder: Path) -> Package:
        lock = folder / "spec.lock"
        spec = self.document(lock if lock.is_file() else folder / "spec")
        return Package(folder.name, str(folder), spec, (folder / "packaging").is_file(), lock.is_file())

    def document(self, path: Path) -> Document:
        file = self._file(path) if path.is_file() else None
        if file is None:
            return Document(None, str(path))
        if file.text is None:
            self.problems.append(Diagnostic(f"'{path.name}' is no UTF-8 text", where=Where(str(path))))
            return Document({}, str(path))
        try:
            document = load_yaml(file.text, str(path))
        except ManifestError as error:
            self.problems += error.diagnostics
            return Document({}, str(path))
        if document.tree is not None and not isinstance(document.tree, dict):
            self.problems.append(Diagnostic(f"'{path.name}' should hold a map", where=document.where(())))
        return document if isinstance(document.tree, dict) else document.replaced({})

    def _file(self, path: Path) -> File:
        try:
            status = path.stat()
            content = path.read_bytes() if status.st_size <= LARGEST else None
        except OSError as error:
            self.problems.append(Diagnostic(f"The file cannot be read: {error.strerror}", where=Where(str(path))))
            return File(str(path))
        try:
            text = None if content is None else content.decode("utf-8")
        except UnicodeDecodeError:
            text = None
        return File(str(path), text, bool(status.st_mode & stat.S_IXUSR))
