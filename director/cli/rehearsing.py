"""Rehearsals: a deployment on each cloud in turn, played by what stands in for it here, and what came out compared.

Each has a director of its own in a folder that goes with it. Machines of a cloud whose stand-in boots nothing get bodies of this computer
(`cpis.conformance.bodies`), so that processes, disks and names are real everywhere. Needs root, as machines of this computer do.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from cpis.contract import CpiError
from director.cli.rehearsal_director import RehearsalDirector, last_lines
from director.errors import CaissonError, TaskError, UsageError
from director.portability.adapt import adapt
from director.portability.offer import Offer

if TYPE_CHECKING:
    from cpis.conformance.furnish import Furnished
    from cpis.conformance.standin import StandIn

_CPI = "elsewhere"
_LOCAL_RECIPE = "debian-12"
_FAILURES = (CaissonError, CpiError, OSError, RuntimeError, subprocess.SubprocessError, httpx.HTTPError)
"""What a stand-in, a command and a director can end with; whatever else ends the program is a defect of it."""

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
    """What came out on one cloud.

    `instances` are (group, zone, states of its processes), `errands` name -> how it ended, `made` how many of which kind were in the
    stand-in while all was deployed, `left` what was there after the deployment was deleted, `told` what was another than in the cloud
    config, `stages` name -> seconds. `failed` is empty when all went well, else what did not, with `suggestion`; `absent` says why it was
    not tried.
    """

    label: str
    instances: tuple[tuple[str, str, str], ...] = ()
    errands: Mapping[str, str] = dataclasses.field(default_factory=dict)
    made: Mapping[str, int] = dataclasses.field(default_factory=dict)
    left: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    stages: Mapping[str, float] = dataclasses.field(default_factory=dict)
    failed: str = ""
    suggestion: str = ""
    absent: str = ""

    def facts(self) -> list[tuple[str, str, str]]:
        """What can be compared: (what, where, how it is), the same again for each instance of which that is true."""
        return [*self.instances, *((name, "errand", how) for name, how in self.errands.items())]

    @property
    def seconds(self) -> float:
        return sum(self.stages.values())


class _Stage:
    """What is under way on one cloud: told as it begins, and how long each took."""

    def __init__(self, label: str, tell: Tell) -> None:
        self.seconds: dict[str, float] = {}
        self.now = ""
        self._label, self._tell = label, tell
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        minutes, seconds = divmod(round(time.monotonic() - self._started), 60)
        self._tell(f"{self._label}  {minutes}:{seconds:02d}  {text}")

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        self.now = name
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began


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
    from cpis.conformance.standin import Skipped

    stage = _Stage(offer.label, tell)
    told: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory(prefix="caisson-rehearsal-") as folder:
        try:
            with contextlib.ExitStack() as stack:
                with stage.of("starting"):
                    stand_in, furnished = _cloud(stack, offer, config, Path(folder) / "cloud", stage)
                    director = stack.enter_context(_director(Path(folder) / "state", stage))
                told = furnished.told if furnished else ()
                for sentence in told:
                    stage.say(sentence)
                born = set(stand_in.resources()) if stand_in else set()
                if stand_in and furnished:
                    _play(director, stand_in, furnished)
                with stage.of("uploading"):
                    _upload(director, offer, furnished.cloud_config if furnished else config, furnished, part, stage)
                with stage.of("deploying"):
                    _deploy(director, part, stage)
                with stage.of("errands"):
                    errands = {name: _errand(director, part, name, stage) for name in part.errands}
                instances = _instances(director.rows("-d", part.name, "instances", "--ps"))
                made = collections.Counter(kind for kind, _ in set(stand_in.resources()) - born) if stand_in else {}
                with stage.of("deleting"):
                    stage.say("deleting")
                    director.run("-d", part.name, "delete-deployment")
                    director.run("clean-up", "--all")
                    left = sorted(f"{kind} {cid}" for kind, cid in set(stand_in.resources()) - born) if stand_in else []
        except Skipped as reason:
            return Came(offer.label, absent=str(reason), stages=stage.seconds)
        except _FAILURES as error:  # the other clouds are rehearsed all the same
            message = str(getattr(error, "message", "") or error or type(error).__name__)
            return Came(offer.label, told=told, stages=stage.seconds, failed=f"{stage.now}: {message}", suggestion=_next(error))
    return Came(offer.label, instances, errands, dict(sorted(made.items())), tuple(left), told, stage.seconds)


def _next(error: BaseException) -> str:
    """What to do about it."""
    if isinstance(error, CaissonError):
        own = " ".join(item.suggestion for item in error.diagnostics if item.suggestion)
    else:
        own = error.suggestion if isinstance(error, CpiError) else ""
    return own or (
        "Deploy it on this computer first, where it can be looked at: `caisson director start`, then docs/operator/troubleshooting.md.")


def _cloud(
    stack: contextlib.ExitStack, offer: Offer, config: Mapping[str, Any], folder: Path, stage: _Stage,
) -> tuple[StandIn | None, Furnished | None]:
    """What stands in for the cloud, furnished for the deployment; nothing for this computer itself."""
    from cpis.conformance.__main__ import standing_in
    from cpis.conformance.furnish import Wanted

    if offer.facts.cpi == "local" or offer.manifest is None:
        return None, None
    stage.say("starting what stands in for it")
    stand_in = stack.enter_context(standing_in(offer.facts.cpi, folder))
    vips = {network.name for network in (offer.cloud.networks if offer.cloud else ()) if network.type == "vip"}
    public = tuple(item.ip for item in offer.addresses if item.network in vips and item.ip)
    return stand_in, stand_in.furnish(Wanted(adapt(config, offer.manifest, cpi=_CPI), public))


def _play(director: RehearsalDirector, stand_in: StandIn, furnished: Furnished) -> None:
    properties = {"cloud": stand_in.cpi_type, "properties": dict(furnished.config), "image_path": stand_in.site().image_path}
    director.given("update-cpi-config", {"cpis": [{"name": _CPI, "type": "played", "properties": properties}]})


def _upload(
    director: RehearsalDirector, offer: Offer, cloud_config: Mapping[str, Any], furnished: Furnished | None, part: Part, stage: _Stage,
) -> None:
    director.given("update-cloud-config", cloud_config)
    stage.say("uploading the stemcell")
    director.given("upload-stemcell", {
        "name": "rehearsal", "version": "1", "operating_system": part.operating_system, "api_version": 3, "bosh_protocol": "1",
        "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709", "stemcell_formats": [offer.facts.stemcell_formats[0]],
        "cloud_properties": {
            **(furnished.stemcell if furnished else {}), "name": "rehearsal", "version": "1", "recipe": _LOCAL_RECIPE},
    })
    for release in part.releases:
        stage.say(f"uploading {Path(release).name}")
        director.run("upload-release", *(["--dir", release] if Path(release).is_dir() else [release]))
    versions = {row["name"]: row["version"].rstrip("*") for row in reversed(director.rows("releases"))}
    given = [item for name, version in versions.items() for item in ("-v", f"{name.replace('-', '_')}_version={version}")]
    for number, path in enumerate(part.runtime_configs):
        director.run("update-runtime-config", "--name", f"rehearsal-{number}", path, *given)


def _deploy(director: RehearsalDirector, part: Part, stage: _Stage) -> None:
    stage.say("deploying")
    file = director.state / "manifest.yml"
    file.write_text(part.manifest)
    director.run("-d", part.name, "deploy", str(file), tell=stage.say)


def _errand(director: RehearsalDirector, part: Part, name: str, stage: _Stage) -> str:
    stage.say(f"errand {name}")
    ended = director.run("-d", part.name, "run-errand", name, check=False)
    if ended.returncode != 0:
        stage.say(f"errand {name} failed: {last_lines(ended.stdout)}")
    return "exit code 0" if ended.returncode == 0 else "failed"


def _instances(rows: Sequence[Mapping[str, str]]) -> tuple[tuple[str, str, str], ...]:
    """Per instance its group, zone and the states of its processes; ids and addresses are everywhere others."""
    found: dict[str, tuple[str, str, dict[str, list[str]]]] = {}
    name = ""
    for row in rows:
        if row["instance"] not in ("", "~"):
            name = row["instance"]
        if row.get("process"):
            found[name][2].setdefault(row["process_state"], []).append(row["process"])
        else:
            found[name] = (name.split("/")[0], row["az"], {})
    return tuple(sorted(
        (group, az, "; ".join(f"{state}: {', '.join(sorted(names))}" for state, names in sorted(processes.items())) or "no process")
        for group, az, processes in found.values()))


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """While inside, a request to end (SIGTERM, a closed terminal) takes the way of Ctrl-C, so that machines go, too."""
    with _handled(signal.default_int_handler):
        yield


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """While inside, neither Ctrl-C nor SIGTERM does anything: what takes machines away goes on to its end."""
    with _handled(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handled(handler: Any) -> Iterator[None]:
    """While inside, requests to end are handled so; those that are ignored (by `nohup`, or in the background of a script) stay ignored."""
    kinds = [kind for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(kind) != signal.SIG_IGN]
    before = {kind: signal.signal(kind, handler) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler_before in before.items():
            signal.signal(kind, handler_before)


@contextlib.contextmanager
def _director(state: Path, stage: _Stage) -> Iterator[RehearsalDirector]:
    """A director that runs, and of which nothing stays: no process, machine, network, file."""
    director = RehearsalDirector(state)
    try:
        director.start()
        yield director
    except KeyboardInterrupt:
        stage.say("ending: machines and networks are removed")
        raise
    finally:
        with _undisturbed():
            director.run("director", "stop", check=False)
            for folder in (state / "local", state / "cpis" / _CPI / "local"):
                if folder.exists():
                    _clean(folder)


def _clean(folder: Path) -> None:
    """Remove the machines of a local cloud. Raises TaskError when some stay."""
    ended = subprocess.run(
        [sys.executable, "-m", "cpis.local.clean", str(folder)], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise TaskError(
            f"machines of the rehearsal could not be removed: {last_lines(ended.stdout)}",
            suggestion="`ps`, `ip netns` and `losetup -a` show what is left; a restart of this computer ends it.")


