"""The suite that every CPI passes: `check(cpi, site)` runs it against a real object and answers what held."""

from __future__ import annotations

from cpis.conformance.bench import Bench, Case, NotApplicable, OtherZone, Site
from cpis.conformance.cases import CASES
from cpis.conformance.suite import Outcome, check

__all__ = ["CASES", "Bench", "Case", "NotApplicable", "OtherZone", "Outcome", "Site", "check"]
