"""Debian packages as blobs of a release: real software, fetched by name when the release is made, none of it committed.

`config/debian.yml` of a release directory maps a folder below `blobs/` to what is put there:

    nats-server: {packages: [nats-server]}
    mariadb: {packages: [mariadb-server], without: [lsof]}

A folder gets the named packages and everything they depend on, less what every machine has (`debian_base.yml`) and less `without`.
Versions and digests are recorded in `config/blobs.yml`. A package spec then lists `files: ["nats-server/*.deb"]`.
apt does the work in a state folder of its own, with this computer's Debian sources and keys: nothing is installed here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from director import diagnostics, errors
from director.release import blobs, digest, text

CONFIG = "config/debian.yml"
_MARK = ".dev_builds/debian.digest"
_LISTS_HOURS = 24
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_INSTALLED = re.compile(r"^Inst (\S+)(?: \[[^\]]*\])? \((\S+) ", re.MULTILINE)

Runner = Callable[[Sequence[str], Mapping[str, str]], str]
"""Runs a command with these variables added to the environment; its output. Raises ReleaseError when it fails."""


@dataclasses.dataclass(frozen=True)
class Deb:
    """One package file as apt's index describes it. `file` is the name apt gives it, `digest` is `sha256:HEX`, `size` in bytes."""

    name: str
    version: str
    architecture: str
    size: int
    digest: str

    @property
    def file(self) -> str:
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def base_packages() -> tuple[str, ...]:
    """The names in `debian_base.yml`."""
    file = Path(__file__).with_name("debian_base.yml")
    return tuple(str(name) for name in text.read_map(file.read_text("utf-8"), file.name)["packages"])


def vendor_debian(
    directory: Path, *, base: Collection[str] | None = None, run: Runner | None = None, progress: Callable[[str], None] = lambda _: None,
    cache: Path | None = None, clock: Callable[[], float] = time.time,
) -> list[str]:
    """Bring `blobs/` and `config/blobs.yml` in line with `config/debian.yml`; the paths of its blobs, sorted.

    Nothing runs when the file is unchanged and all its blobs are there as recorded. `cache` keeps apt's lists and downloads for all
    releases (default: the user's cache folder). Raises ReleaseError: unreadable file, unknown package, no network, no apt.
    """
    folders = read_config(directory)
    names = tuple(base_packages() if base is None else base)
    mark = hashlib.sha256(repr((sorted(folders.items()), sorted(names))).encode()).hexdigest()
    index = blobs.read_index(directory)
    ours = {path: blob for path, blob in index.items() if path.split("/", 1)[0] in folders}
    recorded = directory / _MARK
    complete = {path.split("/", 1)[0] for path in ours} == set(folders)
    unchanged = complete and recorded.is_file() and recorded.read_text("utf-8").strip() == mark
    if unchanged and all(blobs.is_current(directory, blob) for blob in ours.values()):
        return sorted(ours)
    apt = _Apt(cache or _default_cache(), run or _run, progress, clock)
    with apt.locked():
        found = {folder: apt.closure(names, entry) for folder, entry in folders.items()}
        entries: dict[str, dict[str, Any]] = {path: _entry(blob) for path, blob in index.items() if path not in ours}
        comments: dict[str, str] = {}
        for folder, debs in found.items():
            progress(f"{folder}: {len(debs)} Debian packages, {sum(deb.size for deb in debs) >> 20} MiB")
            _place(directory / "blobs" / folder, debs, apt.archives)
            for deb in debs:
                path = f"{folder}/{deb.file}"
                entries[path] = {"size": deb.size, "sha": deb.digest}
                comments[path] = f"Debian {deb.name} {deb.version} {deb.architecture}"
    blobs.write_index(directory, entries, comments)
    recorded.parent.mkdir(parents=True, exist_ok=True)
    recorded.write_text(mark + "\n", "utf-8")
    return sorted(path for path in entries if path.split("/", 1)[0] in folders)


