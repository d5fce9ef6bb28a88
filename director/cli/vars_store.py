"""The file of `--vars-store`: values that are there are used, missing ones are generated and kept.

Source: manifest contract, section 20.3.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from director.diagnostics import Diagnostic, Where
from director.errors import ManifestError
from director.manifest.load import load_yaml
from director.variables import certificates, generate, keys


class VarsStore:
    """A source of values for `interpolate`; the file is read once and written after every new value."""

    def __init__(self, path: pathlib.Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._values = self._read()
        self._sources = generate.Sources(keys.Keys(), self._signer, now, generate.COMMAND_LINE)

    def find(self, name: str, definition: Mapping[str, Any] | None) -> tuple[bool, Any]:
        """The value; generated when there is a definition and none yet. Raises ManifestError when it cannot be made."""
        if name not in self._values:
            if definition is None:
                return False, None
            self._values[name] = generate.generate(name, str(definition["type"]), definition.get("options") or {}, self._sources)
            self._write()
        return True, self._values[name]

    def names(self) -> Iterable[str]:
        """None were given: a store may hold more than one document needs."""
        return ()

    def _signer(self, name: str) -> certificates.Signer:
        value = self._values.get(name)
        if not isinstance(value, dict) or "certificate" not in value:
            raise KeyError(f"Expected to find variable '{name}' with a certificate")
        return certificates.Signer.of(value)

    def _read(self) -> dict[str, Any]:
        try:
            tree = load_yaml(self._path.read_text("utf-8"), str(self._path)).tree
        except FileNotFoundError:
            return {}
        if not isinstance(tree or {}, dict):
            raise ManifestError(Diagnostic("Expected the variables store to be a map of names to values", where=Where(str(self._path))))
        return dict(tree or {})

    def _write(self) -> None:
        from director.cli.templates import dump

        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Beside and renamed, for the owner only: these are secrets, and a half-written file would lose them.
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".vars-store-")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(dump(self._values))
        os.replace(temporary, self._path)
