"""Release archives of small directories, with sources and compiled, for the tests of this folder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes import World

from director.execute import fetch, uploads
from director.release import archive, create, manifest, tar
from director.release.model import CompiledPackageSpec
from director.state import tables

Listing = manifest.Manifest


def build(folder: Path, files: dict[str, str], *, version: str = "1", name: str = "rel") -> Path:
    """A release directory's archive."""
    source = folder / f"source-{name}-{version}"
    for path, text in {**files, "config/final.yml": f"name: {name}\n"}.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text)
    made = create.create_release(source, version=version, force=True, tarball=folder / f"{name}-{version}.tgz", prepare=lambda _: None)
    return made.path


def compiled(tarball: Path, stemcell: str, change: Callable[[Listing], Listing] = lambda listing: listing, mark: str = "") -> Path:
    """The same release, compiled: every package an archive of one file."""
    target = tarball.with_name(f"compiled-{tarball.stem}-{stemcell.replace('/', '-')}{mark}.tgz")
    folder = tarball.with_name(f"folder-{target.stem}")
    folder.mkdir()
    with archive.open_release(tarball) as found:
        forms = []
        entries: list[tuple[str, Path | bytes, int]] = []
        for item in found.manifest.packages:
            path = folder / f"{item.name}.tgz"
            tar.write(path, [(f"bin/{item.name}", f"{item.name} {stemcell} {mark}".encode(), 0o755)])
            digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
            forms.append(CompiledPackageSpec(item.name, item.version, item.fingerprint, digest, stemcell, item.dependencies))
            entries.append((f"compiled_packages/{item.name}.tgz", path, 0o600))
        listing = change(dataclasses.replace(found.manifest, packages=(), compiled_packages=tuple(forms)))
        entries += [(f"jobs/{job.name}.tgz", found.job_archive(job.name), 0o600) for job in found.manifest.jobs]
        tar.write(target, [("release.MF", manifest.dump(listing).encode(), 0o644), *entries])
    return target


def upload(world: World, tarball: Path, **flags: Any) -> str:
    """Upload a copy: a task removes what it was given."""
    copy = world.folder / "upload.tgz"
    copy.write_bytes(tarball.read_bytes())
    return uploads.upload_release(world.context, fetch.Upload(path=str(copy), **flags))


def blobs(world: World) -> set[str]:
    return set(world.blobs.ids())


def consistent(world: World) -> bool:
    """Each blob has a row, each row a blob."""
    with world.store._db.read() as connection:
        rows = {row.id for row in connection.execute(tables.blobs.select())}
    return rows == blobs(world)
