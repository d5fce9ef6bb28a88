"""A release arrives: with its sources, compiled, or with only what is not here yet. Source: release contract, section 8."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from director.diagnostics import Diagnostic
from director.errors import ConflictError, ReleaseError
from director.execute.context import Context
from director.execute.fetch import Upload, fetched
from director.plan.packages import ReleasePackages
from director.release import archive, digest, manifest, versions
from director.release.model import CompiledPackageSpec, JobSpec, PackageSpec, Release
from director.state.blobs import BlobRow
from director.state.compiled_packages import CompiledPackageRow

OTHER_COMMIT, OTHER_JOB, OTHER_PACKAGE, OTHER_DEPENDENCIES = 30014, 30013, 30012, 30016
LOCK_SECONDS = 300.0

Part = TypeVar("Part", JobSpec, PackageSpec, CompiledPackageSpec)


def upload_release(ctx: Context, upload: Upload) -> str:
    """Verify and store a release version: all of it, or nothing. The task's result."""
    with fetched(ctx, upload, "release") as path:
        with ctx.log.stage("Extracting release").step("Extracting release"):
            opened = archive.open_release(path, workdir=ctx.blobs.incoming, known=_known(ctx))
        with opened, ctx.lock(f"lock:release:{opened.release.name}", LOCK_SECONDS):
            release = _versioned(ctx, opened.release, rebase=upload.rebase)
            with ctx.event("create", "release", f"{release.name}/{release.version}"):
                with ctx.log.stage("Verifying manifest").step("Verifying manifest"):
                    _compare(ctx, release)
                _Storing(ctx, dataclasses.replace(opened, release=release), fix=upload.fix).store()
    what = "Compiled Release" if release.compiled_packages else "Release"
    with ctx.log.stage(f"{what} has been created").step(f"{release.name}/{release.version}"):
        pass
    return f"Created release '{release.name}/{release.version}'"


def _known(ctx: Context) -> archive.Known:
    """Whether a package's archive may be missing: its source is here, or its compiled form with the same dependencies."""
    def known(item: PackageSpec | CompiledPackageSpec, listing: manifest.Manifest) -> bool:
        if isinstance(item, PackageSpec):
            return bool(ctx.store.releases.packages_with([item.fingerprint]))
        packages = ReleasePackages(Release(listing.name, listing.version, packages=listing.packages,
                                           compiled_packages=listing.compiled_packages))
        return ctx.store.compiled_packages.find(packages.key(item.name, item.stemcell)) is not None

    return known


def _versioned(ctx: Context, release: Release, *, rebase: bool) -> Release:
    """The release with its version as the director writes it (`007` is `7`), or with the next one. Raises ReleaseError 30010."""
    try:
        version = str(versions.parse(release.version))
    except ReleaseError as error:
        raise error.at("release.MF") from error
    if rebase:
        version = versions.rebased(version, ctx.store.releases.versions(release.name))
    return dataclasses.replace(release, version=version)


def _compare(ctx: Context, release: Release) -> None:
    """What is here already must be the same. Raises ConflictError with all differences."""
    problems = _other_dependencies(ctx, release)
    row = ctx.store.releases.find_version(release.name, release.version)
    if row is not None:
        title = f"{release.name}/{release.version}"
        if (row.commit_hash, row.uncommitted_changes) != (release.commit_hash, release.uncommitted_changes):
            raise ConflictError(Diagnostic(
                f"release '{title}' has already been uploaded with commit_hash as '{row.commit_hash}' and "
                f"uncommitted_changes as '{str(row.uncommitted_changes).lower()}'", code=OTHER_COMMIT,
                suggestion="Give it another version, or upload with --rebase.",
            ))
        stored = ctx.store.releases.get(release.name, release.version, forms=False)
        problems += [
            Diagnostic(f"job '{job.name}' had different fingerprint in previously uploaded release '{title}'", code=OTHER_JOB)
            for job in release.jobs if (old := stored.job(job.name)) is not None and old.fingerprint != job.fingerprint
        ]
        marks = [(item.name, item.fingerprint) for item in release.packages]
        marks += [(item.name, item.fingerprint) for item in release.compiled_packages]
        differing = {name for name, mark in marks if (known := stored.package(name)) is not None and known.fingerprint != mark}
        problems += [
            Diagnostic(f"package '{name}' had different fingerprint in previously uploaded release '{title}'", code=OTHER_PACKAGE)
            for name in sorted(differing)
        ]
    if problems:
        raise ConflictError(*problems)


