"""Where a CPI's configuration comes from: its file, and for one call the context, which overrides it.

The file is JSON or YAML in one of two forms. BOSH's, as the `cpi` jobs write it:

    cloud:
      properties:
        aws: {region: ..., access_key_id: ...}      (vSphere: vcenters: [{host: ..., user: ...}])
        agent: {mbus: ..., blobstore: {provider: ..., options: {}}, ntp: []}

or the properties alone, as in a CPI config's entry, with `agent` beside them. Source: CPI contract, section 1 and row 1 of section 13.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cpis.contract import Invalid

Tree = dict[str, Any]

_OF_THE_CALL = ("director_uuid", "request_id", "vm", "caisson")
_NOT_THE_CLOUDS = ("agent", "registry", "blobstore", "ntp", "nats")
_BOSHS_NAMES = {"gcp": "google"}
_VSPHERE = "vcenters"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """`properties` are the CPI's, `agent` is what agents are told beside their own settings (mbus, blobstore, ntp)."""

    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    agent: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, path: str, cloud: str) -> Configuration:
        """Of a file. Raises Invalid when it cannot be read or holds no configuration."""
        try:
            document = yaml.safe_load(Path(path).read_text())
        except OSError as error:
            raise Invalid(
                f"the configuration {path} cannot be read: {error.strerror}", suggestion="Give another one with --config.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""
            raise Invalid(f"the configuration {path} is neither JSON nor YAML{where}") from error
        if document is None:
            return cls()
        if not isinstance(document, dict):
            raise Invalid(f"the configuration {path} must be a hash")
        return cls.of(document, cloud)

    @classmethod
    def of(cls, document: Mapping[str, Any], cloud: str) -> Configuration:
        """Of what a file holds. Raises Invalid."""
        inner = document
        if isinstance(document.get("cloud"), Mapping):
            inner = document["cloud"].get("properties") or {}
            own = inner.get(_BOSHS_NAMES.get(cloud, cloud))
            if isinstance(own, Mapping):
                inner = {**own, **{key: inner[key] for key in _NOT_THE_CLOUDS if key in inner}}
        return cls(*_parted(inner))

    def with_context(self, context: Mapping[str, Any]) -> Configuration:
        """For one call: what the context holds beside the call's own keys wins over the file, key by key. Raises Invalid."""
        properties, agent = _parted({key: value for key, value in context.items() if key not in _OF_THE_CALL})
        return Configuration({**self.properties, **properties}, {**self.agent, **agent})


def _parted(tree: Mapping[str, Any]) -> tuple[Tree, Tree]:
    """Properties of the CPI, and of agents."""
    properties = {key: value for key, value in tree.items() if key not in _NOT_THE_CLOUDS}
    agent = dict(tree.get("agent") or {})
    agent |= {key: tree[key] for key in ("blobstore", "ntp") if key in tree and key not in agent}
    vcenters = properties.pop(_VSPHERE, None)
    if vcenters is not None:
        if not isinstance(vcenters, list) or len(vcenters) != 1 or not isinstance(vcenters[0], Mapping):
            raise Invalid("'vcenters' must be a list of one vCenter", suggestion="Make an entry of the CPI config for each vCenter.")
        properties |= vcenters[0]
    return properties, agent
