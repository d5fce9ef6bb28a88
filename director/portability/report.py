"""A report for people (HTML) and programs (JSON). What a terminal shows is the command line's."""

from __future__ import annotations

import dataclasses
import html
from typing import Any

from director.portability.model import STATES, Report, Verdict

_COLOURS = {"ok": "#e6f4ea", "note": "#eef2f7", "differs": "#fff4ce", "unknown": "#f0e8fa", "missing": "#fde7e9"}
_WORDS = {"ok": "ok", "note": "note", "differs": "differs", "unknown": "?", "missing": "MISSING"}


def to_json(report: Report) -> dict[str, Any]:
    """`{deployment, state, clouds: [{label, title, state, counts, total}], rows: [{topic, need, state, verdicts: {label: {...}}}]}`."""
    return {
        "deployment": report.deployment,
        "state": report.state(),
        "clouds": [
            {
                "label": label, "title": title, "state": report.state(label), "counts": report.counts(label),
                "total": dataclasses.asdict(report.totals[label]) if label in report.totals else None,
            }
            for label, title in report.clouds.items()
        ],
        "rows": [
            {
                "topic": row.topic, "need": row.need, "state": row.state,
                "verdicts": {label: dataclasses.asdict(verdict) for label, verdict in row.verdicts.items()},
            }
            for row in report.rows
        ],
    }


def word(state: str) -> str:
    """A state as a matrix shows it."""
    return _WORDS[state]


def to_html(report: Report) -> str:
    """One page that needs nothing else."""
    style = "".join(f".{state}{{background:{colour}}}" for state, colour in _COLOURS.items())
    clouds = list(report.clouds)
    head = "".join(f"<th>{html.escape(label)}<br><small>{html.escape(report.clouds[label])}</small></th>" for label in clouds)
    rows = []
    for row in report.rows:
        cells = "".join(_cell(row.verdicts.get(label)) for label in clouds)
        rows.append(f"<tr><td>{html.escape(row.topic)}</td><th scope=row>{html.escape(row.need)}</th>{cells}</tr>")
    legend = " ".join(f'<span class="{state}">{_WORDS[state]}</span>' for state in STATES)
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Portability of {html.escape(report.deployment)}</title><style>"
        "body{font:14px/1.4 system-ui,sans-serif;margin:2rem}table{border-collapse:collapse}td,th{border:1px solid #ccc;"
        "padding:.3rem .6rem;text-align:left;vertical-align:top}"
        f"small{{color:#555}}span{{padding:.1rem .5rem}}{style}</style></head><body>"
        f"<h1>Portability of {html.escape(report.deployment)}</h1><p>{legend}</p>"
        f"<table><thead><tr><th>Topic</th><th>The deployment needs</th>{head}</tr></thead><tbody>{''.join(rows)}{_totals(report)}</tbody>"
        "</table></body></html>\n"
    )


def _cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return "<td></td>"
    instead = f"<br><small>{html.escape(verdict.instead)}</small>" if verdict.instead else ""
    return f'<td class="{verdict.state}"><b>{_WORDS[verdict.state]}</b> {html.escape(verdict.text)}{instead}</td>'


def _totals(report: Report) -> str:
    cells = "".join(f"<td>{html.escape(total_text(report, label))}</td>" for label in report.clouds)
    return f"<tr><td>total</td><th scope=row>all machines</th>{cells}</tr>"


def total_text(report: Report, label: str) -> str:
    """A cloud's total in a line; empty when its manifest could not be read."""
    total = report.totals.get(label)
    if total is None:
        return ""
    text = f"{total.machines} machines, {total.cores} cores, {total.ram_mib / 1024:.3g} GiB, disks {total.disk_mib / 1024:.3g} GiB"
    return f"{text} (without {total.unknown} of unknown size)" if total.unknown else text
