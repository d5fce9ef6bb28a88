"""What CPIs cost beyond their clouds: own time per call, requests, machines at once, rates, and what is loaded when no cloud is used.

Own time is processor time of the calling thread: ours, Libcloud's and all below it, without any wait for the stand-in, which works in
other threads or another process. Machines at once are made by a process of their own, so that a stand-in in this one does not share its
interpreter with the CPI.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cpis import registry
from cpis.cloud import limits
from cpis.conformance.__main__ import standing_in
from cpis.conformance.bench import Bench, Site
from cpis.conformance.clouds.openstack import lab
from cpis.conformance.standin import Skipped, StandIn
from cpis.contract import Cpi
from tests.bench.rows import Row
from tests.bench.world import ROOT, World
from tests.cpis.openstack import small

CLOUDS = ("aws", "azure", "gcp", "openstack", "vsphere")
MACHINES = 100
LATENCY_SECONDS = 2.0
TIMES = 2.0
OWN_MS = 5.0
ROUNDS = 20
RATE = limits.Rate(40.0, 10.0)
RATED_MACHINES = 30
MORE = 1.05
LIBRARIES = ("libcloud", "pyVmomi", "requests", "botocore", "boto3", "google.auth", "azure.identity", "msal")


def clouds(world: World) -> list[Row]:
    """All of it. A cloud that nothing here stands in for is told, and has no rows."""
    rows: list[Row] = []
    for name in CLOUDS:
        there = name != "openstack" or Path(os.environ.get(lab.PACKAGES) or ".state/openstack").is_dir()
        with _told(name), (standing_in if there else _quick)(name, world.folder / name) as stand_in:
            rows += _calls(stand_in)
    for name in CLOUDS:
        with _told(name), _quick(name, world.folder / f"{name}-slow", LATENCY_SECONDS) as stand_in:
            rows.append(_at_once(stand_in))
        with _told(name), _quick(name, world.folder / f"{name}-rated") as stand_in:
            rows.append(_rates(stand_in))
    return [*rows, *_imports()]


def _quick(name: str, folder: Path, latency: float = 0.0) -> AbstractContextManager[StandIn]:
    """A cloud's stand-in; of OpenStack the small fake services. The real ones make six machines in 24 s on two cores, so that many at once
    would show their cost and not the CPI's; and they are measured only where `make test-openstack` has installed them."""
    return contextlib.closing(small.start(folder, latency)) if name == "openstack" else standing_in(name, folder, latency)


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except Skipped as reason:
        print(f"{name}: not measured: {reason}", file=sys.stderr)


# Own time and requests


def _calls(stand_in: StandIn) -> list[Row]:
    """Own time of calls, and what a machine's creation asks for once the CPI knows its cloud."""
    site, name = stand_in.site(), stand_in.cpi_type
    with _bench(stand_in, site) as bench:
        cpi = bench.cpi
        bench.vm(0)
        request = bench.request(1)
        stand_in.forget_requests()
        creation, vm = _own(lambda: cpi.create_vm(request))
        asked = [what for _, what in stand_in.requests()]
        disk = bench.disk(vm_cid=vm.cid)
        rounds = range(ROUNDS)
        looks = [_own(lambda: cpi.has_vm(vm.cid))[0] for _ in rounds]
        stand_in.forget_requests()
        changes = [_own(lambda: cpi.attach_disk(vm.cid, disk))[0] + _own(lambda: cpi.detach_disk(vm.cid, disk))[0] for _ in rounds]
        changing = len(stand_in.requests()) / ROUNDS
    shown = ", ".join(_short(what) for what in asked)
    by = "" if stand_in.name == name else f", by {stand_in.name}"
    return [
        Row(f"{name}: own time of has_vm", _middle(looks), "ms", OWN_MS),
        Row(f"{name}: own time of attach_disk and detach_disk, for each request", _middle(changes) / changing, "ms", OWN_MS,
            f"{changing:.3g} requests, {_middle(changes):.3g} ms together{by}"),
        Row(f"{name}: own time of create_vm, for each request", creation / len(asked), "ms", OWN_MS, f"{creation:.3g} ms together{by}"),
        Row(f"{name}: requests of create_vm", len(asked), "requests", compared_with=shown[:150]),
    ]


