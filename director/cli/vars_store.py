"""The file of `--vars-store`: values that are there are used, missing ones are generated and kept.

Source: manifest contract, section 20.3.
"""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from director.diagnostics import Diagnostic
from director.errors import ManifestError, UsageError
from director.manifest.dump import dump
from director.manifest.interpolate import Lookup, Values
from director.manifest.load import load_yaml

if TYPE_CHECKING:
    from director.variables import certificates, generate


class VarsStore:
    """A source of values for `interpolate`; the file is read once and written after every new value, so that those made before an error
    stay. `given` is asked for signers first."""

    generates = True

    def __init__(self, path: pathlib.Path, given: Lookup | None = None, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._given = given or Values({})
        self._now = now
        self._values = self._read()
        self._sources: generate.Sources | None = None

    def find(self, name: str, definition: Mapping[str, Any] | None) -> tuple[bool, Any]:
        """The value; generated when there is a definition and none yet. Raises ManifestError when it cannot be made."""
        if name not in self._values:
            if definition is None:
                return False, None
            self._values[name] = self._made(name, str(definition["type"]), definition.get("options") or {})
            self._write()
        return True, self._values[name]

    def names(self) -> Iterable[str]:
        """All that is in the file; `--var-errs-unused` tells what a document does not need, as the reference does."""
        return self._values

    def expect(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        """Begin to make the RSA keys that will be needed, side by side: they take longest by far."""
        from director.variables import generate

        lengths = []
        for item in definitions:
            options, type_ = item.get("options"), str(item["type"])
            given = _understood(type_, options if isinstance(options, Mapping) else {})
            if str(item["name"]) not in self._values and (length := generate.key_length_of(type_, given, generate.COMMAND_LINE)):
                lengths.append(length)
        if len(lengths) > 1:
            self._drawn().keys.prepare(lengths)

    def close(self) -> None:
        """Give up keys that nobody took."""
        if self._sources is not None:
            self._sources.keys.close()

    def _drawn(self) -> generate.Sources:
        from director.variables import generate, keys

        if self._sources is None:
            self._sources = generate.Sources(keys.Keys(), self._signer, self._now, generate.COMMAND_LINE)
        return self._sources

    def _made(self, name: str, type_: str, options: Mapping[str, Any]) -> Any:
        from director.variables import generate

        return generate.generate(name, type_, _understood(type_, options), self._drawn())

    def _signer(self, name: str) -> certificates.Signer:
        from director.variables import certificates

        found, value = self._given.find(name, None)
        value = value if found else self._values.get(name)
        if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("certificate", "private_key")):
            raise KeyError(name)
        return certificates.Signer.of({"ca": value["certificate"], **value})

    def _read(self) -> dict[str, Any]:
        try:
            document = load_yaml(self._path.read_text("utf-8"), str(self._path))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"The variables store '{self._path}' cannot be read: {reason}", suggestion="Check the path.") from error
        if not isinstance(document.tree or {}, dict):
            raise ManifestError(
                Diagnostic("Expected the variables store to be a map of names to values", where=document.where(()),
                           suggestion="Nothing was written. Name another file, or mend this one.")
            )
        return {str(name): value for name, value in (document.tree or {}).items()}

    def _write(self) -> None:
        # Beside and renamed, for the owner only: these are secrets, and a half-written file would lose them. A link stays a link.
        path = self._path.resolve()
        temporary = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".vars-store-")
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(dump(self._values))
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise UsageError(
                f"The variables store '{self._path}' cannot be written: {error.strerror}", suggestion="Check the folder and its rights."
            ) from error


def _understood(type_: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options as the reference's command line takes them: rsa and ssh have none, and numbers that ask for nothing give the default."""
    if type_ in ("rsa", "ssh"):
        return {}
    made = dict(options)
    for key in ("length", "key_length", "duration"):
        value = made.get(key)
        if isinstance(value, float) and math.isfinite(value):
            value = made[key] = int(value)
        if not isinstance(value, bool) and isinstance(value, int) and (value == 0 or (key == "duration" and value < 0)):
            del made[key]
    return made
