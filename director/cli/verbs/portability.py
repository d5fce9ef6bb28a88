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
    from director.cli.rehearsing import Came, Part
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
    or is known to the cloud only), or when a rehearsal failed, left something behind or came out differently (with --strict: or could not
    be had).
    """
    from director.portability import report as written
    from director.portability.study import study, with_live

    configs_read = [(text, templates.evaluate(_named(text)[2], _values(sources))) for text in configs]
    deployment = templates.evaluate(manifest, sources)
    offers = _read(deployment, configs_read)
    report = study(*offers)
    if live:
        asked = zip(offers[1], configs, strict=True)
        report = with_live(report, {
            offer.label: _asked(session, offer, live, _named(text)[2], sources, timeout) for offer, text in asked})
    elif timeout is not None:
        raise UsageError("--timeout goes with --live", suggestion="Only --live asks clouds.")
    if page:
        _write(page, written.to_html(report))
    whole = written.to_json(report)
    if document:  # at once: a path that cannot be written is told before a rehearsal
        _write(document, json.dumps(whole, indent=2) + "\n")
    _show(session, report, details)
    bad = {"missing", "differs", "unknown"} if strict else {"missing"}
    failed = any(row.state in bad for row in report.rows)
    if rehearsing:
        from director.cli import rehearsal_report
        from director.cli.rehearsing import Part, releases_in

        part = Part(
            report.deployment, deployment.text, _operating_system(deployment.tree), releases_in(releases), runtime_configs, errands)
        came = _rehearse(session, part, [(offer, read.tree) for offer, (_, read) in zip(offers[1], configs_read, strict=True)])
        rehearsal_report.show(session.ui, came)
        failed = not rehearsal_report.all_well(came, strict=strict) or failed
        if document:
            _write(document, json.dumps({**whole, "rehearsal": rehearsal_report.to_json(came)}, indent=2) + "\n")
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


def _operating_system(tree: Any) -> str:
    """That of the manifest's first stemcell."""
    systems = [item.get("os") or item.get("name") for item in tree.get("stemcells") or () if isinstance(item, dict)]
    return str(systems[0]) if systems else "linux"


def _rehearse(session: Session, part: Part, offers: list[tuple[Offer, Any]]) -> list[Came]:
    """Deploy on each in turn, telling what happens; a cloud config that cannot be read for this deployment is left out."""
    import os

    from director.cli.rehearsing import Came, ending_in_order, rehearse

    if os.geteuid() != 0:
        raise UsageError("--run needs root: it makes machines of this computer", suggestion="Put sudo before the command.")

    def tell(text: str) -> None:
        session.ui.block(f"{text}\n")

    with ending_in_order():
        return [
            rehearse(offer, tree, part, tell) if offer.manifest is not None
            else Came(offer.label, absent="the deployment does not fit its cloud config: see MISSING above")
            for offer, tree in offers]


def _values(sources: templates.Sources) -> templates.Sources:
    """What fills cloud configs: variables, and no ops files."""
    return templates.Sources(sources.values, sources.value_files, sources.files, sources.prefixes)


def _read(deployment: templates.Evaluated, configs: list[tuple[str, templates.Evaluated]]) -> tuple[str, list[Offer]]:
    from cpis.contract import Invalid
    from cpis.portable import facts
    from director.manifest.parse import check_body
    from director.portability.offer import Offer

    offers: list[Offer] = []
    for text, read in configs:
        cpi, label, _ = _named(text)
        try:
            known = facts(cpi)
        except Invalid as error:
            raise UsageError(f"--cloud-config {text}: {error.message}", suggestion=error.suggestion) from error
        while any(offer.label == label for offer in offers):
            label += "'"
        offers.append(Offer.read(label, known, read.document, deployment.document))
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
