"""What the resolver is told: from the job's configuration file or from the command line. Source: DNS contract, section 11."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, List, Mapping, NamedTuple, Optional, Tuple

from .access import network_of
from .servers import Server, server_of


class BadSettings(Exception):
    """A setting that cannot be used; the text says which and why."""


class Settings(NamedTuple):
    """`recursors` empty means those of `resolv_conf`. Times in seconds. `access` has networks and the words `own` and `any`.

    `nameserver` is what is written into `resolv_conf`, empty the first address to listen on. `host_state` is a file that remembers what was
    changed on the host, so that it can be undone."""

    listen: Tuple[Server, ...]
    records: str
    accept_older_records: bool = False
    alias_files: str = ""
    aliases: Mapping[str, Any] = MappingProxyType({})
    handler_files: str = ""
    handlers: Tuple[Any, ...] = ()
    address_files: str = ""
    override_nameserver: bool = False
    resolv_conf: str = "/etc/resolv.conf"
    nameserver: str = ""
    configure_systemd_resolved: bool = False
    host_state: str = ""
    recursors: Tuple[Server, ...] = ()
    excluded_recursors: Tuple[str, ...] = ()
    disable_recursors: bool = False
    recursor_timeout: float = 2.0
    recursor_max_retries: int = 0
    recursor_selection: str = "smart"
    recursor_parallel: int = 1
    recursor_mixed_case: bool = False
    recursor_failure: str = "SERVFAIL"
    upcheck_domains: Tuple[str, ...] = ("upcheck.bosh-dns.",)
    cache: bool = False
    cache_entries: int = 10000
    cache_stale_seconds: float = 86400.0
    access: Tuple[str, ...] = ("own",)
    strangers: str = "refuse"
    rate_limit: float = 0.0
    metrics: Optional[Server] = None
    control: str = ""
    processes: int = 1
    health: bool = False
    health_address: str = ""
    health_port: int = 8853
    health_names: int = 2000
    health_interval: float = 2.0
    health_timeout: float = 5.0
    health_speaks: bool = True
    synchronous_check_timeout: float = 1.0
    keys: str = ""
    records_word: str = ""
    log_level: str = "INFO"


_LISTS = ("excluded_recursors", "upcheck_domains", "access", "handlers")
_CHOICES = {
    "recursor_selection": ("smart", "serial"), "recursor_failure": ("SERVFAIL", "NXDOMAIN"), "strangers": ("refuse", "drop"),
    "log_level": ("DEBUG", "INFO", "WARN", "WARNING", "ERROR"),
}
_LEAST = {
    "recursor_timeout": 0.01, "recursor_max_retries": 0, "recursor_parallel": 1, "cache_entries": 1, "cache_stale_seconds": 0,
    "rate_limit": 0, "processes": 1, "health_port": 0, "health_names": 1, "health_interval": 0.1, "health_timeout": 0.1,
    "synchronous_check_timeout": 0,
}


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
    """Raises BadSettings with all that is wrong: unknown fields, missing ones, addresses that are none, words without a meaning."""
    problems: List[str] = []
    unknown = sorted(set(tree) - set(Settings._fields))
    if unknown:
        problems.append("unknown settings: %s" % ", ".join(unknown))
    if not tree.get("listen") or not tree.get("records"):
        problems.append("`listen` and `records` are needed")
    values = {name: value for name, value in tree.items() if name not in unknown and value is not None}
    for name in ("listen", "recursors"):
        values[name] = _servers(values.get(name) or (), problems)
    for name in _LISTS:
        if name in values:
            values[name] = tuple(values[name])
    if values.get("metrics"):
        values["metrics"] = (_servers([values["metrics"]], problems) or (None,))[0]
    for name, choices in _CHOICES.items():
        if name in values and values[name] not in choices:
            problems.append("`%s` is one of %s, not %s" % (name, ", ".join(choices), values[name]))
    for name, least in _LEAST.items():
        if name in values and (isinstance(values[name], bool) or not isinstance(values[name], (int, float)) or values[name] < least):
            problems.append("`%s` is a number of at least %s, not %s" % (name, least, values[name]))
    for network in values.get("access", ()):
        if network not in ("own", "any"):
            try:
                network_of(str(network))
            except ValueError as error:
                problems.append("`access` has networks, `own` or `any`: %s" % error)
    if problems:
        raise BadSettings("; ".join(problems))
    return Settings(**values)


def _servers(texts: Any, problems: List[str]) -> Tuple[Server, ...]:
    servers = []
    for text in texts:
        try:
            servers.append(server_of(str(text)))
        except ValueError as error:
            problems.append(str(error))
    return tuple(servers)
