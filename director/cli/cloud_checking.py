"""Checks of a cloud: made from here without a director, and how they are shown, each as soon as it is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from director.cli import templates
from director.cli.ui import Ui
from director.errors import CloudError, NotFoundError, UsageError
from director.manifest.load import Document

if TYPE_CHECKING:
    from director.cli.tables import Table

_MARK = "caisson-check"
_HEADER = ("Check", "Kind", "Result", "Detail", "What to do")
_LOOKS = {True: ("ok", "good"), False: ("failed", "bad"), None: ("unknown", "warn")}

Row = Mapping[str, Any]
"""What a director and `from_here` tell of a check: the fields of `Check`, and `cpi`."""


def timeout_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--timeout SECONDS`, for all checks of one cloud."""
    return click.option("--timeout", type=click.IntRange(1, 3600), default=None, metavar="SECONDS", help=help_text)


class Shown:
    """Shows checks in the order in which they come: a line each at a terminal and then what is not well as a table, a row each to a pipe,
    one table at the end as JSON."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        self._rows: list[Row] = []

    def row(self, row: Row) -> None:
        """One more is known."""
        self._rows.append(row)
        if self._ui.manner == "terminal":
            line(self._ui, row)
        elif self._ui.manner == "plain":
            self._ui.table(_table([row]))

    def end(self) -> int:
        """All have come; the exit code."""
        notable = [row for row in self._rows if row["ok"] is not True]
        if self._ui.manner == "json":
            self._ui.table(_table(self._rows))
        elif self._ui.manner == "terminal" and notable:
            self._ui.table(_table(notable))
        failed = sum(row["ok"] is False for row in self._rows)
        left = sum(not _asked(row) for row in self._rows)
        unknown = len(notable) - failed - left
        counts = f"{len(self._rows) - len(notable)} ok, {failed} failed, {unknown} cannot be told without making something"
        self._ui.line(f"{counts}, {left} not asked" if left else counts, "bad" if failed else "good")
        return 1 if failed else 0


def line(ui: Ui, row: Row, where: str = "") -> None:
    """One check as a line at a terminal; nothing elsewhere. `where` names the cloud when there are several."""
    if ui.manner == "terminal":
        word, look = _result(row)
        told = ": ".join(filter(None, (where, f"{row['name']} ({row['kind']})", word, row["detail"])))
        ui.line(told, look)


def _table(rows: list[Row]) -> Table:
    from director.cli.tables import Cell, Table

    found = tuple((row["name"], row["kind"], Cell(*_result(row)), row["detail"], row["suggestion"]) for row in rows)
    return Table("checks", _HEADER, found, fill_first=False)


def _asked(row: Row) -> bool:
    return bool(row.get("asked", True))


def _result(row: Row) -> tuple[str, str]:
    return _LOOKS[row["ok"]] if _asked(row) else ("not asked", "warn")


def from_here(
    cpi_type: str, name: str, config_path: str, cloud_configs: tuple[str, ...], sources: templates.Sources, images: tuple[str, ...] = (),
    seconds: float | None = None,
) -> Iterator[Row]:
    """The checks of one cloud, made in this process, each as soon as it is known. `config_path` has the CPI's properties, or is a CPI
    config with one entry of that type (and name). Every zone of the cloud configs is taken for one of this cloud; `images` are CIDs of
    stemcells to look for; `seconds` are for all together. Raises CloudError, NotFoundError, UsageError."""
    from cpis import registry
    from cpis.contract import CpiError
    from director.execute.cloud_checks import SECONDS, checks

    properties = _properties(templates.evaluate(config_path, sources).tree, cpi_type, name)
    documents = [templates.evaluate(path, sources).document for path in cloud_configs]
    types = dict.fromkeys([name, *_cpis_of(documents)], cpi_type)
    try:
        cpi = registry.load(cpi_type, {"director": _MARK, **properties})
        for check in checks(cpi, name, types, documents, images, seconds=seconds or SECONDS, ended=cpi.close):
            yield {"cpi": name or cpi_type, **dataclasses.asdict(check)}
    except CpiError as error:
        raise CloudError(f"{cpi_type}: {error.message}", suggestion=error.suggestion) from error


def _properties(tree: Any, cpi_type: str, name: str) -> dict[str, Any]:
    """Of a CPI config's entry, or of a file that has the properties alone (below `properties`, or not). Raises UsageError,
    NotFoundError."""
    if not isinstance(tree, dict):
        raise UsageError("The file of --config must be a hash")
    entries = tree.get("cpis")
    if not isinstance(entries, list):
        inner = tree.get("properties", tree)
        return dict(inner) if isinstance(inner, dict) else {}
    fitting = [
        item for item in entries if isinstance(item, dict) and item.get("type") == cpi_type and name in ("", item.get("name"))]
    if len(fitting) != 1:
        names = ", ".join(str(item.get("name")) for item in entries if isinstance(item, dict))
        raise NotFoundError(
            f"The CPI config has {len(fitting) or 'no'} entries of type '{cpi_type}'{f' and name {name!r}' if name else ''}",
            suggestion=f"Name one of: {names}.")
    return dict(fitting[0].get("properties") or {})


def _cpis_of(documents: list[Document]) -> list[str]:
    return [
        str(az.get("cpi")) for document in documents if isinstance(document.tree, dict)
        for az in document.tree.get("azs") or () if isinstance(az, dict) and az.get("cpi")
    ]