@dataclasses.dataclass(frozen=True)
class Folder:
    """One entry of the file: package names wanted, and names left out of their closure."""

    packages: tuple[str, ...]
    without: tuple[str, ...] = ()


def read_config(directory: Path) -> dict[str, Folder]:
    """`config/debian.yml`, checked. Raises ReleaseError with everything that is wrong."""
    file = directory / CONFIG
    problems = diagnostics.Diagnostics()
    folders: dict[str, Folder] = {}
    for name, entry in text.read_map(file.read_text("utf-8"), CONFIG).items():
        where = diagnostics.Where(CONFIG, path=name)
        shape = {"packages": entry} if isinstance(entry, list) else entry
        if not isinstance(shape, dict) or not shape.get("packages") or set(shape) - {"packages", "without"}:
            problems.add(f"'{name}' needs 'packages', a list of names, and may have 'without'", where=where)
            continue
        packages, without = (tuple(str(item) for item in shape.get(key) or ()) for key in ("packages", "without"))
        for item in (name, *packages, *without):
            if not _NAME.fullmatch(item):
                problems.add(f"'{item}' is no name of a folder or of a Debian package", where=where)
        folders[name] = Folder(packages, without)
    if problems.errors:
        raise errors.ReleaseError(*problems.errors)
    return folders


