"""Running the cases and reporting what held."""

from __future__ import annotations

import dataclasses
import time
import traceback
import uuid
from collections.abc import Callable, Sequence

from cpis.conformance.bench import Bench, Case, Site
from cpis.conformance.cases import CASES
from cpis.contract import Cpi


@dataclasses.dataclass(frozen=True)
class Outcome:
    """`detail` is empty when the promise held; `seconds` is wall time, cleaning included."""

    case: Case
    detail: str
    seconds: float

    @property
    def held(self) -> bool:
        return not self.detail


def check(cpi: Cpi, site: Site, cases: Sequence[Case] = CASES, report: Callable[[Outcome], None] = lambda outcome: None) -> list[Outcome]:
    """Run the cases one after the other on one stemcell and answer their outcomes. Deletes what it made, whatever happens."""
    stemcell = cpi.create_stemcell(site.image_path, site.stemcell_properties, f"conformance-{uuid.uuid4()}")
    outcomes = []
    try:
        for case in cases:
            outcome = _run(case, Bench(cpi, site, stemcell))
            outcomes.append(outcome)
            report(outcome)
    finally:
        cpi.delete_stemcell(stemcell)
    return outcomes


def _run(case: Case, bench: Bench) -> Outcome:
    started = time.monotonic()
    detail = ""
    try:
        case.function(bench)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__}: {error} (line {frame.lineno}: {frame.line})"
    finally:
        left = bench.clean()
    if left:
        detail = "; ".join(filter(None, [detail, "left behind: " + ", ".join(left)]))
    return Outcome(case, detail, time.monotonic() - started)
