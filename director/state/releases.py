"""Releases: versions, with their jobs and packages. Equal jobs and packages of several versions are one row, and one blob."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from director import errors
from director.release import compiled, model
from director.state import database, tables
from director.state.compiled_packages import CompiledPackageRow

_versions, _jobs, _packages = tables.release_versions, tables.jobs, tables.packages
_version_jobs, _version_packages = tables.release_version_jobs, tables.release_version_packages


@dataclasses.dataclass(frozen=True)
class ReleaseVersionRow:
    """`complete` is false while, or because, an upload did not end well: the next upload then repairs it."""

    name: str
    version: str
    commit_hash: str
    uncommitted_changes: bool
    complete: bool
    created_at: float
    id: int = 0


class Releases(database.Repository):
    """Source: release contract, sections 7 and 8; API contract, 6.7."""

    def save(self, release: model.Release, *, complete: bool = True) -> ReleaseVersionRow:
        """Store a version with its jobs and packages, whose `blob_id`s are set; what a version of that name holds already stays in it.

        A package without `blob_id` keeps the blob recorded for it before. Compiled packages are stored by `compiled_packages`.
        """
        with self._db.write() as connection:
            found = self.find_version(release.name, release.version)
            values = {
                "commit_hash": release.commit_hash, "uncommitted_changes": release.uncommitted_changes, "complete": complete,
            }
            if found is None:
                number = self._insert(_versions, {
                    "name": release.name, "version": release.version, "created_at": self._db.clock(), **values})
            else:
                number = found.id
                self._change(_versions, _versions.c.id == number, values)
            jobs = [self._save_part(_jobs, release.name, _job_row(job)) for job in release.jobs]
            packages = [self._save_part(_packages, release.name, database.values_of(item)) for item in self._packages_of(release)]
            for table, column, parts in ((_version_jobs, "job_id", jobs), (_version_packages, "package_id", packages)):
                mine = sa.select(table.c[column]).where(table.c.release_version_id == number)
                held = set(connection.execute(mine).scalars())
                for part in parts:
                    if part not in held:
                        self._insert(table, {"release_version_id": number, column: part})
        saved = self.find_version(release.name, release.version)
        assert saved is not None
        return saved

    def complete(self, name: str, version: str) -> None:
        """Mark the version as wholly uploaded."""
        self._change(_versions, (_versions.c.name == name) & (_versions.c.version == version), {"complete": True})

    def find_version(self, name: str, version: str) -> ReleaseVersionRow | None:
        return self._one(ReleaseVersionRow, sa.select(_versions).where(_versions.c.name == name, _versions.c.version == version))

    def get(self, name: str, version: str, *, forms: bool = True) -> model.Release:
        """Jobs and packages sorted by name; with `forms` also what is compiled of the packages, sorted by name and age.

        Raises NotFoundError (30005 for the release, 30006 for the version).
        """
        with self._db.read() as connection:
            row = self.find_version(name, version)
            if row is None:
                if self.versions(name):
                    raise errors.NotFoundError(f"Release version '{name}/{version}' doesn't exist", code=30006)
                raise errors.NotFoundError(f"Release '{name}' doesn't exist", code=30005)
            jobs = connection.execute(
                sa.select(_jobs).join(_version_jobs, _version_jobs.c.job_id == _jobs.c.id)
                .where(_version_jobs.c.release_version_id == row.id).order_by(_jobs.c.name)).mappings().all()
            packages = self._many(
                model.PackageSpec, sa.select(_packages).join(_version_packages, _version_packages.c.package_id == _packages.c.id)
                .where(_version_packages.c.release_version_id == row.id).order_by(_packages.c.name))
        return model.Release(
            name=name, version=version, commit_hash=row.commit_hash, uncommitted_changes=row.uncommitted_changes,
            jobs=tuple(_job(item) for item in jobs), packages=tuple(packages), compiled_packages=self._forms(packages) if forms else (),
        )

    def _forms(self, packages: list[model.PackageSpec]) -> tuple[model.CompiledPackageSpec, ...]:
        """The compiled forms that were made with just these dependencies."""
        table = tables.compiled_packages
        by_fingerprint = {package.fingerprint: package for package in packages}
        rows = self._many_in(
            CompiledPackageRow, sa.select(table).order_by(table.c.name, table.c.created_at), table.c.fingerprint, list(by_fingerprint))
        by_name = {package.name: package for package in packages}
        keys: dict[str, str] = {}
        found = []
        for row in rows:
            package = by_name.get(row.name)
            if package is None or package.fingerprint != row.fingerprint:
                continue
            if package.name not in keys:
                keys[package.name] = compiled.dependency_key(package, by_name)
            if keys[package.name] == row.dependency_key:
                found.append(model.CompiledPackageSpec(
                    row.name, package.version, row.fingerprint, row.digest, f"{row.stemcell_os}/{row.stemcell_version}",
                    package.dependencies, row.blob_id))
        return tuple(found)

    def all(self) -> list[ReleaseVersionRow]:
        """Sorted by name, then in the order of upload; version order is for `release.versions`."""
        return self._many(ReleaseVersionRow, sa.select(_versions).order_by(_versions.c.name, _versions.c.id))

    def versions(self, name: str) -> list[str]:
        """In the order of upload."""
        return [row.version for row in self._many(
            ReleaseVersionRow, sa.select(_versions).where(_versions.c.name == name).order_by(_versions.c.id))]

    def job_names(self) -> dict[tuple[str, str], list[str]]:
        """(release, version) -> sorted names of its jobs, for all versions in one query."""
        query = (
            sa.select(_versions.c.name, _versions.c.version, _jobs.c.name)
            .join(_version_jobs, _version_jobs.c.release_version_id == _versions.c.id).join(_jobs, _jobs.c.id == _version_jobs.c.job_id)
            .order_by(_jobs.c.name))
        names: dict[tuple[str, str], list[str]] = {}
        with self._db.read() as connection:
            for release, version, job in connection.execute(query):
                names.setdefault((release, version), []).append(job)
        return names

    def load(self, pairs: Iterable[tuple[str, str]], *, forms: bool = True) -> tuple[model.Release, ...]:
        """`get` for each (name, version)."""
        with self._db.read():
            return tuple(self.get(name, version, forms=forms) for name, version in pairs)

    def jobs_with(self, release: str, name: str, fingerprint: str) -> list[model.JobSpec]:
        """Stored jobs that equal the given one; more than one when only their version texts differ."""
        query = sa.select(_jobs).where(_jobs.c.release == release, _jobs.c.name == name, _jobs.c.fingerprint == fingerprint)
        with self._db.read() as connection:
            return [_job(row) for row in connection.execute(query.order_by(_jobs.c.id)).mappings()]

    def packages_with(self, fingerprints: Iterable[str]) -> dict[str, model.PackageSpec]:
        """Fingerprint -> a stored package that has its source blob; for uploads that skip what is there."""
        rows = self._many_in(
            model.PackageSpec, sa.select(_packages).where(_packages.c.blob_id != ""), _packages.c.fingerprint, list(fingerprints))
        return {row.fingerprint: row for row in rows}

    def like(self, release: str, fingerprints: Iterable[str]) -> list[model.PackageSpec]:
        """Packages with these fingerprints in any version of that release, with or without source."""
        query = sa.select(_packages).where(_packages.c.release == release)
        return self._many_in(model.PackageSpec, query, _packages.c.fingerprint, list(fingerprints))

    def replace_blob(self, old: str, new: str, digest: str) -> None:
        """All jobs and packages whose archive is the blob `old` have `new` from now on (`--fix`)."""
        for table in (_jobs, _packages):
            self._change(table, table.c.blob_id == old, {"blob_id": new, "digest": digest})

    def delete(self, name: str, version: str) -> list[str]:
        """Forget a version; answers the blob ids that nothing refers to any more, for the caller to delete."""
        with self._db.write():
            self._delete(_versions, (_versions.c.name == name) & (_versions.c.version == version))
            return self._drop_unused()

    def _save_part(self, table: sa.Table, release: str, row: dict[str, Any]) -> int:
        same = (
            (table.c.release == release) & (table.c.name == row["name"]) & (table.c.fingerprint == row["fingerprint"])
            & (table.c.version == row["version"]))
        number = self._value(sa.select(table.c.id).where(same))
        if number is None:
            return self._insert(table, {**row, "release": release})
        changes = row if row["blob_id"] else {name: row[name] for name in row if name not in ("blob_id", "digest")}
        self._change(table, table.c.id == number, changes)
        return int(number)

    @staticmethod
    def _packages_of(release: model.Release) -> Iterable[model.PackageSpec]:
        """Source packages, and a row without blob for each that came compiled only."""
        yield from release.packages
        names = {package.name for package in release.packages}
        for item in release.compiled_packages:
            if item.name not in names:
                names.add(item.name)
                yield model.PackageSpec(item.name, item.version, item.fingerprint, "", item.dependencies)

    def _drop_unused(self) -> list[str]:
        """Forget jobs and packages of no version, and compiled forms of packages that no release has any more; their blobs."""
        forms = tables.compiled_packages
        with self._db.write() as connection:
            blobs: list[str] = []
            for table, link, column in ((_jobs, _version_jobs, "job_id"), (_packages, _version_packages, "package_id")):
                unused = table.c.id.not_in(sa.select(link.c[column]))
                blobs += [blob for (blob,) in connection.execute(sa.select(table.c.blob_id).where(unused, table.c.blob_id != ""))]
                gone = {(row.name, row.fingerprint) for row in connection.execute(sa.select(table).where(unused))}
                connection.execute(sa.delete(table).where(unused))
            left = {(name, mark) for name, mark in connection.execute(sa.select(_packages.c.name, _packages.c.fingerprint))}
            for name, mark in sorted(gone - left):
                same = (forms.c.name == name) & (forms.c.fingerprint == mark)
                blobs += connection.execute(sa.select(forms.c.blob_id).where(same)).scalars()
                connection.execute(sa.delete(forms).where(same))
            used = {blob for table in (_jobs, _packages, forms)
                    for (blob,) in connection.execute(sa.select(table.c.blob_id).where(table.c.blob_id.in_(blobs)))}
            return sorted(set(blobs) - used)


def _job_row(job: model.JobSpec) -> dict[str, Any]:
    spec = dataclasses.asdict(job)
    row = {name: spec.pop(name) for name in ("name", "version", "fingerprint", "digest", "blob_id")}
    del spec["release"]
    return {**row, "spec": spec}


def _job(row: sa.RowMapping) -> model.JobSpec:
    spec = row["spec"]
    return model.JobSpec(
        name=row["name"], release=row["release"], version=row["version"], fingerprint=row["fingerprint"], digest=row["digest"],
        blob_id=row["blob_id"], templates=spec["templates"], packages=tuple(spec["packages"]),
        properties=tuple(model.PropertySpec(**item) for item in spec["properties"]),
        provides=tuple(_link(item) for item in spec["provides"]), consumes=tuple(_link(item) for item in spec["consumes"]),
        properties_schema=spec["properties_schema"],
    )


def _link(item: dict[str, Any]) -> model.LinkSpec:
    return model.LinkSpec(name=item["name"], type=item["type"], properties=tuple(item["properties"]), optional=item["optional"])
