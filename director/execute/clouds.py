"""CPIs by name, made when first asked for; their errors become ours at this border."""

from __future__ import annotations

import contextlib
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from cpis import contract, registry
from director.diagnostics import Diagnostic, Where
from director.errors import CloudError, NotFoundError

Entry = Mapping[str, Any]
"""Of the CPI config: {type, properties, migrated_from, exec_path}, without placeholders."""

EXECUTABLE = "/var/vcap/jobs/{type}_cpi/bin/cpi"


def maker(folder: pathlib.Path, mark: str) -> Callable[[str, Entry], contract.Cpi]:
    """What makes a CPI of a name and its entry. All that the CPI makes in its cloud carries the `mark`, which no other director has; what
    it must remember is in a folder of its own below `folder`.

    An entry with `exec_path`, or of a type that is none of ours and whose executable is where BOSH's CPI releases put it, is a process.
    """

    def make(name: str, entry: Entry) -> contract.Cpi:
        type_, properties = str(entry["type"]), dict(entry.get("properties") or {})
        path = entry.get("exec_path") or ""
        if not path and type_ not in registry.TABLE and pathlib.Path(EXECUTABLE.format(type=type_)).is_file():
            path = EXECUTABLE.format(type=type_)
        if path:
            type_, properties = "process", {"path": str(path), "properties": properties}
        made = registry.load(type_, {"director": mark, "state_dir": str(folder / quote(name, safe="")), **properties})
        if isinstance(made, contract.Checked):
            made.check()
        return made

    return make


class Clouds:
    """`configured` answers the CPI config's entries by name; the empty name is the director's own cloud, unless an entry says that it was
    migrated from that."""

    def __init__(
        self, default: contract.Cpi, make: Callable[[str, Entry], contract.Cpi], configured: Callable[[], Mapping[str, Entry]],
    ) -> None:
        self._default = default
        self._make = make
        self._configured = configured
        self._lock = threading.Lock()
        self._made: dict[str, tuple[Entry, contract.Cpi]] = {}
        self._replaced: list[contract.Cpi] = []

    def get(self, name: str) -> contract.Cpi:
        """The CPI of that name, or the one that was migrated from it. Raises NotFoundError, CloudError when it cannot be used as it is
        configured. A CPI whose configuration changed is made anew. Source: manifest contract, section 15."""
        entries = self._configured()
        name = name if name in entries else next((key for key, item in entries.items() if name in item.get("migrated_from", ())), name)
        entry = entries.get(name)
        if entry is None:
            if not name:
                return self._default
            raise NotFoundError(
                f"CPI '{name}' not found in cpi-config",
                suggestion="Add it with `caisson update-cpi-config PATH`.",
            )
        with self._lock:
            known = self._made.get(name)
            if known is None or known[0] != entry:
                with translated(f"CPI '{name}' cannot be used"):
                    made = self._make(name, entry)
                if known is not None:
                    self._replaced.append(known[1])  # tasks that run may still use it
                known = self._made[name] = (entry, made)
        return known[1]

    def aliases(self, name: str) -> tuple[str, ...]:
        """The name and older ones of the same cloud, under which its resources may be recorded."""
        return (name, *self._configured().get(name, {}).get("migrated_from", ()))

    def names(self) -> tuple[str, ...]:
        """Names for which stemcells are kept: those of the CPI config, or the empty one alone."""
        return tuple(self._configured()) or ("",)

    def types(self) -> Mapping[str, str]:
        """The cloud behind each of these names; empty for an executable, of which nobody knows it."""
        entries = self._configured() or {"": {"type": self._default.name}}
        ours = registry.TABLE.keys() - {"process"}
        return {name: "" if entry.get("exec_path") or entry["type"] not in ours else str(entry["type"]) for name, entry in entries.items()}

    def close(self) -> None:
        with self._lock:
            made = [*self._replaced, *(cpi for _, cpi in self._made.values())]
            self._made.clear()
            self._replaced.clear()
        for cpi in (*made, self._default):
            cpi.close()


@contextlib.contextmanager
def translated(what: str, cpi: str = "") -> Iterator[None]:
    """Turn a CpiError of the block into a CloudError that says what was being done, and on which CPI when there are several."""
    try:
        yield
    except contract.CpiError as error:
        facts = [
            f"{label}: {value}"
            for label, value in (
                ("cpi", cpi), ("resource", error.resource), ("limit", error.limit), ("used", error.used), ("request", error.request_id),
            ) if value
        ]
        raise CloudError(
            Diagnostic(
                f"{what}: {error.message}", detail=", ".join(facts), where=Where(path=error.resource) if error.resource else None,
                suggestion=error.suggestion,
            )
        ) from error
