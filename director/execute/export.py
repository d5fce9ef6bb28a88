"""A release that a deployment uses becomes a compiled release for one stemcell. Source: release contract, section 11."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from director.diagnostics import Diagnostic, did_you_mean
from director.errors import NotFoundError, ReleaseError
from director.execute.compile import Workshop, compile_all
from director.execute.context import Context
from director.execute.prepare import read
from director.execute.recover import recover
from director.execute.states import deployed
from director.manifest import late
from director.plan.packages import ReleasePackages, missing
from director.release import manifest, tar
from director.release.job import Identity
from director.release.model import CompiledPackageSpec, JobSpec, Release, Stemcell
from director.state.blobs import BlobRow

KIND = "exported-release"
NOT_IN_DEPLOYMENT, STEMCELL_UNKNOWN, JOB_UNKNOWN, NO_SOURCE = 30011, 50003, 70009, 60001
LOCK_SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class ExportRequest:
    """`jobs` empty means all. `sha2` asks for a SHA-256 digest of the archive, else it is a bare SHA-1."""

    release: str
    version: str
    stemcell_os: str
    stemcell_version: str
    jobs: tuple[str, ...] = ()
    sha2: bool = False

    @property
    def stemcell(self) -> str:
        return f"{self.stemcell_os}/{self.stemcell_version}"


def export_release(ctx: Context, deployment: str, request: ExportRequest) -> str:
    """Compile what is missing with the deployment's compilation settings, and pack. The task's result; its output names the archive's blob.

    Raises NotFoundError, ManifestError (nothing deployed), ReleaseError. Runs under the deployment's lock; after a crash, run again.
    """
    recover(ctx, deployment)
    title = f"{request.release}/{request.version}"
    context = {"stemcell": request.stemcell, **({"jobs": list(request.jobs)} if request.jobs else {})}
    with (
        ctx.lock(f"lock:release:{request.release}", LOCK_SECONDS),
        ctx.event("export", "release", title, context=context),
    ):
        shop = _workshop(ctx, deployment, request)
        release = ctx.store.releases.get(request.release, request.version)
        jobs = _jobs(release, request.jobs)
        packages = ReleasePackages(release)
        names = packages.closure({name for job in jobs for name in job.packages})
        _check_sources(packages, names, request.stemcell)
        compile_all(ctx, shop, missing(packages, names, request.stemcell, ctx.store.compiled_packages.keys()))
        blob = _pack(ctx, request, jobs, names)
    digest = f"sha256:{blob.sha256}" if request.sha2 else blob.sha1
    ctx.log.result(json.dumps({"blobstore_id": blob.id, "sha1": digest}) + "\n")
    return f"Exported release: {title} for {request.stemcell}"


def _workshop(ctx: Context, deployment: str, request: ExportRequest) -> Workshop:
    """The deployment's compilation machines. Raises NotFoundError when it does not use that release version or that stemcell."""
    parsed = read(ctx, deployed(ctx, deployment))
    used = {(item.name, item.version) for item in parsed.manifest.releases}
    title = f"{request.release}/{request.version}"
    if (request.release, request.version) not in used:
        raise NotFoundError(Diagnostic(
            f"Release version '{title}' not found in deployment '{deployment}' manifest", code=NOT_IN_DEPLOYMENT,
            suggestion="It uses " + ", ".join(sorted(f"{name}/{version}" for name, version in used)) + "."))
    stemcells: dict[str, Stemcell] = {}
    for ref in parsed.manifest.stemcells:
        row = next((
            row for row in ctx.store.stemcells.all()
            if row.version == ref.version and (row.name == ref.name if ref.name else row.os == ref.os)), None)
        if row is not None:
            stemcells[f"{row.os}/{row.version}"] = row.value
    if request.stemcell not in stemcells:
        raise NotFoundError(Diagnostic(
            f"Stemcell '{request.stemcell}' is not used by deployment '{deployment}'", code=STEMCELL_UNKNOWN,
            suggestion=did_you_mean(request.stemcell, stemcells) or "It uses " + ", ".join(sorted(stemcells)) + "."))
    lookup = ctx.vault.lookup(deployment)
    return Workshop(deployment, parsed.cloud, stemcells, lambda tree: dict(late.resolve(tree, lookup)), parsed.manifest.tags)


def _jobs(release: Release, names: tuple[str, ...]) -> list[JobSpec]:
    """Raises NotFoundError with all names that the release has no job of."""
    known = [job.name for job in release.jobs]
    unknown = [
        Diagnostic(
            f"Job '{name}' not found in release '{release.name}/{release.version}'", code=JOB_UNKNOWN,
            suggestion=did_you_mean(name, known))
        for name in names if name not in known
    ]
    if unknown:
        raise NotFoundError(*unknown)
    return [job for job in release.jobs if not names or job.name in names]


def _form(packages: ReleasePackages, name: str, stemcell: str) -> CompiledPackageSpec | None:
    return next((item for item in packages.compiled(name) if item.stemcell == stemcell), None)


def _check_sources(packages: ReleasePackages, names: list[str], stemcell: str) -> None:
    """A form made for a near stemcell will run, but must not be passed off as made for this one."""
    lacking = [name for name in names if not packages.has_source(name) and _form(packages, name, stemcell) is None]
    if lacking:
        release = packages.release
        there = sorted({item.stemcell for name in lacking for item in packages.compiled(name)})
        lines = "".join(f"\n - '{name}/{package.fingerprint}'" for name in lacking if (package := packages.package(name)))
        raise ReleaseError(Diagnostic(
            f"Can't export release '{release.name}/{release.version}'. It references packages without source code and are not compiled "
            f"against stemcell '{stemcell}':{lines}", code=NO_SOURCE,
            suggestion=f"Upload the source release first. Here they are compiled for {', '.join(there) or 'nothing'}."))


def _pack(ctx: Context, request: ExportRequest, jobs: list[JobSpec], names: list[str]) -> BlobRow:
    """The archive, as a blob. What goes in is verified on the way: a rotten blob must not travel."""
    release = ctx.store.releases.get(request.release, request.version)
    packages = ReleasePackages(release)
    forms = [form for name in sorted(names) if (form := _form(packages, name, request.stemcell)) is not None]
    entries = [*_copied(ctx, "packages", "compiled_packages", forms), *_copied(ctx, "jobs", "jobs", jobs)]
    listing = manifest.Manifest(
        release.name, release.version, release.commit_hash, release.uncommitted_changes,
        tuple(Identity(job.name, release.name, job.version, job.fingerprint, job.digest) for job in jobs), (), tuple(forms))
    with tempfile.TemporaryDirectory(dir=ctx.blobs.incoming) as folder:
        target = Path(folder) / "release.tgz"
        # What goes in is packed already.
        tar.write(target, [("release.MF", manifest.dump(listing).encode(), 0o644), *entries], level=1)
        blob = ctx.blobs.put(target)
    return ctx.store.blobs.add(BlobRow(blob.id, KIND, blob.sha256, blob.size, blob.sha1))


def _copied(ctx: Context, what: str, folder: str, parts: Sequence[CompiledPackageSpec | JobSpec]) -> list[tuple[str, Path | bytes, int]]:
    stage = ctx.log.stage(f"copying {what}", max(1, len(parts)))
    entries: list[tuple[str, Path | bytes, int]] = []
    for part in parts:
        with stage.step(f"{part.name}/{part.fingerprint}"):
            ctx.check()
            ctx.blobs.verify(part.blob_id, part.digest)
            entries.append((f"{folder}/{part.name}.tgz", ctx.blobs.path(part.blob_id), 0o600))
    return entries
