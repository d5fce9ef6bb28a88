"""What the resolver is told: from the job's configuration file or from the command line. Source: DNS contract, section 11."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Mapping, Tuple

from .upstream import Server, server_of


class BadSettings(Exception):
    """A setting that cannot be used; the text says which and why."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """`recursors` empty means those of `resolv_conf`. Times in seconds."""

    listen: Tuple[Server, ...]
    records: str
    alias_files: str = ""
    aliases: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    override_nameserver: bool = False
    resolv_conf: str = "/etc/resolv.conf"
    recursors: Tuple[Server, ...] = ()
    excluded_recursors: Tuple[str, ...] = ()
    disable_recursors: bool = False
    recursor_timeout: float = 2.0
    recursor_selection: str = "smart"
    upcheck_domains: Tuple[str, ...] = ("upcheck.bosh-dns.",)
    cache: bool = False
    log_level: str = "INFO"


def read(path: str) -> Settings:
    """From a JSON file with the fields' names. Raises BadSettings."""
    try:
        with open(path, encoding="utf-8") as file:
            tree = json.load(file)
    except (OSError, ValueError) as error:
        raise BadSettings("%s: %s" % (path, error)) from error
    if not isinstance(tree, dict):
        raise BadSettings("%s: no JSON object" % path)
    return parse(tree)


def parse(tree: Mapping[str, Any]) -> Settings:
    """Raises BadSettings for unknown fields, missing ones and addresses that are none."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    unknown = sorted(set(tree) - fields)
    if unknown:
        raise BadSettings("unknown settings: %s" % ", ".join(unknown))
    if not tree.get("listen") or not tree.get("records"):
        raise BadSettings("`listen` and `records` are needed")
    values = dict(tree)
    try:
        values["listen"] = tuple(server_of(text) for text in tree["listen"])
        values["recursors"] = tuple(server_of(text) for text in tree.get("recursors") or ())
    except ValueError as error:
        raise BadSettings(str(error)) from error
    for name in ("excluded_recursors", "upcheck_domains"):
        if name in values:
            values[name] = tuple(values[name])
    return Settings(**values)
