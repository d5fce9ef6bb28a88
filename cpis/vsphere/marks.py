"""What a machine or stemcell says of whom it belongs to: options in its extraConfig, put there by the creating request itself.

Source: CPI contract, section 4.1. They are read by key where the server can, since the whole extraConfig of many machines is long.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyVmomi import vim

from cpis.contract import Found, Invalid
from cpis.vsphere.inventory import Start, collect
from cpis.vsphere.session import Session

_PREFIX = "caisson."
KEYS = ("token", "director", "shape", "created", "addresses", "metadata", "rules")
_DISK = "caisson.disk."


@dataclasses.dataclass(frozen=True)
class Marks:
    """`addresses` are those asked for, as `network id -> addresses`; `rules` the DRS rules and groups joined, as `cluster id -> names`."""

    token: str = ""
    director: str = ""
    shape: str = ""
    created: float | None = None
    addresses: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rules: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def options(self) -> list[Any]:
        """As options for a request."""
        created = "" if self.created is None else f"{self.created:.0f}"
        values = {
            "token": self.token, "director": self.director, "shape": self.shape, "created": created,
            "addresses": _json(self.addresses), "metadata": _json(self.metadata), "rules": _json(self.rules),
        }
        return options({f"{_PREFIX}{key}": value for key, value in values.items() if value})

    def found(self, kind: str, cid: str) -> Found:
        """As the contract tells of resources."""
        return Found(kind, cid, self.token, self.metadata, self.created)


def options(values: Mapping[str, Any]) -> list[Any]:
    """extraConfig of these values; an empty one takes the option away."""
    return [vim.option.OptionValue(key=key, value=str(value)) for key, value in values.items()]


def disk_option(cid: str, uuid_of_disk: str) -> dict[str, str]:
    """The option by which a machine knows an attached disk when vCenter has moved and renamed its file; empty `uuid_of_disk`: no more."""
    return {f"{_DISK}{cid}": uuid_of_disk}


def of_options(extra: Iterable[Any]) -> Marks:
    """The marks among the options of a machine. What is not as we wrote it counts as not there."""
    values = {option.key[len(_PREFIX):]: str(option.value) for option in extra if option.key.startswith(_PREFIX)}
    try:
        created = float(values["created"]) if values.get("created") else None
    except ValueError:
        created = None
    return Marks(
        values.get("token", ""), values.get("director", ""), values.get("shape", ""), created,
        *(_parsed(values.get(key, "")) for key in ("addresses", "metadata", "rules")))


def disks_of(extra: Iterable[Any]) -> dict[str, str]:
    """CIDs of attached disks by the ids of the disks' own, as `disk_option` wrote them."""
    return {str(option.value): option.key[len(_DISK):] for option in extra if option.key.startswith(_DISK) and option.value}


def collect_marked(session: Session, starts: Sequence[Start], *paths: str) -> dict[Any, tuple[dict[str, Any], Marks]]:
    """All machines found from `starts`, each with the properties asked for and its marks. One request."""
    if session.indexes:
        keyed = [f'config.extraConfig["{_PREFIX}{key}"]' for key in KEYS]
        refused: set[str] = set()
        try:
            objects = collect(session, starts, {vim.VirtualMachine: [*paths, *keyed]}, refused)
        except Invalid as error:
            if error.code != "InvalidProperty":
                raise
            objects = {}
            refused = set(keyed)
        options_of = {ref: [facts[path] for path in keyed if facts.get(path) is not None] for ref, facts in objects.items()}
        if not refused & set(keyed) or any(options_of.values()):
            return {ref: (facts, of_options(options_of[ref])) for ref, facts in objects.items()}
        session.indexes = False  # an older server, or a simulator: it takes no keys in paths
    objects = collect(session, starts, {vim.VirtualMachine: [*paths, "config.extraConfig"]})
    return {ref: (facts, of_options(facts.get("config.extraConfig") or ())) for ref, facts in objects.items()}


def instance_uuid(token: str) -> str:
    """The instanceUuid of what this token makes."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"caisson:{token}"))


def shape(*parts: Any) -> str:
    """A short digest of a request's arguments: the same for the same."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True) if value else ""


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
