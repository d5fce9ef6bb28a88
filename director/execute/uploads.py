"""Releases and stemcells arrive. Source: release contract, sections 8 and 12."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from director.diagnostics import Diagnostic
from director.errors import ConflictError, ReleaseError
from director.execute.context import Context
from director.plan.packages import ReleasePackages
from director.release import archive, digest, versions
from director.release.model import CompiledPackageSpec, JobSpec, PackageSpec, Release
from director.release.stemcell import StemcellArchive, read_stemcell
from director.state.blobs import BlobRow
from director.state.compiled_packages import CompiledPackageRow
from director.state.stemcells import StemcellRow

OTHER_COMMIT, OTHER_JOB, OTHER_PACKAGE, NO_FORMAT = 30014, 30013, 30012, 50008
FETCH_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Upload:
    """Where the archive is: a `path` that the task owns, or a `url`. `sha1` is a digest text, '' for none."""

    path: str = ""
    url: str = ""
    sha1: str = ""
    fix: bool = False
    rebase: bool = False


def upload_release(ctx: Context, upload: Upload) -> str:
    """Verify and store a release version. The task's result."""
    stage = ctx.log.stage("Extracting release", 1)
    with _fetched(ctx, upload, "release") as path:
        with stage.step("Extracting release"):
            known = ctx.store.releases.packages_with
            opened = archive.open_release(path, workdir=ctx.blobs.root / "tmp", known=lambda fingerprint: bool(known([fingerprint])))
        with opened:
            release = _rebased(ctx, opened.release) if upload.rebase else opened.release
            with ctx.event("create", "release", f"{release.name}/{release.version}"):
                _compare(ctx, release)
                _store(ctx, dataclasses.replace(opened, release=release), fix=upload.fix)
    stage = ctx.log.stage("Release has been created", 1)
    with stage.step(f"{release.name}/{release.version}"):
        pass
    return f"Created release '{release.name}/{release.version}'"


def _compare(ctx: Context, release: Release) -> None:
    """A version that is there already must be the same."""
    row = ctx.store.releases.find_version(release.name, release.version)
    if row is None:
        return
    if (row.commit_hash, row.uncommitted_changes) != (release.commit_hash, release.uncommitted_changes):
        raise ConflictError(Diagnostic(
            f"release '{release.name}/{release.version}' has already been uploaded with commit_hash as '{row.commit_hash}' and "
            f"uncommitted_changes as '{str(row.uncommitted_changes).lower()}'", code=OTHER_COMMIT,
            suggestion="Give it another version, or upload with --rebase.",
        ))
    stored = ctx.store.releases.get(release.name, release.version)
    problems = [
        Diagnostic(
            f"job '{job.name}' had different fingerprint in previously uploaded release '{release.name}/{release.version}'", code=OTHER_JOB)
        for job in release.jobs if (old := stored.job(job.name)) is not None and old.fingerprint != job.fingerprint
    ]
    problems += [
        Diagnostic(
            f"package '{package.name}' had different fingerprint in previously uploaded release '{release.name}/{release.version}'",
            code=OTHER_PACKAGE)
        for package in release.packages if (known := stored.package(package.name)) is not None and known.fingerprint != package.fingerprint
    ]
    if problems:
        raise ConflictError(*problems)


def _store(ctx: Context, opened: archive.ReleaseArchive, *, fix: bool) -> None:
    release = opened.release
    stage = ctx.log.stage("Creating new packages", max(1, len(release.packages)))
    packages = []
    for package in release.packages:
        with stage.step(f"{package.name}/{package.version}"):
            packages.append(_package(ctx, opened, package, fix=fix))
    stage = ctx.log.stage("Creating new jobs", max(1, len(release.jobs)))
    jobs = []
    for job in release.jobs:
        with stage.step(f"{job.name}/{job.version}"):
            jobs.append(_job(ctx, opened, release, job, fix=fix))
    compiled = [_compiled(ctx, opened, package) for package in release.compiled_packages]
    with ctx.store.transaction(durable=True):
        ctx.store.releases.save(dataclasses.replace(release, jobs=tuple(jobs), packages=tuple(packages)))
        for row in compiled:
            ctx.store.compiled_packages.add(row)


def _package(ctx: Context, opened: archive.ReleaseArchive, package: PackageSpec, *, fix: bool) -> PackageSpec:
    """The package with its blob: the one that is stored for this fingerprint, or the one that came."""
    known = ctx.store.releases.packages_with([package.fingerprint]).get(package.fingerprint)
    path = opened.package_archive(package.name)
    if known is not None and ctx.blobs.exists(known.blob_id) and (path is None or not fix):
        return dataclasses.replace(package, blob_id=known.blob_id, digest=known.digest)
    if path is None:
        raise ReleaseError(f"Package '{package.name}/{package.fingerprint}' is neither in the release nor known", code=30015)
    return dataclasses.replace(package, blob_id=_keep(ctx, path, "package", package.digest))


def _job(ctx: Context, opened: archive.ReleaseArchive, release: Release, job: JobSpec, *, fix: bool) -> JobSpec:
    same = [item for item in ctx.store.releases.jobs_with(release.name, job.name, job.fingerprint) if ctx.blobs.exists(item.blob_id)]
    if same and not fix:
        return dataclasses.replace(job, blob_id=same[0].blob_id, digest=same[0].digest)
    return dataclasses.replace(job, blob_id=_keep(ctx, opened.job_archive(job.name), "job", job.digest))


