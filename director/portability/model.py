"""A portability report as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

OK, NOTE, DIFFERS, UNKNOWN, MISSING = "ok", "note", "differs", "unknown", "missing"
STATES = (OK, NOTE, DIFFERS, UNKNOWN, MISSING)
"""From good to bad. `note`: fine, with something to know; `differs`: given, but not alike on all clouds; `unknown`: only the cloud can
tell; `missing`: the deployment fails there."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one cloud config gives for one need. `instead` is the way round, or what to do."""

    state: str
    text: str = ""
    instead: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One need, and what each cloud (by label) gives. A cloud without a verdict does not have that need."""

    topic: str
    need: str
    verdicts: Mapping[str, Verdict]

    @property
    def state(self) -> str:
        """The worst."""
        return max((verdict.state for verdict in self.verdicts.values()), key=STATES.index, default=OK)


@dataclasses.dataclass(frozen=True)
class Total:
    """All machines of the deployment on one cloud; sizes that only the cloud knows are not in it (`unknown` counts those machines)."""

    machines: int
    cores: int
    ram_mib: int
    disk_mib: int
    unknown: int


@dataclasses.dataclass(frozen=True)
class Report:
    """`clouds` are labels in the order given, with the CPI's title; `totals` has those whose manifest could be read."""

    deployment: str
    clouds: Mapping[str, str]
    rows: tuple[Row, ...]
    totals: Mapping[str, Total]

    def state(self, cloud: str = "") -> str:
        """The worst of one cloud, or of all."""
        found = [verdict.state for row in self.rows for label, verdict in row.verdicts.items() if cloud in ("", label)]
        return max(found, key=STATES.index, default=OK)

    def counts(self, cloud: str) -> dict[str, int]:
        """How many rows of a cloud have which state."""
        states = [row.verdicts[cloud].state for row in self.rows if cloud in row.verdicts]
        return {state: states.count(state) for state in STATES if state in states}
