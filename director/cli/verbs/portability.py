"""`portability`: whether a deployment runs on several clouds, without a director and without touching a cloud."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from director.cli import templates
from director.cli.cloud_checking import timeout_option
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError

if TYPE_CHECKING:
    from director.portability.model import Report
    from director.portability.offer import Offer

_LOOKS = {"ok": "good", "note": "", "differs": "warn", "unknown": "warn", "missing": "bad"}
_FINDINGS = ("Cloud", "Topic", "Need", "State", "What", "What to do")


@verb(examples=(
    "caisson portability manifests/foundation.yml --cloud-config aws.yml --cloud-config gcp.yml",
    "caisson portability app.yml --cloud-config openstack=lab/cloud.yml --cloud-config local=here.yml --html report.html",
    "caisson portability app.yml --cloud-config aws.yml -l aws-vars.yml --json",
    "caisson portability app.yml --cloud-config aws.yml --cloud-config azure.yml --live cpis.yml -l secrets.yml",
    "caisson portability app.yml --cloud-config aws.yml --cloud-config local.yml --run --release releases/app --errand smoke-tests",
))
@click.argument("manifest", metavar="MANIFEST")
@click.option("--cloud-config", "configs", multiple=True, required=True, metavar="[CPI=]PATH",
              help="A cloud config; its CPI is told by the file's name, or given before the path. May be given again")
@templates.options
@click.option("--details", is_flag=True, help="Show what each cloud gives, not only whether it does")
@click.option("--html", "page", default="", metavar="FILE", help="Write the report as a page")
@click.option("--report", "document", default="", metavar="FILE", help="Write the report as JSON")
@click.option("--live", default="", metavar="CPI_CONFIG",
              help="Ask the clouds, too: quotas left, images, networks, permissions; credentials are those of this CPI config")
@timeout_option("With --live: for all questions to one cloud; 30 by default")
@click.option("--run", "rehearsing", is_flag=True,
              help="Deploy on each in turn, too: here, on what stands in for the cloud, and compare what came out")
@click.option("--release", "releases", multiple=True, metavar="PATH",
              help="With --run: a release to upload, an archive or a folder, or a folder of release folders")
@click.option("--runtime-config", "runtime_configs", multiple=True, metavar="PATH",
              help="With --run: a runtime config; ((NAME_version)) is the version of the release NAME")
@click.option("--errand", "errands", multiple=True, metavar="NAME", help="With --run: an errand to run after the deploy")
@click.option("--strict", is_flag=True, help="Differences, and what only the cloud knows, count as failures")
def command(
    session: Session, manifest: str, configs: tuple[str, ...], details: bool, page: str, document: str, live: str,
    timeout: int | None, rehearsing: bool, releases: tuple[str, ...], runtime_configs: tuple[str, ...], errands: tuple[str, ...],
    strict: bool, sources: templates.Sources,
) -> int:
    """Show what a deployment needs, and whether each cloud config gives it. No cloud is touched, unless --live says so.

    Sizes are compared with those of the first cloud config. Exit code 1 when something is missing on a cloud (with --strict: or differs,
    or is known to the cloud only).
    """
    from director.portability import report as written
    from director.portability.study import study, with_live

    offers = _read(manifest, configs, sources)
    report = study(*offers)
    if live:
        asked = zip(offers[1], configs, strict=True)
        report = with_live(report, {
            offer.label: _asked(session, offer, live, _named(text)[2], sources, timeout) for offer, text in asked})
    elif timeout is not None:
        raise UsageError("--timeout goes with --live", suggestion="Only --live asks clouds.")
    if page:
        _write(page, written.to_html(report))
    if document:
        _write(document, json.dumps(written.to_json(report), indent=2) + "\n")
    _show(session, report, details)
    bad = {"missing", "differs", "unknown"} if strict else {"missing"}
    failed = any(row.state in bad for row in report.rows)
    if rehearsing:
        from director.cli.rehearsing import releases_in

        extras = {"releases": releases_in(releases), "runtime_configs": runtime_configs, "errands": errands}
        trees = [templates.evaluate(_named(text)[2], _values(sources)).tree for text in configs]
        failed = not _rehearse(session, templates.evaluate(manifest, sources), list(zip(offers[1], trees, strict=True)), extras) or failed
    return 1 if failed else 0


def _asked(
    session: Session, offer: Offer, live: str, path: str, sources: templates.Sources, timeout: int | None,
) -> list[Mapping[str, Any]]:
    """What one cloud says, shown at a terminal while it comes."""
    from director.cli.cloud_checking import from_here, line

    found = []
    for row in from_here(offer.facts.cpi, "", live, (path,), sources, seconds=timeout):
        line(session.ui, row, offer.label)
        found.append(row)
    return found


def _rehearse(
    session: Session, manifest: templates.Evaluated, offers: list[tuple[Offer, Any]], extras: dict[str, tuple[str, ...]],
) -> bool:
    """Deploy on each, show what came out; whether it is the same everywhere."""
    from director.cli.rehearsing import Part, ending_in_order, rehearse
    from director.cli.tables import Cell, Table

    name = offers[0][0].manifest.name if offers[0][0].manifest else ""
    systems = [item.get("os") or item.get("name") for item in manifest.tree.get("stemcells") or () if isinstance(item, dict)]
    part = Part(name or str(manifest.tree["name"]), manifest.text, str(systems[0]) if systems else "linux", **extras)
    with ending_in_order():
        came = [rehearse(offer, tree, part, session.ui.line) for offer, tree in offers if offer.manifest is not None]
    tried = [item for item in came if not item.absent and not item.failed]
    rows = []
    for fact in dict.fromkeys(fact for item in tried for fact in item.facts()):
        counts = [item.facts().count(fact) for item in tried]
        rows.append((fact, *(Cell(str(count), "" if count == max(counts) else "bad") for count in counts)))
    if tried:
        session.ui.table(Table("rehearsal", ("What came out", *(item.label for item in tried)), tuple(rows), fill_first=False))
    for item in came:
        told = item.absent or item.failed or ", ".join(item.left)
        state = "not tried" if item.absent else "failed" if item.failed else "left behind" if item.left else "deployed and deleted"
        look = "warn" if item.absent else "bad" if item.failed or item.left else "good"
        session.ui.line(f"{item.label}: {state} in {item.seconds:.0f} s{f': {told}' if told else ''}", look)
    same = len({tuple(item.facts()) for item in tried}) <= 1
    session.ui.line("The same came out everywhere" if same else "Not the same came out everywhere", "good" if same else "bad")
    return same and not any(item.failed or item.left for item in came)


def _values(sources: templates.Sources) -> templates.Sources:
    """What fills cloud configs: variables, and no ops files."""
    return templates.Sources(sources.values, sources.value_files, sources.files, sources.prefixes)


def _read(manifest: str, configs: tuple[str, ...], sources: templates.Sources) -> tuple[str, list[Offer]]:
    from cpis.contract import Invalid
    from cpis.portable import facts
    from director.manifest.parse import check_body
    from director.portability.offer import Offer

    deployment = templates.evaluate(manifest, sources)
    values = _values(sources)
    offers: list[Offer] = []
    for text in configs:
        cpi, label, path = _named(text)
        try:
            known = facts(cpi)
        except Invalid as error:
            raise UsageError(f"--cloud-config {text}: {error.message}", suggestion=error.suggestion) from error
        while any(offer.label == label for offer in offers):
            label += "'"
        offers.append(Offer.read(label, known, templates.evaluate(path, values).document, deployment.document))
    return check_body(deployment.document), offers


def _named(text: str) -> tuple[str, str, str]:
    """CPI, label and path of `[CPI=]PATH`. Raises UsageError when the name of the file tells no CPI."""
    from cpis.portable import known

    cpi, given, path = text.partition("=")
    if given:
        return cpi, cpi, path
    stem = pathlib.PurePath(text).stem
    found = [name for name in known() if name in re.split(r"[^a-z0-9]+", stem.lower())]
    if len(found) != 1:
        raise UsageError(
            f"The name of '{text}' does not tell which CPI it is for",
            suggestion=f"Say it: --cloud-config CPI={text}, where CPI is one of {', '.join(known())}.")
    return found[0], stem, text


def _write(path: str, text: str) -> None:
    try:
        pathlib.Path(path).expanduser().write_text(text)
    except OSError as error:
        raise UsageError(f"The file '{path}' cannot be written: {error.strerror}", suggestion="Check the path.") from error


def _show(session: Session, report: Report, details: bool) -> None:
    from director.cli.tables import Cell, Table
    from director.portability.report import total_text, word

    def cell(row: int, label: str) -> Cell:
        verdict = report.rows[row].verdicts.get(label)
        if verdict is None:
            return Cell("")
        return Cell(f"{word(verdict.state)} {verdict.text}".strip() if details else word(verdict.state), _LOOKS[verdict.state])

    clouds = list(report.clouds)
    rows = tuple((row.topic, row.need, *(cell(number, label) for label in clouds)) for number, row in enumerate(report.rows))
    session.ui.table(Table("portability", ("Topic", "The deployment needs", *clouds), rows, fill_first=False))
    findings = tuple(
        (label, row.topic, row.need, Cell(verdict.state, _LOOKS[verdict.state]), verdict.text, verdict.instead)
        for label in clouds for row in report.rows if (verdict := row.verdicts.get(label)) is not None and verdict.state != "ok"
    )
    if findings:
        session.ui.table(Table("findings", _FINDINGS, findings))
    for label, title in report.clouds.items():
        counts = ", ".join(f"{count} {state}" for state, count in report.counts(label).items())
        session.ui.line(f"{label} ({title}): {counts}. {total_text(report, label)}".rstrip(), _LOOKS[report.state(label)])
