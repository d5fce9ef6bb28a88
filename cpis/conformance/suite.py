"""Running the cases and reporting what held."""

from __future__ import annotations

import dataclasses
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from cpis.conformance import cases
from cpis.conformance.bench import Bench, Case, NotApplicable, Site
from cpis.conformance.cases import CASES
from cpis.contract import Cpi


@dataclasses.dataclass(frozen=True)
class Outcome:
    """`detail` is empty when the promise held, `skipped` says why the case does not apply; `seconds` is wall time, cleaning included."""

    case: Case
    detail: str
    seconds: float
    skipped: str = ""

    @property
    def held(self) -> bool:
        return not self.detail and not self.skipped

    @property
    def verdict(self) -> str:
        """held, skipped or broken."""
        return "broken" if self.detail else "skipped" if self.skipped else "held"


def check(cpi: Cpi, site: Site, chosen: Sequence[Case] = CASES, report: Callable[[Outcome], None] = lambda outcome: None) -> list[Outcome]:
    """Run the cases one after the other on one stemcell and answer their outcomes. Deletes what it made, whatever happens.

    Raises ValueError when `site.skips` names no case.
    """
    unknown = sorted(set(site.skips) - {case.name for case in CASES})
    if unknown:
        raise ValueError(f"the site skips '{unknown[0]}', which is no case of the suite")
    stemcell = cpi.create_stemcell(site.image_path, site.stemcell_properties, f"conformance-{uuid.uuid4()}")
    outcomes = []
    try:
        for case in chosen:
            outcome = _run(case, Bench(cpi, site, stemcell))
            outcomes.append(outcome)
            report(outcome)
    finally:
        cpi.delete_stemcell(stemcell)
    return outcomes


def _run(case: Case, bench: Bench) -> Outcome:
    if reason := bench.site.skips.get(case.name, ""):
        return Outcome(case, "", 0.0, reason)
    started = time.monotonic()
    detail = skipped = ""
    try:
        case.function(bench)
    except NotApplicable as reason:
        skipped = str(reason)
    except Exception as error:
        detail = f"{type(error).__name__}: {error} ({_where(error)})"
    finally:
        left = bench.clean()
    if left:
        detail = "; ".join(filter(None, [detail, "left behind: " + ", ".join(left)]))
    return Outcome(case, detail, time.monotonic() - started, skipped)


def _where(error: Exception) -> str:
    """The line of the case that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if Path(frame.filename).parent == Path(cases.__file__).parent), frames[-1])
    return f"{Path(frame.filename).name}, line {frame.lineno}: {frame.line}"