class _Apt:
    """apt with a state of its own below `root`."""

    def __init__(self, root: Path, run: Runner, progress: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._root = root
        self._run_command = run
        self._progress = progress
        self._clock = clock
        self._status = root / "status"
        self._base_ready: tuple[str, ...] | None = None
        self.archives = root / "cache" / "archives"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the state folder alone, with fresh lists in it."""
        for folder in ("state/lists/partial", "cache/archives/partial", "preferences.d"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        with (self._root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._configure()
            if self._lists_age() > _LISTS_HOURS * 3600:
                self._update()
            yield

    def closure(self, base: tuple[str, ...], entry: Folder) -> list[Deb]:
        """What the packages need beyond the base, downloaded into `archives`, sorted by name."""
        if self._base_ready != base:
            self._pretend_installed(base)
        try:
            return self._fetched(entry)
        except errors.ReleaseError:
            if self._lists_age() < 60:
                raise
            # The lists may name versions that the mirror has replaced since.
            self._update()
            self._pretend_installed(base)
            return self._fetched(entry)

    def _fetched(self, entry: Folder) -> list[Deb]:
        wanted = [item for item in self._simulated(entry.packages) if item.split("=", 1)[0] not in entry.without]
        debs = sorted((_deb(stanza) for stanza in self._show(wanted)), key=lambda deb: deb.name)
        missing = [deb for deb in debs if not _is_there(self.archives / deb.file, deb)]
        if missing:
            self._progress(f"fetching {len(missing)} Debian packages, {sum(deb.size for deb in missing) >> 20} MiB")
            self._apt("install", "--download-only", "-y", *entry.packages)
        for deb in debs:
            digest.verify(self.archives / deb.file, deb.digest, f"Debian package '{deb.file}'")
        return debs

    def _pretend_installed(self, base: tuple[str, ...]) -> None:
        """Write a status file in which the base, with all it depends on, is installed: apt then adds what is really missing."""
        self._status.write_text("", "utf-8")
        stanzas = self._show(self._simulated(base))
        ready = "\n".join(f"{stanza.strip()}\nStatus: install ok installed\n" for stanza in stanzas)
        self._status.write_text(ready, "utf-8")
        self._base_ready = base

    def _simulated(self, names: Sequence[str]) -> list[str]:
        """`NAME=VERSION` for what an installation would add."""
        return [f"{name}={version}" for name, version in _INSTALLED.findall(self._apt("install", "-s", *names))]

    def _show(self, packages: Sequence[str]) -> list[str]:
        if not packages:
            return []
        output = self._command("apt-cache", "show", *packages)
        return [stanza for stanza in re.split(r"\n\n+", output) if stanza.strip()]

    def _update(self) -> None:
        self._progress("refreshing the lists of Debian packages")
        self._apt("update")
        (self._root / "updated").touch()

    def _lists_age(self) -> float:
        stamp = self._root / "updated"
        return self._clock() - stamp.stat().st_mtime if stamp.is_file() else float("inf")

    def _apt(self, verb: str, *arguments: str) -> str:
        return self._command("apt-get", "-q", "-o", "Debug::NoLocking=true", verb, *arguments)

    def _command(self, *command: str) -> str:
        environment = {"APT_CONFIG": str(self._root / "apt.conf"), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        return self._run_command(command, environment)

    def _configure(self) -> None:
        settings = {
            "Dir::State": self._root / "state", "Dir::State::status": self._status, "Dir::State::extended_states": self._root / "extended",
            "Dir::Cache": self._root / "cache", "Dir::Etc::preferencesparts": self._root / "preferences.d", "Dir::Log": self._root,
            "APT::Install-Recommends": "false", "APT::Install-Suggests": "false", "Acquire::Languages": "none", "Acquire::Retries": "3",
            # As root apt would read as `_apt`, who cannot look into a private folder.
            "APT::Sandbox::User": "root",
        }
        (self._root / "apt.conf").write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()), "utf-8")
        # Machines run Debian: a package of the same name from another source of this computer is not meant.
        (self._root / "preferences.d" / "debian").write_text("Package: *\nPin: release o=Debian\nPin-Priority: 990\n", "utf-8")
        if not self._status.exists():
            self._status.write_text("", "utf-8")


def _place(folder: Path, debs: Sequence[Deb], archives: Path) -> None:
    """Make `folder` hold exactly these files."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {deb.file for deb in debs}
    for path in folder.iterdir():
        if path.name not in names and not path.is_dir():
            path.unlink()
    for deb in debs:
        target = folder / deb.file
        if not _is_there(target, deb):
            partial = folder / f".{deb.file}.part"
            shutil.copyfile(archives / deb.file, partial)
            partial.replace(target)


def _is_there(path: Path, deb: Deb) -> bool:
    if not path.is_file() or path.stat().st_size != deb.size:
        return False
    try:
        digest.verify(path, deb.digest, deb.file)
    except errors.ReleaseError:
        return False
    return True


def _deb(stanza: str) -> Deb:
    fields = dict(re.findall(r"^(Package|Version|Architecture|Size|SHA256): (.+)$", stanza, re.MULTILINE))
    try:
        return Deb(fields["Package"], fields["Version"], fields["Architecture"], int(fields["Size"]), f"sha256:{fields['SHA256']}")
    except KeyError as error:
        raise errors.ReleaseError(f"apt knows a package without {error}: {fields.get('Package', stanza[:80])}") from error


def _entry(blob: blobs.Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"size": blob.size, "sha": blob.digest}
    return {**entry, "object_id": blob.object_id} if blob.object_id else entry


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "caisson" / "apt"


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            check=False, timeout=1800,
        )
    except FileNotFoundError as error:
        hint = "Make this release on Debian, or remove config/debian.yml and put the files into blobs/ yourself."
        raise errors.ReleaseError(f"'{command[0]}' is not installed here", suggestion=hint) from error
    except subprocess.TimeoutExpired as error:
        raise errors.ReleaseError(f"'{command[0]}' did not end within 30 minutes", suggestion="Is the mirror reachable?") from error
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()[-5:]
        raise errors.ReleaseError(
            diagnostics.Diagnostic(
                "Debian packages cannot be fetched", detail="\n".join(complaints), where=diagnostics.Where(CONFIG),
                suggestion="Check the names, and that this computer reaches its Debian mirror (apt-get update).",
            )
        )
    return done.stdout
