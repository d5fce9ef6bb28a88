"""`python -m cpis.conformance [CLOUD]...`: the suite against all clouds that can be had here, as a matrix and as JSON.

Clouds are played by the stand-ins of `cpis/conformance/clouds`. Ends with 1 when a promise is broken, a fault ended wrong or something
leaked; clouds that cannot be had here are told with the reason and cost nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cpis import registry
from cpis.conformance import report
from cpis.conformance.faults import Target, Time, Trial, counts, run
from cpis.conformance.forms import forms
from cpis.conformance.proxy import Proxy
from cpis.conformance.report import Result
from cpis.conformance.standin import Skipped, StandIn
from cpis.conformance.suite import Outcome, check
from cpis.contract import CpiError

CLOUDS = ("fake", "local", "aws", "azure", "gcp", "openstack", "vsphere")
# One in how many faults is tried unless another number is asked for; and what part of waits is slept, for a stand-in in real time.
_EVERY = {"openstack": 50}
_USUALLY_EVERY = 10
_PACES = {"openstack": 1.0}


@contextlib.contextmanager
def standing_in(name: str, workdir: Path, latency: float = 0.0) -> Iterator[StandIn]:
    """The stand-in for a cloud, ended afterwards; `latency` is what its operations take, in seconds. Raises Skipped."""
    try:
        module = importlib.import_module(f"cpis.conformance.clouds.{name}")
    except ModuleNotFoundError as error:
        raise Skipped(f"nothing stands in for it here: {error}") from error
    stand_in: StandIn = module.start(workdir, latency=latency)
    with contextlib.closing(stand_in):
        yield stand_in


def of_cloud(name: str, workdir: Path, *, faults: bool, every: int | None) -> Result:
    """The suite, and the fault suite where it can be had, against the stand-in of one cloud."""
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        _say(f"{outcome.case.name}: {outcome.verdict} {outcome.detail or outcome.skipped}")

    played_by = ""
    try:
        with standing_in(name, workdir) as stand_in:
            played_by = stand_in.name
            cpi = registry.load(stand_in.cpi_type, stand_in.config)
            with contextlib.closing(cpi):
                check(cpi, stand_in.site(), report=tell)
            tried = counts(try_faults(stand_in, workdir, every)) if faults and stand_in.endpoint else None
            return Result(name, tuple(outcomes), played_by=played_by, faults=tried)
    except Skipped as reason:
        return Result(name, absent=str(reason))
    except CpiError as error:
        return Result(name, tuple(outcomes), failed=f"{type(error).__name__}: {error}", played_by=played_by)


def try_faults(
    stand_in: StandIn, workdir: Path, every: int | None = None, suite: Callable[..., list[Trial]] | None = None,
) -> list[Trial]:
    """The fault suite (or the `sweep` of spoiled answers) against a stand-in; one in `every` trials, or as many as are usual for it."""
    time = Time(_PACES.get(stand_in.cpi_type, 0.0))
    with Proxy(workdir / "proxy") as proxy:
        config = stand_in.config_for(proxy.front(stand_in.endpoint))
        cpi = registry.load(stand_in.cpi_type, config, clock=time.clock, sleep=time.sleep)
        target = Target(cpi, stand_in.site(), proxy, forms(stand_in.cpi_type, time.clock()), stand_in.resources)
        with contextlib.closing(cpi):
            return (suite or run)(target, report=_Progress().tell, every=every or _EVERY.get(stand_in.cpi_type, _USUALLY_EVERY))


class _Progress:
    """Tells how many trials there were of each operation, once the next one begins, and at once what ended wrong."""

    def __init__(self) -> None:
        self._operation, self._tried = "", 0

    def tell(self, trial: Trial) -> None:
        if trial.operation != self._operation:
            if self._tried:
                _say(f"{self._operation}: {self._tried} faults tried")
            self._operation, self._tried = trial.operation, 0
        self._tried += 1
        if trial.wrong or trial.leaked:
            place = f"{trial.operation}, request {trial.number} ({trial.request}), {trial.fault}"
            _say(f"{place}: {trial.ended}; {trial.wrong} {' '.join(trial.leaked)}")


def _say(line: str) -> None:
    print(f"  {line}".rstrip(), file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m cpis.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("clouds", nargs="*", metavar="CLOUD", help=f"of {', '.join(CLOUDS)} [all]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole there")
    parser.add_argument("--no-faults", action="store_true", help="leave the fault suite out")
    usual = ", ".join(f"{name} {number}" for name, number in _EVERY.items())
    parser.add_argument("--every", type=int, metavar="N", help=f"try one in N faults [{_USUALLY_EVERY}, {usual}]")
    given = parser.parse_args(arguments)
    if given.every is not None and given.every < 1:
        parser.error(f"--every is 1 for all faults, or more, not {given.every}")
    unknown = sorted(set(given.clouds) - set(CLOUDS))
    if unknown:
        parser.error(f"there is no cloud '{unknown[0]}'; known: {', '.join(CLOUDS)}")
    results = []
    with tempfile.TemporaryDirectory(prefix="caisson-conformance-") as folder:
        for name in given.clouds or CLOUDS:
            print(f"{name}:", file=sys.stderr, flush=True)
            results.append(of_cloud(name, Path(folder) / name, faults=not given.no_faults, every=given.every))
    print(report.matrix(results))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report.tree(results), indent=2) + "\n")
    return 1 if any(result.broken for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