def _own(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of this thread's processor time, and the answer."""
    started = time.thread_time()
    answer = call()
    return (time.thread_time() - started) * 1000, answer


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _short(what: str) -> str:
    """The last telling part of a path, or the action."""
    parts = [part for part in what.partition("?")[0].split("/") if part]
    return "/".join(parts[-2:]) if len(parts) > 1 else what


@contextlib.contextmanager
def _bench(stand_in: StandIn, site: Site) -> Iterator[Bench]:
    """A CPI for the stand-in with a stemcell; what was made is deleted afterwards."""
    cpi = registry.load(stand_in.cpi_type, stand_in.config)
    with contextlib.closing(cpi):
        stemcell = cpi.create_stemcell(site.image_path, site.stemcell_properties, "conformance-bench")
        bench = Bench(cpi, site, stemcell)
        try:
            yield bench
        finally:
            bench.clean(look_again=False)
            cpi.delete_stemcell(stemcell)


# Many at once


def _at_once(stand_in: StandIn) -> Row:
    """A hundred machines beside one, on a cloud whose operations take their time."""
    site = stand_in.site()
    alone, together = _apart(lambda: _race(stand_in, site))
    return Row(
        f"{stand_in.cpi_type}: {MACHINES} machines at once, operations take {LATENCY_SECONDS:g} s", together, "s", TIMES * alone,
        "one machine alone" + ("" if stand_in.name == stand_in.cpi_type else f", on {stand_in.name}"), alone)


def _race(stand_in: StandIn, site: Site) -> tuple[float, float]:
    cpi = registry.load(stand_in.cpi_type, stand_in.config)
    with contextlib.closing(cpi):
        bench = Bench(cpi, site, cpi.create_stemcell(site.image_path, site.stemcell_properties, "conformance-bench"))
        bench.vm(MACHINES)  # what is asked once is known by now
        alone = _wall(lambda: bench.vm(MACHINES + 1))
        requests = [bench.request(number) for number in range(MACHINES)]
        with ThreadPoolExecutor(MACHINES) as pool:
            together = _wall(lambda: list(pool.map(cpi.create_vm, requests)))
    return alone, together


def _wall(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def _rates(stand_in: StandIn) -> Row:
    """How far over its rate any family of requests was sent, in any stretch of time, when machines want more than the rate gives."""
    site = stand_in.site()
    most, taken = _apart(lambda: _watched(stand_in, site))
    return Row(
        f"{stand_in.cpi_type}: most requests in any time, {RATED_MACHINES} machines at once at {RATE.per_second:g} a second", most,
        "of the rate", MORE, f"{taken:.0f} requests sent", works=taken >= RATED_MACHINES)


def _watched(stand_in: StandIn, site: Site) -> tuple[float, float]:
    sent: dict[str, list[float]] = {}
    guard = threading.Lock()

    class Watched(limits.Limiter):
        """Has the rate of this benchmark, and remembers when it let whom go."""

        def __init__(self, families: Mapping[str, limits.Rate], **more: Any) -> None:
            super().__init__(dict.fromkeys(families, RATE), **more)

        def take(self, family: str, cost: float = 1.0) -> float:
            waited = super().take(family, cost)
            with guard:
                sent.setdefault(family, []).append(time.monotonic())
            return waited

    limits.Limiter = Watched  # type: ignore[misc]  # this process ends after it
    cpi = registry.load(stand_in.cpi_type, stand_in.config)
    with contextlib.closing(cpi):
        _make(cpi, site)
    limited = {family: times for family, times in sent.items() if len(times) > RATE.burst}
    return max((_most(sorted(times)) for times in limited.values()), default=0.0), float(sum(map(len, sent.values())))


def _make(cpi: Cpi, site: Site) -> None:
    bench = Bench(cpi, site, cpi.create_stemcell(site.image_path, site.stemcell_properties, "conformance-bench"))
    requests = [bench.request(number) for number in range(RATED_MACHINES)]
    with ThreadPoolExecutor(RATED_MACHINES) as pool:
        list(pool.map(cpi.create_vm, requests))


def _most(times: list[float]) -> float:
    """The highest ratio of requests sent in a stretch to those allowed in it. The one that ends the stretch was due with it."""
    return max(
        (end - start) / (RATE.burst + RATE.per_second * (times[end] - times[start]))
        for start in range(len(times)) for end in range(start + 1, len(times)))


def _apart(work: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """The answer of `work`, done by a copy of this process. Raises RuntimeError with its words when it fails."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)

    def run(pipe: Connection) -> None:
        try:
            pipe.send((work(), ""))
        except Exception as error:
            pipe.send(((0.0, 0.0), f"{type(error).__name__}: {error}"))

    process = fork.Process(target=run, args=(theirs,))
    process.start()
    theirs.close()
    try:
        answer, failure = ours.recv()
    except EOFError as error:
        raise RuntimeError("the process that makes machines died") from error
    finally:
        process.join()
    if failure:
        raise RuntimeError(failure)
    return answer


# What is loaded


def _imports() -> list[Row]:
    """What a director loads that uses no cloud, and what each CPI costs to load."""
    loaded = int(_python(f"import sys, director.service, director.cli.main; print(sum(name in sys.modules for name in {LIBRARIES!r}))"))
    rows = [Row("cloud libraries loaded by a director that uses none", loaded, "libraries", 0, ", ".join(LIBRARIES))]
    for name in CLOUDS:
        if name in registry.TABLE:
            module = registry.TABLE[name].partition(":")[0]
            seconds = float(_python(f"import time; start = time.process_time(); import {module}; print(time.process_time() - start)"))
            rows.append(Row(f"{name}: loading the CPI and its libraries", seconds * 1000, "ms"))
    return rows


def _python(text: str) -> str:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=Path(ROOT), timeout=120)
    return done.stdout.strip()
