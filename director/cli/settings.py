"""The file that remembers environments, `~/.bosh/config`, shared with the `bosh` command.

Shape: `environments: [{url, alias?, ca_cert?, username?, password?}]`. Keys that we do not know are kept as they are.
Source: director API contract, section 2.1.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any

from director.errors import UsageError

Entry = dict[str, Any]


class Settings:
    """The file at `path`, which need not exist."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._tree: dict[str, Any] | None = None

    def entries(self) -> list[Entry]:
        found = self._load().get("environments") or []
        return [entry for entry in found if isinstance(entry, dict)]

    def find(self, name: str) -> Entry | None:
        """By alias first, by address second."""
        entries = self.entries()
        by_alias = next((entry for entry in entries if entry.get("alias") == name), None)
        return by_alias or next((entry for entry in entries if address_of(str(entry.get("url", ""))) == address_of(name)), None)

    def store(self, url: str, **values: Any) -> None:
        """Change or add the entry of `url`; a value of None removes its key. An alias moves here from other entries."""
        tree = self._load()
        entries = self.entries()
        if values.get("alias"):
            for other in entries:
                if other.get("alias") == values["alias"] and other.get("url") != url:
                    other.pop("alias")
        entry = next((item for item in entries if item.get("url") == url), None)
        if entry is None:
            entry = {"url": url}
            entries.append(entry)
        for key, value in values.items():
            if value is None:
                entry.pop(key, None)
            else:
                entry[key] = value
        tree["environments"] = entries
        self._save(tree)

    def forget(self, alias: str) -> bool:
        """Drop an alias; whether there was one."""
        tree = self._load()
        entries = self.entries()
        left = [entry for entry in entries if entry.get("alias") != alias]
        tree["environments"] = left
        self._save(tree)
        return len(left) != len(entries)

    def _load(self) -> dict[str, Any]:
        if self._tree is None:
            import yaml

            try:
                tree = yaml.safe_load(self.path.read_text("utf-8")) if self.path.exists() else {}
            except (OSError, UnicodeError, yaml.YAMLError) as error:
                raise UsageError(
                    f"The config '{self.path}' cannot be read: {error}", suggestion="Mend it, or name another with --config."
                ) from error
            if not isinstance(tree or {}, dict):
                raise UsageError(f"The config '{self.path}' is not a map", suggestion="Mend it, or name another with --config.")
            self._tree = tree or {}
        return self._tree

    def _save(self, tree: dict[str, Any]) -> None:
        import tempfile

        import yaml

        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Written beside and renamed, readable by the owner only: it holds credentials.
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".config-")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            yaml.safe_dump(tree, stream, sort_keys=False)
        os.replace(temporary, self.path)
        self._tree = tree


def address_of(url: str) -> tuple[str, int]:
    """Host and port of an environment; the scheme is dropped and the port is 25555 unless given."""
    rest = url.split("://", 1)[-1].split("/", 1)[0]
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.lstrip(":")
    else:
        host, _, port = rest.partition(":")
    if port and not port.isdigit():
        raise UsageError(f"Expected '{url}' to be a URL of a director, HOST or https://HOST:PORT", suggestion="Its port is not a number.")
    return host, int(port) if port else 25555


def url_of(url: str) -> str:
    """The form under which environments are remembered: `https://HOST:PORT`, the standard port left out unless it was written."""
    rest = url.split("://", 1)[-1].rstrip("/")
    return f"https://{rest}"
