"""New release directories, jobs and packages, and what is left of a directory when all that was made in it is gone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from director import errors
from director.release import builds, text

IGNORED = (
    "config/private.yml", "blobs", "dev_releases", "releases/**/*.tgz", ".dev_builds", ".final_builds/jobs/**/*.tgz",
    ".final_builds/packages/**/*.tgz", ".DS_Store", ".idea", "*.swp", "*~", "*#", "#*",
)
MADE = ("dev_releases", ".dev_builds", "blobs", ".blobs")


def init_release(directory: Path, *, git: bool = False) -> str:
    """Make the folders and files of a release; its name: the folder's without `-release`. With `git` also a repository.

    Raises ReleaseError where a release is already.
    """
    directory = directory.resolve()
    config = directory / "config"
    if (config / "final.yml").exists():
        raise errors.ReleaseError(f"'{directory}' is a release directory already", suggestion="Give another one with --dir.")
    name = directory.name.removesuffix("-release")
    for folder in (config, directory / "jobs", directory / "packages", directory / "src"):
        folder.mkdir(parents=True, exist_ok=True)
    builds.write(config / "final.yml", "---\n" + text.dump_yaml({"name": name}))
    if not (config / "blobs.yml").exists():
        builds.write(config / "blobs.yml", "--- {}\n")
    if git:
        try:
            subprocess.run(["git", "init", "--quiet", str(directory)], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            told = str(getattr(error, "stderr", "") or error).strip()
            hint = "Leave --git out, and make the repository yourself."
            raise errors.ReleaseError(f"git init failed: {told}", suggestion=hint) from error
        builds.write(directory / ".gitignore", "\n".join(IGNORED) + "\n")
    return name


def generate_job(directory: Path, name: str) -> Path:
    """`jobs/NAME` with an empty specification; its folder. Raises ReleaseError when it is there."""
    folder = _new(directory, "jobs", name)
    (folder / "templates").mkdir(parents=True)
    builds.write(folder / "spec", f"---\nname: {name}\n\ntemplates: {{}}\n\npackages: []\n\nproperties: {{}}\n")
    builds.write(folder / "monit", "")
    return folder


def generate_package(directory: Path, name: str) -> Path:
    """`packages/NAME` with an empty specification; its folder. Raises ReleaseError when it is there."""
    folder = _new(directory, "packages", name)
    folder.mkdir(parents=True)
    builds.write(folder / "spec", f"---\nname: {name}\n\ndependencies: []\n\nfiles: []\n")
    builds.write(folder / "packaging", "set -e\n")
    return folder


def reset_release(directory: Path) -> list[str]:
    """Remove dev releases, builds and fetched blobs; the names of the folders that are gone."""
    _config(directory)
    gone = [name for name in MADE if (directory / name).is_dir() and not (directory / name).is_symlink()]
    for name in gone:
        shutil.rmtree(directory / name)
    return gone


def _new(directory: Path, kind: str, name: str) -> Path:
    _config(directory)
    if not re.fullmatch(r"[-0-9A-Za-z_+.]+", name) or name.startswith("."):
        raise errors.ReleaseError(
            f"'{name}' cannot be the name of a {kind[:-1]}", suggestion="Use letters, digits, '-', '_', '+' and '.'.")
    folder = directory / kind / name
    if folder.exists():
        raise errors.ReleaseError(f"{kind[:-1].capitalize()} '{name}' at '{folder}' already exists")
    return folder


def _config(directory: Path) -> None:
    if not (directory / "config").is_dir():
        raise errors.ReleaseError(
            f"'{directory}' is no release directory: it has no 'config' folder", suggestion="Make one with init-release, or give --dir.")