def _other_dependencies(ctx: Context, release: Release) -> list[Diagnostic]:
    """Compiled packages must name the dependencies that the package is known with: their form is found by them."""
    known = ctx.store.releases.like(release.name, [item.fingerprint for item in release.compiled_packages])
    dependencies = {(item.name, item.fingerprint): set(item.dependencies) for item in known}
    names = {
        item.name for item in release.compiled_packages
        if dependencies.get((item.name, item.fingerprint), set(item.dependencies)) != set(item.dependencies)
    }
    return [
        Diagnostic(
            f"The uploaded release contains package dependencies in '{name}' that do not match database records.", code=OTHER_DEPENDENCIES)
        for name in sorted(names)
    ]


class _Storing:
    """One upload's blobs and rows. What was put into the blobstore is taken out again when anything fails."""

    def __init__(self, ctx: Context, opened: archive.ReleaseArchive, *, fix: bool) -> None:
        self._ctx, self._opened, self._fix = ctx, opened, fix
        self._release = opened.release
        self._keys = ReleasePackages(opened.release)
        self._added: list[BlobRow] = []
        self._replaced: dict[str, BlobRow] = {}
        self._forms: list[CompiledPackageRow] = []

    def store(self) -> None:
        """Raises ReleaseError, ConflictError; nothing is kept then."""
        try:
            jobs, packages = self._put_all()
            with self._ctx.store.transaction(durable=True):
                self._record(jobs, packages)
        except BaseException:
            for blob in self._added:
                self._ctx.blobs.delete(blob.id)
            raise
        for old in self._replaced:
            drop_blob(self._ctx, old)

    def _put_all(self) -> tuple[list[JobSpec], list[PackageSpec]]:
        releases, release = self._ctx.store.releases, self._release
        with self._ctx.log.stage("Resolving package dependencies").step("Resolving package dependencies"):
            sources = releases.packages_with([item.fingerprint for item in release.packages])
            forms = self._ctx.store.compiled_packages.with_keys([self._key(item) for item in release.compiled_packages])
            same = {item.name: releases.jobs_with(release.name, item.name, item.fingerprint) for item in release.jobs}
        packages = self._each("package", release.packages, lambda item: self._source(item, sources.get(item.fingerprint)),
                              lambda item: item.fingerprint in sources)
        self._each("compiled package", release.compiled_packages, lambda item: self._form(item, forms.get(self._key(item))),
                   lambda item: self._key(item) in forms)
        jobs = self._each("job", release.jobs, lambda item: self._job(item, next(iter(same[item.name]), None)),
                          lambda item: bool(same[item.name]))
        return jobs, packages

    def _each(self, what: str, items: Sequence[Part], make: Callable[[Part], Part], known: Callable[[Part], bool]) -> list[Part]:
        """Each part with its blob, told as the reference tells it: new ones by name, known ones by their number."""
        new, old = [item for item in items if not known(item)], [item for item in items if known(item)]
        made = []
        if new:
            stage = self._ctx.log.stage(f"Creating new {what}s", len(new))
            for item in new:
                with stage.step(f"{item.name}/{item.version}"):
                    self._ctx.check()
                    made.append(make(item))
        if old:
            title = f"Processing {len(old)} existing {what}{'' if len(old) == 1 else 's'}"
            with self._ctx.log.stage(title).step(title):
                made += [make(item) for item in old]
        return made

    def _source(self, package: PackageSpec, known: PackageSpec | None) -> PackageSpec:
        """The package with its blob: the one that is stored for this fingerprint, or the one that came."""
        path = self._opened.package_archive(package.name)
        if known is not None and self._stays(known.blob_id, path):
            return dataclasses.replace(package, blob_id=known.blob_id, digest=known.digest)
        blob = self._put(path, "package", package, known.blob_id if known else "")
        return dataclasses.replace(package, blob_id=blob.id)

    def _job(self, job: JobSpec, known: JobSpec | None) -> JobSpec:
        path = self._opened.job_archive(job.name)
        if known is not None and self._stays(known.blob_id, path):
            return dataclasses.replace(job, blob_id=known.blob_id, digest=known.digest)
        return dataclasses.replace(job, blob_id=self._put(path, "job", job, known.blob_id if known else "").id)

    def _form(self, package: CompiledPackageSpec, known: CompiledPackageRow | None) -> CompiledPackageSpec:
        path = self._opened.compiled_archive(package.name)
        if known is not None and self._stays(known.blob_id, path):
            return package
        blob = self._put(path, "compiled-package", package, known.blob_id if known else "")
        os, _, version = package.stemcell.rpartition("/")
        self._forms.append(CompiledPackageRow(
            key=self._key(package), name=package.name, version=package.version, fingerprint=package.fingerprint, stemcell_os=os,
            stemcell_version=version, blob_id=blob.id, digest=f"sha256:{blob.sha256}",
            dependency_key=self._keys.dependency_key(package.name), size=blob.size,
        ))
        return package

    def _key(self, package: CompiledPackageSpec) -> str:
        return self._keys.key(package.name, package.stemcell)

    def _stays(self, blob_id: str, path: Path | None) -> bool:
        """Whether a stored archive is used on: it is there, and was not sent to be replaced."""
        return self._ctx.blobs.exists(blob_id) and (path is None or not self._fix)

    def _put(self, path: Path | None, kind: str, part: JobSpec | PackageSpec | CompiledPackageSpec, old: str) -> BlobRow:
        """Store an archive; `old` is the blob that it stands in for. Raises ReleaseError when it was not sent."""
        if path is None:
            raise ReleaseError(
                f"{kind.capitalize().replace('-', ' ')} '{part.name}/{part.fingerprint}' was not sent, and what is stored of it is gone",
                code=digest.MISMATCH, suggestion="Upload the release whole, with --fix.")
        blob = self._ctx.blobs.put(path, expected=part.digest)
        row = BlobRow(blob.id, kind, blob.sha256, blob.size, blob.sha1)
        self._added.append(row)
        if old:
            self._replaced[old] = row
        return row

    def _record(self, jobs: list[JobSpec], packages: list[PackageSpec]) -> None:
        store = self._ctx.store
        for blob in self._added:
            store.blobs.add(blob)
        store.releases.save(dataclasses.replace(self._release, jobs=tuple(jobs), packages=tuple(packages)))
        for old, blob in list(self._replaced.items()):
            store.releases.replace_blob(old, blob.id, f"sha256:{blob.sha256}")
            if blob.kind == "package":
                self._forget_forms([item.fingerprint for item in packages if item.blob_id == blob.id], blob)
        for form in self._forms:
            known = store.compiled_packages.add(form)
            if known.blob_id != form.blob_id:
                store.compiled_packages.replace_blob(form.key, form.blob_id, form.digest, form.size)

    def _forget_forms(self, fingerprints: list[str], blob: BlobRow) -> None:
        """What was compiled of a source that was replaced is not trusted."""
        for fingerprint in fingerprints:
            for row in self._ctx.store.compiled_packages.of_package(fingerprint):
                self._ctx.store.compiled_packages.delete(row.key)
                self._replaced[row.blob_id] = blob


def drop_blob(ctx: Context, blob_id: str) -> None:
    """The row first: a blob without a row is found by a sweep, a row without a blob breaks a deploy."""
    ctx.store.blobs.delete(blob_id)
    ctx.blobs.delete(blob_id)
