"""Tables as the `bosh` command prints them: for a terminal, for a pipe and for `--json`.

A cell is a text, a number, a truth value, None or a tuple of texts (a line each). `Cell` objects add a colour.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from director.diagnostics import did_you_mean
from director.errors import UsageError

Paint = Callable[[str, str], str]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A value that is shown in a colour: `bad` red, `good` green, `strong` bold, or none."""

    value: Any
    look: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """`content` names what the rows are, in the footer and in JSON; `fill_first` repeats equal first cells instead of `~`.

    A `transpose`d table shows each row as lines of title and value.
    """

    content: str
    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()
    title: str = ""
    fill_first: bool = True
    transpose: bool = False


def key_of(title: str) -> str:
    """The JSON key of a column: `Disk CIDs` -> `disk_cids`, `Release(s)` -> `release_s`."""
    cleaned = "".join(letter.lower() if letter.isalnum() else " " for letter in title)
    return "_".join(cleaned.split()) or "_"


def text_of(cell: Any) -> str:
    """A cell as one text; several lines for a tuple."""
    value = cell.value if isinstance(cell, Cell) else cell
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "\n".join(str(item) for item in value)
    return str(value)


def select(table: Table, columns: Sequence[str]) -> Table:
    """Keep only the named columns, by key or by title, in the table's own order."""
    if not columns:
        return table
    keys = [key_of(title) for title in table.header]
    wanted = {key_of(column) for column in columns}
    unknown = sorted(wanted - set(keys))
    if unknown:
        raise UsageError(
            f"Failed to find header: {unknown[0]}", suggestion=did_you_mean(unknown[0], keys) or f"The columns are: {', '.join(keys)}."
        )
    places = [place for place, key in enumerate(keys) if key in wanted]
    return dataclasses.replace(
        table,
        header=tuple(table.header[place] for place in places),
        rows=tuple(tuple(row[place] for place in places) for row in table.rows),
    )


def to_json(table: Table) -> dict[str, Any]:
    """The shape of one element of `Tables`: Content, Header, Rows, Notes; all values are texts."""
    keys = [key_of(title) for title in table.header]
    return {
        "Content": table.content,
        "Header": dict(sorted(zip(keys, table.header, strict=True))),
        "Rows": [dict(sorted(zip(keys, map(text_of, row), strict=True))) for row in table.rows],
        "Notes": list(table.notes) or None,
    }


def to_plain(table: Table) -> str:
    """Data only, cells ended by tabs: what a pipe gets."""
    rows = _transposed(table) if table.transpose else list(table.rows)
    return _layout(rows, border="\t", paint=_no_paint)


def to_terminal(table: Table, paint: Paint) -> str:
    """Title, header, rows, notes and the count."""
    parts = [f"{table.title}\n\n"] if table.title else []
    if table.transpose:
        parts.append(_layout([(Cell(row[0], "strong"), *row[1:]) for row in _transposed(table)], border="  ", paint=paint))
    else:
        rows = list(table.rows) if table.fill_first else list(_without_repeats(table.rows))
        parts.append(_layout([tuple(Cell(title, "strong") for title in table.header), *rows], border="  ", paint=paint))
    if table.notes:
        parts.append("\n" + "".join(f"{note}\n" for note in table.notes))
    if table.content:
        parts.append(f"\n{len(table.rows)} {table.content}\n")
    return "".join(parts)


def _no_paint(text: str, _look: str) -> str:
    return text


def _transposed(table: Table) -> list[tuple[Any, ...]]:
    lines: list[tuple[Any, ...]] = []
    for number, row in enumerate(table.rows):
        if number:
            lines.append((" ", " "))
        lines.extend(zip(table.header, row, strict=True))
    return lines


def _without_repeats(rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    last: str | None = None
    for row in rows:
        first = text_of(row[0])
        yield ("~", *row[1:]) if first == last else row
        last = first


def _layout(rows: Sequence[tuple[Any, ...]], *, border: str, paint: Paint) -> str:
    cells = [[(text_of(cell).replace("\r", "").rstrip("\n") or "-").split("\n") for cell in row] for row in rows]
    count = max((len(row) for row in cells), default=0)
    widths = [max((len(line) for row in cells if place < len(row) for line in row[place]), default=0) for place in range(count)]
    out: list[str] = []
    for row, texts in zip(rows, cells, strict=True):
        for number in range(max((len(lines) for lines in texts), default=0)):
            for place, lines in enumerate(texts):
                line = lines[number] if number < len(lines) else ""
                look = row[place].look if isinstance(row[place], Cell) else ""
                out.append((paint(line, look) if look and line else line) + " " * (widths[place] - len(line)) + border)
            out.append("\n")
    return "".join(out)
