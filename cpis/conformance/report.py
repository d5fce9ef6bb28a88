"""What a run of the suite came to: a matrix as text, and the whole as JSON and as a page."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence
from typing import Any

from cpis.conformance.cases import CASES
from cpis.conformance.suite import Outcome

_SIGNS = {"held": "ok", "skipped": "-", "broken": "NO"}


@dataclasses.dataclass(frozen=True)
class Result:
    """One cloud's. `absent` says why nothing was run, `failed` what ended the run before its end; `played_by` is what stood for the cloud,
    `faults` are the fault suite's counts."""

    cloud: str
    outcomes: tuple[Outcome, ...] = ()
    absent: str = ""
    failed: str = ""
    played_by: str = ""
    faults: Mapping[str, Any] | None = None

    def count(self, verdict: str) -> int:
        return sum(outcome.verdict == verdict for outcome in self.outcomes)

    @property
    def broken(self) -> bool:
        return bool(self.failed or self.count("broken") or (self.faults and (self.faults["wrong"] or self.faults["leaked"])))


def matrix(results: Sequence[Result]) -> str:
    """Case by cloud: `ok` held, `NO` broken, `-` skipped, blank not run; then the reasons, each once."""
    width = max(len(case.name) for case in CASES)
    columns = [max(8, len(result.cloud)) for result in results]
    lines = [" " * width + "".join(f"  {result.cloud:>{column}}" for result, column in zip(results, columns, strict=True))]
    for case in CASES:
        signs = [next((_SIGNS[outcome.verdict] for outcome in result.outcomes if outcome.case == case), "") for result in results]
        lines.append(f"{case.name:<{width}}" + "".join(f"  {sign:>{column}}" for sign, column in zip(signs, columns, strict=True)))
    for verdict in ("held", "skipped", "broken"):
        numbers = [str(result.count(verdict)) if result.outcomes else "" for result in results]
        lines.append(f"{verdict:<{width}}" + "".join(f"  {number:>{column}}" for number, column in zip(numbers, columns, strict=True)))
    return "\n".join([*lines, "", *_remarks(results)])


def _remarks(results: Sequence[Result]) -> list[str]:
    lines = []
    for result in results:
        if result.absent:
            lines.append(f"{result.cloud}: not run: {result.absent}")
        if result.failed:
            lines.append(f"{result.cloud}: ENDED EARLY: {result.failed}")
        for outcome in result.outcomes:
            if outcome.detail:
                lines.append(f"{result.cloud}: {outcome.case.name} BROKEN: {outcome.detail}")
        reasons: dict[str, list[str]] = {}
        for outcome in result.outcomes:
            if outcome.verdict == "skipped":
                reasons.setdefault(outcome.skipped, []).append(outcome.case.name)
        lines += [f"{result.cloud}: skipped {', '.join(names)}: {reason}" for reason, names in reasons.items()]
        if result.faults is not None:
            ended = ", ".join(f"{count} {name}" for name, count in result.faults["ended"].items())
            lines.append(
                f"{result.cloud}: {result.faults['tried']} faults tried ({ended}), {result.faults['wrong']} wrong, "
                f"{result.faults['leaked']} resources leaked, at most {result.faults['most_requests']} requests in a call")
    return lines


def tree(results: Sequence[Result]) -> dict[str, Any]:
    """The same for programs."""
    return {"clouds": [_cloud(result) for result in results], "cases": {case.name: case.promise for case in CASES}}


def _cloud(result: Result) -> dict[str, Any]:
    return {
        "name": result.cloud, "played_by": result.played_by, "absent": result.absent, "failed": result.failed,
        "held": result.count("held"), "skipped": result.count("skipped"), "broken": result.count("broken"),
        "outcomes": [
            {"case": outcome.case.name, "verdict": outcome.verdict, "reason": outcome.detail or outcome.skipped,
             "seconds": round(outcome.seconds, 3)}
            for outcome in result.outcomes
        ],
        **({"faults": dict(result.faults)} if result.faults is not None else {}),
    }


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Conformance of {title}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}} table{{border-collapse:collapse;width:100%}}
td,th{{text-align:left;vertical-align:top;padding:.3em .6em;border-bottom:1px solid #ccc}} .held{{color:#060}} .broken{{color:#a00;
font-weight:bold}} .skipped{{color:#555}}</style>
<h1>Conformance of {title}</h1>
<p>{summary}</p>
<table><thead><tr><th>Case</th><th>Promise</th><th>Verdict</th><th>Seconds</th><th>Why</th></tr></thead><tbody>
{rows}
</tbody></table></html>
"""


def page(result: Result) -> str:
    """One cloud's as HTML, whole in itself."""
    rows = "\n".join(
        f'<tr><td>{html.escape(outcome.case.name)}</td><td>{html.escape(outcome.case.promise)}</td>'
        f'<td class="{outcome.verdict}">{outcome.verdict}</td><td>{outcome.seconds:.1f}</td>'
        f"<td>{html.escape(outcome.detail or outcome.skipped)}</td></tr>"
        for outcome in result.outcomes)
    summary = f"{result.count('held')} held, {result.count('skipped')} skipped, {result.count('broken')} broken."
    return _PAGE.format(title=html.escape(result.cloud), summary=summary, rows=rows)
