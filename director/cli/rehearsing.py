"""Rehearsals: a deployment on each cloud in turn, played by what stands in for it here, and what came out compared.

Each has a director of its own in a folder that goes with it. Machines of a cloud whose stand-in boots nothing get bodies of this computer
(`cpis.conformance.bodies`), so that processes, disks and names are real everywhere. Needs root, as machines of this computer do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from director.errors import CaissonError, TaskError, UsageError
from director.manifest.dump import dump
from director.portability.adapt import adapt
from director.portability.offer import Offer

_CPI = "elsewhere"
_BODY = {"memory": 1024, "cpus": 2}
_LOCAL_RECIPE = "debian-12"
_COMMAND_SECONDS = 1800.0

Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Part:
    """What is deployed: the manifest's text, releases (folders or archives), runtime configs, errands to run afterwards."""

    name: str
    manifest: str
    operating_system: str
    releases: tuple[str, ...] = ()
    runtime_configs: tuple[str, ...] = ()
    errands: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Came:
    """What came out on one cloud. `instances` are GROUP/INDEX with zone and process states, `errands` name -> exit code, `left` what was in
    the stand-in after the deployment was deleted. `failed` is empty when all went well; `absent` says why it was not tried."""

    label: str
    instances: tuple[tuple[str, str, str], ...] = ()
    errands: Mapping[str, str] = dataclasses.field(default_factory=dict)
    left: tuple[str, ...] = ()
    seconds: float = 0.0
    failed: str = ""
    absent: str = ""

    def facts(self) -> list[str]:
        """What can be compared, a line each."""
        return [*(" ".join(item) for item in self.instances), *(f"errand {name}: {code}" for name, code in self.errands.items())]


def releases_in(paths: Sequence[str]) -> tuple[str, ...]:
    """Archives and release folders; a folder of release folders stands for those. Raises UsageError."""
    found: list[str] = []
    for text in paths:
        path = Path(text).expanduser()
        inner = sorted(str(item.parents[1]) for item in path.glob("*/config/final.yml")) if path.is_dir() else []
        if not path.exists() or (path.is_dir() and not inner and not (path / "config/final.yml").exists()):
            raise UsageError(f"There is no release at '{text}'", suggestion="Give an archive, a release folder, or a folder of those.")
        found += inner or [str(path)]
    return tuple(found)


def rehearse(offer: Offer, config: Mapping[str, Any], part: Part, tell: Tell) -> Came:
    """Deploy on one cloud, run the errands, look, and delete all of it again."""
    from cpis.conformance.__main__ import standing_in
    from cpis.conformance.standin import Skipped

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="caisson-rehearsal-") as folder:
        try:
            with contextlib.ExitStack() as stack:
                stand_in = None if offer.facts.cpi == "local" else stack.enter_context(standing_in(offer.facts.cpi, Path(folder) / "cloud"))
                director = stack.enter_context(_director(Path(folder) / "state"))
                born = set(stand_in.resources()) if stand_in else set()
                cloud_config = dict(config)
                stemcell: dict[str, Any] = {}
                if stand_in is not None:
                    own = _yaml(stand_in.cloud_config())
                    cloud_config = adapt(config, own, cpi=_CPI, any_range=offer.facts.any_range)
                    site = stand_in.site()
                    properties = {
                        "cloud": stand_in.cpi_type, "properties": dict(stand_in.config), "body": _BODY, "image_path": site.image_path}
                    director.given("update-cpi-config", {"cpis": [{"name": _CPI, "type": "played", "properties": properties}]})
                    stemcell = dict(site.stemcell_properties)
                came = _deployed(director, offer, cloud_config, stemcell, part, tell)
                left = sorted(f"{kind} {cid}" for kind, cid in set(stand_in.resources()) - born) if stand_in else []
        except Skipped as reason:
            return Came(offer.label, absent=str(reason))
        except CaissonError as error:  # the other clouds are rehearsed all the same
            return Came(offer.label, failed=error.message, seconds=time.monotonic() - started)
    return dataclasses.replace(came, left=tuple(left), seconds=time.monotonic() - started)


