"""`lint`: what is wrong with a release directory, without a director."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import click

from director.cli.session import Session
from director.cli.verb import verb

if TYPE_CHECKING:
    from director.render import lint

HEADER = ("Severity", "File", "Line", "Rule", "Finding", "Suggestion")


@verb(examples=("caisson lint releases/hello", "caisson lint . --strict", "caisson lint releases/hello --json"))
@click.argument("directory", default=".", metavar="RELEASE_DIR")
@click.option("--strict", is_flag=True, help="Warnings count as errors")
@click.option("--rules", "list_rules", is_flag=True, help="List the rules instead")
def command(session: Session, directory: str, strict: bool, list_rules: bool) -> int:
    """Find mistakes in a release directory: properties, links, templates, packages, scripts.

    Exit code 1 when there are errors; warnings alone are 0 unless --strict.
    """
    from director.cli import tables
    from director.render import lint

    if list_rules:
        rows = tuple((rule.name, rule.about) for rule in lint.RULES)
        session.ui.table(tables.Table("rules", ("Rule", "Finds"), rows))
        return 0
    findings = lint.lint(pathlib.Path(directory).expanduser())
    if session.ui.manner == "json":
        session.ui.table(tables.Table("findings", HEADER, tuple(_row(item, strict) for item in findings)))
    else:
        for item in findings:
            session.ui.block(_text(item, strict), look=_look(item, strict))
    errors = sum(_severity(item, strict) == "error" for item in findings)
    warnings = len(findings) - errors
    session.ui.line(f"{errors} errors, {warnings} warnings" if findings else "Nothing found", "bad" if errors else "good")
    return 1 if errors else 0


def _severity(item: lint.Finding, strict: bool) -> str:
    return "error" if strict else item.severity


def _look(item: lint.Finding, strict: bool) -> str:
    return "bad" if _severity(item, strict) == "error" else "warn"


def _row(item: lint.Finding, strict: bool) -> tuple[object, ...]:
    where, told = item.diagnostic.where, item.diagnostic
    return (_severity(item, strict), where.file if where else "", where.line if where else None, item.rule, told.summary, told.suggestion)


def _text(item: lint.Finding, strict: bool) -> str:
    """`FILE:LINE: SEVERITY: SUMMARY [RULE]`, as editors and build servers read it."""
    told = item.diagnostic
    file, line = (told.where.file, told.where.line) if told.where else ("", None)
    spot = f"{file}:{line}: " if line else f"{file}: " if file else ""
    below = "".join(f"  {text}\n" for text in told.detail.splitlines()) + (f"  -> {told.suggestion}\n" if told.suggestion else "")
    return f"{spot}{_severity(item, strict)}: {told.summary} [{item.rule}]\n{below}"
