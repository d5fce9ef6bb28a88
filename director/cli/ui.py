"""What the commands say, in three manners: to a person at a terminal, to a pipe, and as one JSON document.

A pipe gets blocks and table data only; `--json` collects everything in the shape `{"Tables", "Blocks", "Lines"}` and
prints it at the end. `--tty` forces the terminal's manner. Colours appear only on terminals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from director.errors import UsageError

if TYPE_CHECKING:
    from director.cli import tables

LOOKS: dict[str, dict[str, Any]] = {"bad": {"fg": "red"}, "good": {"fg": "green"}, "warn": {"fg": "yellow"}, "strong": {"bold": True}}


class Interrupted(Exception):
    """Ctrl-C while a task was followed; the task goes on."""

    def __init__(self, task_id: int) -> None:
        self.task_id = task_id
        super().__init__(f"Task {task_id} goes on. Follow it with 'caisson task {task_id}', end it with 'caisson cancel-task {task_id}'.")


class Ui:
    """Writes to `out` and `err`; asks through `ask_line`, which gets a prompt and returns a line or raises EOFError."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        manner: str = "terminal",
        color: bool = False,
        interactive: bool = True,
        columns: Sequence[str] = (),
        ask_line: Callable[[str], str] = input,
        ask_hidden: Callable[[str], str] | None = None,
    ) -> None:
        self._out, self._err = out, err
        self.manner = manner
        self.interactive = interactive
        self._color, self._columns = color, columns
        self._ask_line, self._ask_hidden = ask_line, ask_hidden or ask_line
        self._last = ""
        self._tables: list[dict[str, Any]] = []
        self._blocks: list[str] = []
        self._lines: list[str] = []

    def paint(self, text: str, look: str) -> str:
        return click.style(text, **LOOKS[look]) if self._color and look in LOOKS else text

    def line(self, text: str = "", look: str = "") -> None:
        """A remark; a pipe does not get it."""
        if self.manner == "json":
            self._lines.append(text)
        elif self.manner == "terminal":
            self._space("line")
            self._write(self.paint(text, look) + "\n")

    def begin(self, text: str) -> None:
        """The start of a remark, with no newline."""
        if self.manner == "json":
            self._lines.append(text)
        elif self.manner == "terminal":
            self._space("task")
            self._write(text)

    def end(self, text: str) -> None:
        if self.manner == "json":
            self._lines.append(text)
        elif self.manner == "terminal":
            self._write(text + "\n")
            self._last = "task"

    def block(self, text: str, look: str = "", kind: str = "task") -> None:
        """Output proper, with its own newlines."""
        if self.manner == "json":
            self._blocks.append(text)
        else:
            if kind != "task":
                self._space(kind)
            self._last = kind
            self._write(self.paint(text, look))

    def error(self, text: str, look: str = "bad") -> None:
        """An error, or a warning that scripts must not miss; always shown, on the error stream."""
        if self.manner == "json":
            self._lines.append(text)
            return
        self._out.flush()
        if self.manner == "terminal" and self._last:
            self._err.write("\n")
        self._err.write(self.paint(text, look) + "\n")
        self._err.flush()
        self._last = "line"

    def table(self, table: tables.Table) -> None:
        from director.cli import tables

        chosen = tables.select(table, self._columns)
        if self.manner == "json":
            self._tables.append(tables.to_json(chosen))
        elif self.manner == "plain":
            self._write(tables.to_plain(chosen))
        else:
            self._space("table")
            self._write(tables.to_terminal(chosen, self.paint))

    def confirm(self, question: str = "Continue?") -> None:
        """Go on only when the user says yes; without a person (-n) always go on."""
        if not self.interactive:
            return
        if self.ask(f"{question} [yN]").strip().lower() not in ("y", "yes"):
            raise UsageError("Stopped", suggestion="Nothing was changed. Pass -n to go on without being asked.")

    def ask(self, label: str, *, hidden: bool = False) -> str:
        if self.manner == "json":
            raise UsageError("Cannot ask for input with --json", suggestion="Pass -n to go on without being asked.")
        self._out.flush()
        self._last = "line"
        try:
            return (self._ask_hidden if hidden else self._ask_line)(f"\n{label}: ")
        except EOFError:
            raise UsageError("Stopped", suggestion="There is nobody to ask; pass -n to go on without being asked.") from None

    def flush(self) -> None:
        if self.manner == "json" and (self._tables or self._blocks or self._lines):
            shape = {"Tables": self._tables or None, "Blocks": self._blocks or None, "Lines": self._lines or None}
            self._write(json.dumps(shape, indent=4, ensure_ascii=False) + "\n")
        self._out.flush()

    def _space(self, kind: str) -> None:
        if self._last and (self._last != kind or kind == "table"):
            self._out.write("\n")
        self._last = kind

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