def _compiled(ctx: Context, opened: archive.ReleaseArchive, package: CompiledPackageSpec) -> CompiledPackageRow:
    path = opened.compiled_archive(package.name)
    if path is None:
        raise ReleaseError(f"Compiled package '{package.name}/{package.fingerprint}' is not in the release", code=30015)
    keys = ReleasePackages(opened.release)
    os, _, version = package.stemcell.rpartition("/")
    blob_id = _keep(ctx, path, "compiled-package", package.digest)
    blob = ctx.store.blobs.get(blob_id)
    return CompiledPackageRow(
        key=keys.key(package.name, package.stemcell), name=package.name, version=package.version, fingerprint=package.fingerprint,
        stemcell_os=os, stemcell_version=version, blob_id=blob_id, digest=f"sha256:{blob.sha256}",
        dependency_key=keys.dependency_key(package.name), size=blob.size,
    )


def _keep(ctx: Context, path: Path, kind: str, expected: str) -> str:
    blob = ctx.blobs.put(path, expected=expected)
    ctx.store.blobs.add(BlobRow(blob.id, kind, blob.sha256, blob.size, blob.sha1))
    return blob.id


def _rebased(ctx: Context, release: Release) -> Release:
    return dataclasses.replace(release, version=versions.rebased(release.version, ctx.store.releases.versions(release.name)))


@contextmanager
def _fetched(ctx: Context, upload: Upload, what: str) -> Iterator[Path]:
    """The archive as a file, verified when a digest was given; gone afterwards."""
    if upload.path:
        path = Path(upload.path)
        try:
            if upload.sha1:
                digest.verify(path, upload.sha1, path.name)
            yield path
        finally:
            path.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(dir=ctx.blobs.root / "tmp") as folder:
        path = Path(folder) / upload.url.rstrip("/").rsplit("/", 1)[-1]
        stage = ctx.log.stage(f"Downloading remote {what}", 1)
        with stage.step(f"Downloading remote {what}"):
            _download(ctx, upload.url, path)
        if upload.sha1:
            stage = ctx.log.stage(f"Verifying remote {what}", 1)
            with stage.step(f"Verifying remote {what}"):
                digest.verify(path, upload.sha1, upload.url)
        yield path


def _download(ctx: Context, url: str, path: Path) -> None:
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=FETCH_SECONDS) as response, path.open("wb") as target:
            response.raise_for_status()
            for piece in response.iter_bytes(1 << 20):
                ctx.check()
                target.write(piece)
    except httpx.HTTPError as error:
        raise ReleaseError(f"'{url}' cannot be fetched: {error}", suggestion="Fetch it yourself and upload the file.") from error


def upload_stemcell(ctx: Context, upload: Upload) -> str:
    """Give a stemcell to every CPI that takes its format. The task's result."""
    with _fetched(ctx, upload, "stemcell") as path:
        stage = ctx.log.stage("Update stemcell", 3)
        with stage.step("Extracting stemcell archive"):
            stemcell = read_stemcell(path, workdir=ctx.blobs.root / "tmp")
        with stemcell, ctx.event("create", "stemcell", f"{stemcell.name}/{stemcell.version}"):
            takers = [name for name in ctx.clouds.names() if _takes(ctx, name, stemcell)]
            if not takers:
                formats = sorted({item for name in ctx.clouds.names() for item in ctx.cpi(name).info().stemcell_formats})
                raise ReleaseError(
                    f"uploaded stemcell with formats {list(stemcell.formats)} are not supported by available cpi formats: {formats}",
                    code=NO_FORMAT)
            for cpi in takers:
                if ctx.store.stemcells.find(stemcell.name, stemcell.version, cpi) is None or upload.fix:
                    with stage.step(f"Uploading stemcell {stemcell.name}/{stemcell.version} to the cloud"):
                        _create(ctx, stemcell, cpi)
    return f"/stemcells/{stemcell.name}/{stemcell.version}"


def _takes(ctx: Context, cpi: str, stemcell: StemcellArchive) -> bool:
    return not stemcell.formats or bool(set(stemcell.formats) & set(ctx.cpi(cpi).info().stemcell_formats))


def _create(ctx: Context, stemcell: StemcellArchive, cpi: str) -> None:
    token = f"stemcell-{ctx.new_id()}"
    image = str(stemcell.image) if stemcell.image and not stemcell.is_light else ""

    def record(cid: str) -> None:
        ctx.store.stemcells.add(StemcellRow(
            name=stemcell.name, version=stemcell.version, os=stemcell.os, cid=cid, token=token, cpi=cpi, api_version=stemcell.api_version,
            cloud_properties=dict(stemcell.cloud_properties),
        ))

    ctx.journal.perform(
        "create_stemcell", token, "", f"Uploading stemcell {stemcell.name}/{stemcell.version}", {"cpi": cpi},
        lambda: ctx.cpi(cpi).create_stemcell(image, dict(stemcell.cloud_properties), token), record,
    )
