"""Clouds by name. A CPI is imported only when asked for, so that one cloud's libraries are not needed for another."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from cpis.contract import Cpi, Invalid

# A class takes its configuration as the only argument.
TABLE: Mapping[str, str] = {
    "aws": "cpis.aws:AwsCpi",
    "azure": "cpis.azure:AzureCpi",
    "fake": "cpis.fake:FakeCpi",
    "gcp": "cpis.gcp:GcpCpi",
    "local": "cpis.local:LocalCpi",
    "openstack": "cpis.openstack:OpenStackCpi",
    "played": "cpis.conformance.bodies:PlayedCpi",
    "process": "cpis.process:ProcessCpi",
    "vsphere": "cpis.vsphere:VsphereCpi",
}

# Packages that bring a CPI name it in this group of their entry points: `aix = their.module:AixCpi`.
ENTRY_POINTS = "caisson.cpis"


def load(name: str, config: Mapping[str, Any], **parts: Any) -> Cpi:
    """The CPI of this name with this configuration; `parts` are what else its class takes (`clock`, `sleep`).

    A name that is none of ours is looked for among the entry points of installed packages. Raises Invalid for an unknown name or a wrong
    configuration.
    """
    if name in TABLE:
        module, _, attribute = TABLE[name].partition(":")
        made: Cpi = getattr(importlib.import_module(module), attribute)(config, **parts)
        return made
    others = {found.name: found for found in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if name in others:
        brought: Cpi = others[name].load()(config, **parts)
        return brought
    known = sorted({*TABLE, *others})
    near = difflib.get_close_matches(name, known, n=1)
    raise Invalid(f"there is no CPI '{name}'", suggestion=f"Did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}")
