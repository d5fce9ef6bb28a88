"""`conformance`: whether a CPI keeps the contract on an account of the operator's, without a director."""

from __future__ import annotations

import contextlib
import json
import pathlib
from typing import TYPE_CHECKING, Any

import click

from director.cli import templates
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import CloudError, UsageError

if TYPE_CHECKING:
    from cpis.conformance import Case, Outcome, Site
    from cpis.contract import Cpi

_LOOKS = {"held": "good", "skipped": "", "broken": "bad"}
_MARK = "caisson-conformance"


@verb(examples=(
    "caisson conformance --cpi aws --config conformance-aws.yml --report build/aws",
    "caisson conformance --cpi openstack --config lab.yml -l secrets.yml --only vm_lives_and_dies",
    "caisson conformance --list",
))
@click.option("--cpi", "cpi_type", default="", metavar="TYPE", help="Which CPI: aws, azure, gcp, openstack, vsphere, ...")
@click.option("--config", "config_path", default="", metavar="FILE", help="The CPI's properties, and what it may use of the account")
@templates.options
@click.option("--only", multiple=True, metavar="CASE", help="Only this case; may be given again")
@click.option("--report", "folder", default="", metavar="DIR", help="Write conformance.html and conformance.json there")
@click.option("--list", "list_cases", is_flag=True, help="List the cases instead")
def command(
    session: Session, cpi_type: str, config_path: str, only: tuple[str, ...], folder: str, list_cases: bool, sources: templates.Sources,
) -> int:
    """Try every promise of the CPI contract on a real cloud, with machines and disks that are made and deleted for it.

    Says before what it will make, and asks. Exit code 1 when a promise is broken or something could not be deleted.
    """
    from cpis.conformance import CASES

    if list_cases:
        from director.cli.tables import Table

        session.ui.table(Table("cases", ("Case", "Promise"), tuple((case.name, case.promise) for case in CASES)))
        return 0
    if not cpi_type or not config_path:
        raise UsageError("Expected --cpi and --config", suggestion="docs/operator/conformance.md has an example; --list shows the cases.")
    unknown = sorted(set(only) - {case.name for case in CASES})
    if unknown:
        raise UsageError(f"There is no case '{unknown[0]}'", suggestion="`caisson conformance --list` shows them.")
    from cpis.contract import CpiError

    chosen = [case for case in CASES if not only or case.name in only]
    try:
        cpi, site = _made(cpi_type, templates.evaluate(config_path, sources).tree)
        with contextlib.closing(cpi):
            return _run(session, cpi_type, cpi, site, chosen, folder)
    except CpiError as error:
        raise CloudError(f"{cpi_type}: {error.message}", suggestion=error.suggestion) from error


def _made(cpi_type: str, tree: Any) -> tuple[Cpi, Site]:
    from cpis import registry
    from cpis.conformance.sitefile import site_of

    properties = dict(tree.get("properties") or {}) if isinstance(tree, dict) else {}
    properties.setdefault("director", _MARK)
    site = site_of(tree, lambda: registry.load(cpi_type, properties))
    return registry.load(cpi_type, properties), site


def _run(session: Session, cpi_type: str, cpi: Cpi, site: Site, chosen: list[Case], folder: str) -> int:
    from cpis.conformance import check
    from cpis.conformance.estimate import estimate
    from cpis.conformance.report import Result

    machine = ", ".join(f"{key} {value}" for key, value in site.vm_properties.items()) or "of the CPI's default type"
    count = f"{len(chosen)} case" if len(chosen) == 1 else f"{len(chosen)} cases"
    session.ui.block(f"{count} on '{cpi_type}': {estimate(site, chosen).words(machine)}\n")
    session.ui.confirm("Make them?")
    before = {item.cid for item in cpi.owned()}

    def tell(outcome: Outcome) -> None:
        why = outcome.detail or outcome.skipped
        session.ui.block(f"{outcome.case.name}: {outcome.verdict}{': ' if why else ''}{why}\n", look=_LOOKS[outcome.verdict])

    result = Result(cpi_type, tuple(check(cpi, site, chosen, tell)))
    left = [f"{item.kind} {item.cid}" for item in cpi.owned() if item.cid not in before]
    if folder:
        _write(pathlib.Path(folder).expanduser(), result)
    for what in left:
        session.ui.error(f"Left behind: {what}. Look at it in the cloud's own console.")
    counts = ", ".join(f"{result.count(verdict)} {verdict}" for verdict in ("held", "skipped", "broken"))
    session.ui.line(f"{counts}, {len(left)} left behind", "bad" if result.broken or left else "good")
    return 1 if result.broken or left else 0


def _write(folder: pathlib.Path, result: Any) -> None:
    from cpis.conformance import report

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "conformance.html").write_text(report.page(result))
        (folder / "conformance.json").write_text(json.dumps(report.tree([result]), indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"The report cannot be written to '{folder}': {error.strerror}", suggestion="Check the path.") from error