def _deployed(
    director: _Director, offer: Offer, cloud_config: Mapping[str, Any], stemcell: Mapping[str, Any], part: Part, tell: Tell,
) -> Came:
    tell(f"{offer.label}: uploading {len(part.releases)} releases")
    director.given("update-cloud-config", cloud_config)
    director.given("upload-stemcell", {
        "name": "rehearsal", "version": "1", "operating_system": part.operating_system, "api_version": 3, "bosh_protocol": "1",
        "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709", "stemcell_formats": [offer.facts.stemcell_formats[0]],
        "cloud_properties": {**stemcell, "name": "rehearsal", "version": "1", "recipe": _LOCAL_RECIPE},
    })
    for release in part.releases:
        director.run("upload-release", *(["--dir", release] if Path(release).is_dir() else [release]))
    versions = {row["name"]: row["version"].rstrip("*") for row in reversed(director.rows("releases"))}
    given = [item for name, version in versions.items() for item in ("-v", f"{name.replace('-', '_')}_version={version}")]
    for number, path in enumerate(part.runtime_configs):
        director.run("update-runtime-config", "--name", f"rehearsal-{number}", path, *given)
    tell(f"{offer.label}: deploying")
    file = director.state / "manifest.yml"
    file.write_text(part.manifest)
    director.run("-d", part.name, "deploy", str(file))
    errands = {}
    for name in part.errands:
        tell(f"{offer.label}: errand {name}")
        ended = director.run("-d", part.name, "run-errand", name, check=False)
        errands[name] = "exit code 0" if ended.returncode == 0 else f"failed: {_last(ended)}"
    instances = _instances(director.rows("-d", part.name, "instances", "--ps"))
    tell(f"{offer.label}: deleting")
    director.run("-d", part.name, "delete-deployment")
    director.run("clean-up", "--all")
    return Came(offer.label, instances, errands)


def _instances(rows: Sequence[Mapping[str, str]]) -> tuple[tuple[str, str, str], ...]:
    """Per instance its group, zone and the states of its processes; ids and addresses are everywhere others."""
    found: dict[str, tuple[str, str, list[str]]] = {}
    name = ""
    for row in rows:
        if row["instance"] not in ("", "~"):
            name = row["instance"]
        if row.get("process"):
            found[name][2].append(f"{row['process']} {row['process_state']}")
        else:
            found[name] = (name.split("/")[0], row["az"], [])
    return tuple(sorted((group, az, ", ".join(sorted(processes))) for group, az, processes in found.values()))


def _yaml(text: str) -> dict[str, Any]:
    from director.manifest.load import load_yaml

    return dict(load_yaml(text, "cloud config of the stand-in").tree)


class _Director:
    """A director of its own, spoken to by the command line as an operator does."""

    def __init__(self, state: Path) -> None:
        self.state = state
        state.mkdir(parents=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BOSH_")}
        self._environ = {
            **kept, "CAISSON_STATE": str(state), "BOSH_CONFIG": str(state / "cli.yml"), "BOSH_ENVIRONMENT": "rehearsal",
            "BOSH_NON_INTERACTIVE": "true",
        }

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command. Raises TaskError with the end of what it printed."""
        command = [sys.executable, "-m", "director.cli.main", *arguments]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, env=self._environ, timeout=_COMMAND_SECONDS, stdin=subprocess.DEVNULL, check=False)
        except subprocess.TimeoutExpired as error:
            raise TaskError(f"`caisson {' '.join(arguments[:4])}` took longer than {_COMMAND_SECONDS:.0f} s") from error
        if check and ended.returncode != 0:
            raise TaskError(f"`caisson {' '.join(arguments[:4])}` ended with {ended.returncode}: {_last(ended)}")
        return ended

    def given(self, verb: str, tree: Mapping[str, Any]) -> None:
        """Run a command on a file with this content."""
        file = self.state / f"{verb}.yml"
        file.touch(mode=0o600)
        file.write_text(dump(dict(tree)))
        self.run(verb, str(file))

    def rows(self, *arguments: str) -> list[dict[str, str]]:
        tables = json.loads(self.run("--json", *arguments).stdout)["Tables"]
        return list(tables[0]["Rows"]) if tables else []


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """While inside, a request to end (SIGTERM, a closed terminal) takes the way of Ctrl-C, so that machines go, too."""
    kinds = (signal.SIGTERM, signal.SIGHUP)
    before = {kind: signal.signal(kind, lambda number, frame: signal.raise_signal(signal.SIGINT)) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def _director(state: Path) -> Iterator[_Director]:
    """A director that runs, and of which nothing stays: no process, machine, network, file."""
    director = _Director(state)
    try:
        director.run("director", "start", "--port", str(_free_port()), "--alias", "rehearsal")
        yield director
    finally:
        director.run("director", "stop", check=False)
        for folder in (state / "local", state / "cpis" / _CPI / "local"):
            if folder.exists():
                _clean(folder)


def _clean(folder: Path) -> None:
    """Remove the machines of a local cloud. Raises TaskError when some stay."""
    ended = subprocess.run([sys.executable, "-m", "cpis.local.clean", str(folder)], check=False, capture_output=True, text=True)
    if ended.returncode != 0:
        raise TaskError(
            f"machines of the rehearsal could not be removed: {_last(ended)}",
            suggestion="`ps`, `ip netns` and `losetup -a` show what is left; a restart of this computer ends it.")


def _last(ended: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    return " | ".join(lines[-6:])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
