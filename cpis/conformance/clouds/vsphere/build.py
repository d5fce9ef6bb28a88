"""Building the vCenter simulator: Debian's Go library and a main of ours, once for each version of either, kept in a cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

from cpis.conformance.standin import Skipped

PACKAGES = ("golang-github-vmware-govmomi-dev", "golang-go")
_LIBRARY = Path("/usr/share/gocode")
_GOVMOMI = _LIBRARY / "src/github.com/vmware/govmomi"
_BUILD_SECONDS = 1200


def simulator() -> Path:
    """The program, built when there is none yet (half a minute). Raises Skipped when its packages cannot be had, with the reason."""
    if not _present():
        _install()
    source = (resources.files(__package__) / "main.go").read_bytes()
    go = _run(["go", "version"])
    digest = hashlib.sha256(source + go.encode() + _version().encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "caisson" / "vcenter"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"simulator-{digest}"
    with (folder / "lock").open("w") as lock:  # two suites at once build it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(source, folder, program)
    return program


def _present() -> bool:
    return shutil.which("go") is not None and _GOVMOMI.is_dir()


def _install() -> None:
    names = " ".join(PACKAGES)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Skipped(f"the vCenter simulator needs the Debian packages {names}: `make test-packages` installs them")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise Skipped(f"apt-get {command[0]} of {names} failed: {done.stderr.strip()[-300:]}")
    if not _present():
        raise Skipped(f"{names} are installed, but neither `go` nor {_GOVMOMI} is there")


def _version() -> str:
    """What the library is: the date of its sources changes with the package."""
    return str((_GOVMOMI / "simulator/simulator.go").stat().st_mtime_ns)


def _build(source: bytes, folder: Path, program: Path) -> None:
    work = folder / f"build-{program.name}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "main.go").write_bytes(source)
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(folder), "GO111MODULE": "off", "GOPATH": str(_LIBRARY),
        "GOCACHE": str(work / "cache"), "GOFLAGS": "-trimpath",
    }
    try:
        done = subprocess.run(
            ["go", "build", "-o", str(work / "program"), "main.go"], cwd=work, env=environment, capture_output=True, text=True,
            timeout=_BUILD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Skipped(f"the vCenter simulator is not built after {_BUILD_SECONDS} s: this computer has too much else to do") from error
    if done.returncode != 0:
        raise Skipped(f"the vCenter simulator does not build: {done.stderr.strip()[-500:]}")
    os.replace(work / "program", program)
    shutil.rmtree(work)


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
