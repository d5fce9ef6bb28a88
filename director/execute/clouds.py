"""CPIs by name, made when first asked for; their errors become ours at this border."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cpis import contract
from director.diagnostics import Diagnostic, Where
from director.errors import CloudError, NotFoundError


class Clouds:
    """`configured` answers the CPI config's entries (name -> {type, properties, migrated_from}); the empty name is the director's own
    cloud, unless an entry says that it was migrated from that."""

    def __init__(
        self, default: contract.Cpi, make: Callable[[str, Mapping[str, Any]], contract.Cpi],
        configured: Callable[[], Mapping[str, Mapping[str, Any]]],
    ) -> None:
        self._default = default
        self._make = make
        self._configured = configured
        self._lock = threading.Lock()
        self._made: dict[str, tuple[Mapping[str, Any], contract.Cpi]] = {}

    def get(self, name: str) -> contract.Cpi:
        """The CPI of that name, or the one that was migrated from it. Raises NotFoundError. A CPI whose configuration changed is made
        anew. Source: manifest contract, section 15."""
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
                known = (entry, self._make(str(entry["type"]), entry.get("properties") or {}))
                self._made[name] = known
        return known[1]

    def aliases(self, name: str) -> tuple[str, ...]:
        """The name and older ones of the same cloud, under which its resources may be recorded."""
        return (name, *self._configured().get(name, {}).get("migrated_from", ()))

    def names(self) -> tuple[str, ...]:
        """Names for which stemcells are kept: those of the CPI config, or the empty one alone."""
        return tuple(self._configured()) or ("",)

    def close(self) -> None:
        with self._lock:
            made = [cpi for _, cpi in self._made.values()]
            self._made.clear()
        for cpi in (*made, self._default):
            cpi.close()


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn a CpiError of the block into a CloudError that says what was being done."""
    try:
        yield
    except contract.CpiError as error:
        facts = [
            f"{label}: {value}"
            for label, value in (("resource", error.resource), ("limit", error.limit), ("used", error.used), ("request", error.request_id))
            if value
        ]
        raise CloudError(
            Diagnostic(
                f"{what}: {error.message}", detail=", ".join(facts), where=Where(path=error.resource) if error.resource else None,
                suggestion=error.suggestion,
            )
        ) from error
