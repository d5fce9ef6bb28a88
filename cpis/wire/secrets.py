"""What may stand in no log, no error and no line on stderr. Source: CPI contract, section 1, and its row 27."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TELLING = re.compile(r"passw|secret|token|private|credential|api_key|access_key|json_key|certificate|mbus|pem$|^key$", re.IGNORECASE)
_OPEN_ENV = ("group", "groups", "tags")


def of_config(config: Any) -> Iterator[str]:
    """The texts below keys whose names say that they are secret, in a CPI's or an agent's configuration."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from leaves(value) if _TELLING.search(str(key)) else of_config(value)
    elif isinstance(config, list):
        for item in config:
            yield from of_config(item)
    elif isinstance(config, str) and "://" in config and "@" in config:
        yield config.partition("://")[2].rpartition("@")[0].partition(":")[2]


def of_env(env: Any) -> Iterator[str]:
    """All texts of a machine's env, but for `bosh.group`, `bosh.groups` and `bosh.tags`."""
    for key, value in env.items() if isinstance(env, Mapping) else ():
        if key == "bosh" and isinstance(value, Mapping):
            yield from leaves({name: item for name, item in value.items() if name not in _OPEN_ENV})
        else:
            yield from leaves(value)


def leaves(value: Any) -> Iterator[str]:
    """Every text in there, and each long line of those that have several (keys and certificates are quoted by lines)."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value
        if "\n" in value:
            yield from (line for line in value.splitlines() if len(line) > 20)
