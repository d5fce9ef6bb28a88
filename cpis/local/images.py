"""Machine images: root file systems built once from a recipe, cached by the recipe's digest, or unpacked from an archive."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from cpis.contract import Invalid, Unavailable
from cpis.local.properties import nearest
from cpis.local.records import locked
from cpis.local.run import CommandFailed, environment, missing, need, need_root, run
from cpis.local.sources import certificates, debian_sources, kept_settings

DEFAULT_CACHE = Path("/var/cache/caisson/images")
DEFAULT_RECIPE = "debian-12"
# Part of the digest: raise it when the way of building changes what comes out.
_BUILDER = 1
_BUILD_SECONDS = 1800.0
_KEYS = ("suite", "packages", "mask", "disable", "files", "commands")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What goes into an image: Debian `suite` and `packages`, units to `mask` and `disable`, `files` (path -> text), and shell `commands`
    that run in it at the end."""

    suite: str
    packages: tuple[str, ...]
    mask: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    commands: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Names the image in the cache."""
        shape = {**dataclasses.asdict(self), "files": dict(self.files), "builder": _BUILDER, "machine": platform.machine()}
        return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]


def recipe_of(word: str | Mapping[str, Any]) -> Recipe:
    """A recipe by name, or one written out; one that `extends` another adds to its lists. Raises Invalid."""
    if isinstance(word, str):
        known = {entry.name.removesuffix(".yml"): entry for entry in resources.files("cpis.local").joinpath("recipes").iterdir()}
        if word not in known:
            raise Invalid(f"there is no image recipe '{word}'", suggestion=nearest(word, known) or f"known: {', '.join(sorted(known))}")
        written: Mapping[str, Any] = yaml.safe_load(known[word].read_text())
    else:
        written = word
    for key in written:
        if key not in (*_KEYS, "extends"):
            raise Invalid(f"an image recipe has no key '{key}'", suggestion=nearest(key, _KEYS))
    if "extends" in written:
        base = recipe_of(str(written["extends"]))
        written = {
            "suite": written.get("suite", base.suite), "files": {**base.files, **written.get("files", {})},
            **{key: (*getattr(base, key), *written.get(key, ())) for key in ("packages", "mask", "disable", "commands")},
        }
    if not written.get("suite") or not written.get("packages"):
        raise Invalid("an image recipe needs 'suite' and 'packages'")
    return Recipe(
        suite=str(written["suite"]), packages=tuple(written["packages"]), mask=tuple(written.get("mask", ())),
        disable=tuple(written.get("disable", ())), files=dict(written.get("files", {})), commands=tuple(written.get("commands", ())),
    )


class Images:
    """The cache. `progress` is told, line by line, what takes long."""

    def __init__(self, cache: Path, progress: Callable[[str], None] | None = None) -> None:
        self._cache = cache
        self._progress = progress or (lambda line: print(line, file=sys.stderr, flush=True))

    def path(self, recipe: Recipe) -> Path:
        """Where the image is, or would be."""
        return self._cache / recipe.digest / "root"

    def build(self, recipe: Recipe) -> Path:
        """The image, made when it is not there. Two that build the same at once make one. Post: whole, or nothing is left."""
        target = self.path(recipe)
        if target.is_dir():
            return target
        need_root()
        need("mmdebstrap", "apt-config")
        self._cache.mkdir(parents=True, exist_ok=True)
        with locked(self._cache / f".{recipe.digest}.lock"):
            if target.is_dir():
                return target
            making = self._cache / f".{recipe.digest}.making"
            _remove(making)
            try:
                making.mkdir()
                self._debootstrap(recipe, making)
                _tune(making / "root", recipe)
                making.rename(target.parent)
            finally:
                _remove(making)
        return target

    def unpack(self, archive: Path, target: Path) -> Path:
        """A root file system from a tar archive. Post: whole, or nothing is left. Raises Invalid."""
        need_root()
        making = target.with_name(f".{target.name}.making")
        _remove(making)
        try:
            (making / "root").mkdir(parents=True)
            with tarfile.open(archive) as stream:
                stream.extractall(making / "root", numeric_owner=True, filter=_root_filter)
            if not (making / "root/etc/passwd").is_file() or not (making / "root/lib/systemd/systemd").exists():
                suggestion = "make one with mmdebstrap --include=systemd-sysv,openssh-server"
                raise Invalid(f"{archive.name} is no root file system with systemd", suggestion=suggestion)
            making.rename(target)
        except tarfile.TarError as error:
            raise Invalid(f"{archive.name} cannot be unpacked: {error}") from error
        finally:
            _remove(making)
        return target / "root"

    def _debootstrap(self, recipe: Recipe, making: Path) -> None:
        settings = kept_settings(run(["apt-config", "dump"]))
        # Files, not arguments: a proxy's or mirror's address may have a password in it.
        options, sources = making / "apt.conf", making / "sources.list"
        options.touch(mode=0o600)
        options.write_text('APT::Install-Recommends "false";\n' + settings)
        sources.touch(mode=0o600)
        sources.write_text(debian_sources(recipe.suite))
        hooks = [f'--customize-hook=chroot "$1" sh -ec {shlex.quote(line)}' for line in recipe.commands]
        command = [
            "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", f"--aptopt={options}", *hooks,
            f"--include={','.join(recipe.packages)}", recipe.suite, str(making / "root"), str(sources),
        ]
        self._progress(f"building the machine image ({recipe.suite}, {len(recipe.packages)} packages and what they need), once")
        self._follow(command)
        _keep_host_settings(making / "root", settings)
        options.unlink()
        sources.unlink()

    def _follow(self, command: list[str]) -> None:
        """Run mmdebstrap and pass on its steps. Raises Unavailable with its last lines."""
        said: list[str] = []
        try:
            process = subprocess.Popen(
                ["timeout", f"{_BUILD_SECONDS:.0f}", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="replace", env=environment(),
            )
        except FileNotFoundError as error:
            raise missing("timeout") from error
        with process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    said.append(line.rstrip())
                    if line.startswith("I: "):
                        self._progress(f"  {line[3:].rstrip()}")
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            tail = "\n".join(said[-12:])
            raise Unavailable(f"the machine image could not be built (mmdebstrap ended with {process.returncode}):\n{tail}",
                              suggestion="check this computer's apt sources and network")


def _keep_host_settings(root: Path, settings: str) -> None:
    """Let machines fetch packages as the host does: same proxy, same certificates."""
    folder = root / "etc/apt/apt.conf.d"
    for entry in folder.glob("99mmdebstrap"):
        entry.unlink()
    (folder / "90caisson-host").write_text('APT::Install-Recommends "false";\n' + settings)
    for path in certificates(settings):
        source, target = Path(path), root / path.lstrip("/")
        if source.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    local = Path("/usr/local/share/ca-certificates")
    added = sorted(local.rglob("*.crt")) if local.is_dir() else []
    for source in added:
        target = root / str(source).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    if added and (root / "usr/sbin/update-ca-certificates").exists():
        run(["chroot", str(root), "/usr/sbin/update-ca-certificates"])


def has_resolved(root: Path) -> bool:
    """Whether systemd-resolved looks names up there: then /etc/resolv.conf is a link to a file of its own."""
    path = root / "etc/resolv.conf"
    return path.is_symlink() and "/systemd/resolve/" in os.readlink(path)


def _tune(root: Path, recipe: Recipe) -> None:
    """Apply the recipe's units and files, and take away what each machine must have for itself."""
    for path, text in recipe.files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o644)
    units = root / "etc/systemd/system"
    for unit in recipe.mask:
        link = units / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    if recipe.disable:
        run(["chroot", str(root), "systemctl", "disable", *recipe.disable])
    for entry in (root / "etc/ssh").glob("ssh_host_*"):
        entry.unlink()
    kept = ("etc/resolv.conf",) if has_resolved(root) else ()
    for path in {"etc/machine-id", "etc/hostname", "etc/resolv.conf", "var/lib/dbus/machine-id"}.difference(kept):
        (root / path).unlink(missing_ok=True)


def _root_filter(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """Keep what a root file system needs (owners, modes, absolute links), refuse ways out of it, skip device nodes: machines get theirs."""
    if member.isdev():
        return None
    if member.islnk():
        tarfile.tar_filter(member, path)
    name = os.path.normpath(member.name.lstrip("/"))
    if name.startswith(".."):
        raise tarfile.OutsideDestinationError(member, os.path.join(path, name))
    # A folder that is by now a link leads elsewhere than its name says.
    if Path(os.path.realpath(os.path.join(path, os.path.dirname(name)))).is_relative_to(os.path.realpath(path)):
        return member.replace(name=name, deep=False)
    raise tarfile.OutsideDestinationError(member, os.path.join(path, name))


def _remove(path: Path) -> None:
    """Delete a half-made tree; mmdebstrap that was killed may have left mounts in it."""
    if not path.exists():
        return
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{path}/")), reverse=True):
        try:
            run(["umount", "--lazy", mount])
        except CommandFailed as error:
            raise Unavailable(f"{mount} cannot be unmounted: {error.output}") from error
    shutil.rmtree(path)


__all__ = ["DEFAULT_CACHE", "DEFAULT_RECIPE", "Images", "Recipe", "recipe_of"]
