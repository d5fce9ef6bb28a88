"""Jobs and packages put in place. Source: the releases contract, section 13.

Folders are named by what is in them, made beside their place and renamed, so a folder that exists is whole, and what did not
change is not written again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Callable, Dict, List

from . import archive, files
from .errors import ActionError
from .host import Call
from .spec import Package, Spec


def blob(call: Call, digest: str, what: str) -> Path:
    """The blob's file. Raises ActionError when the director did not send it."""
    path = call.host.layout.blobs / digest
    if not path.is_file():
        raise ActionError("Blob sha256:%s of %s is not on the machine" % (digest, what))
    return path


def package_folder(call: Call, package: Package) -> Path:
    return call.host.layout.data_packages / package.name / package.digest


def install_package(call: Call, package: Package) -> Path:
    """Unpack a package, unless it is there."""
    folder = package_folder(call, package)
    if not folder.is_dir():
        source = blob(call, package.digest, "package '%s'" % package.name)
        _whole(folder, lambda made: archive.unpack(source, made, check=call.check))
        folder.chmod(0o755)
    return folder


def install_jobs(call: Call, spec: Spec) -> Dict[str, Path]:
    """Unpack the rendered jobs; job name -> folder."""
    layout = call.host.layout
    if not spec.jobs:
        return {}
    if not spec.archive:
        raise ActionError("The spec names jobs but no rendered templates")
    source = blob(call, spec.archive, "the rendered templates")
    work = layout.tmp / ("jobs-" + files.unique())
    try:
        archive.unpack(source, work, links=False, check=call.check)
        made = {}
        for name in spec.jobs:
            if not (work / name).is_dir():
                raise ActionError("The rendered templates hold no job '%s'" % name)
            folder = layout.data_jobs / name / _digest_of(work / name)
            if not folder.is_dir():
                _own(call, work / name)
                folder.parent.mkdir(parents=True, exist_ok=True)
                os.rename(str(work / name), str(folder))
            made[name] = folder
        return made
    finally:
        files.remove(work)


def enable(call: Call, spec: Spec, jobs: Dict[str, Path]) -> None:
    """Let the links of jobs and packages lead to these folders, make the jobs' own folders, and remove what is not of the spec."""
    layout = call.host.layout
    for name, folder in jobs.items():
        for place in (layout.data / name, layout.log / name, layout.run / name):
            call.host.own(place, 0o770)
        call.host.own(folder / "packages", 0o750)
        _only(folder / "packages", [package.name for package in spec.packages])
        for package in spec.packages:
            files.link(folder / "packages" / package.name, layout.inner(package_folder(call, package)))
        files.link(layout.jobs / name, layout.inner(folder))
    for package in spec.packages:
        files.link(layout.packages / package.name, layout.inner(package_folder(call, package)))
    _only(layout.jobs, list(jobs))
    _only(layout.packages, [package.name for package in spec.packages])


def clean(call: Call, spec: Spec, jobs: Dict[str, Path]) -> None:
    """Remove versions that the spec does not name, and blobs that have been unpacked."""
    layout = call.host.layout
    _only(layout.data_jobs, list(jobs))
    for name, folder in jobs.items():
        _only(layout.data_jobs / name, [folder.name])
    wanted: Dict[str, List[str]] = {}
    for package in spec.packages:
        wanted.setdefault(package.name, []).append(package.digest)
    _only(layout.data_packages, list(wanted))
    for package_name, digests in wanted.items():
        _only(layout.data_packages / package_name, digests)
    _only(layout.blobs, [spec.archive])


def job_folder(call: Call, name: str) -> Path:
    """Where the job's link leads."""
    layout = call.host.layout
    link = layout.jobs / name
    return layout.root / os.readlink(str(link)).lstrip("/") if link.is_symlink() else link


def installed_digests(call: Call) -> List[str]:
    """Digests of the packages that are unpacked."""
    root = call.host.layout.data_packages
    return [path.name for path in root.glob("*/*") if path.is_dir() and not path.name.startswith(".")] if root.is_dir() else []


def _whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder beside its place and move it there when it is filled."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.with_name("." + folder.name + "." + files.unique())
    try:
        fill(made)
        os.rename(str(made), str(folder))
    except BaseException:
        files.remove(made)
        raise


def _own(call: Call, folder: Path) -> None:
    """root:vcap; folders and programs 0750, other files 0640."""
    uid, gid = os.getuid(), call.host.vcap_gid
    for path in [folder, *folder.rglob("*")]:
        inside_bin = path.relative_to(folder).parts[:1] == ("bin",)
        os.chown(str(path), uid, gid)
        path.chmod(0o750 if path.is_dir() or inside_bin else 0o640)


def _digest_of(folder: Path) -> str:
    """Of the names and contents below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(("%s\0%s\0" % (path.relative_to(folder), files.sha256(path))).encode())
    return digest.hexdigest()[:32]


def _only(folder: Path, names: List[str]) -> None:
    """Remove what is in the folder under other names."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name not in names:
                files.remove(path)
