"""Clouds by name. A CPI is imported only when asked for, so that one cloud's libraries are not needed for another."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from cpis.contract import Cpi, Invalid

# A class takes its configuration as the only argument.
TABLE: Mapping[str, str] = {
    "fake": "cpis.fake:FakeCpi",
    "local": "cpis.local:LocalCpi",
    "process": "cpis.process:ProcessCpi",
    "aws": "cpis.aws:AwsCpi",
}


def load(name: str, config: Mapping[str, Any], **parts: Any) -> Cpi:
    """The CPI of this name with this configuration; `parts` are what else its class takes (`clock`, `sleep`).

    Raises Invalid for an unknown name or a wrong configuration.
    """
    if name not in TABLE:
        near = difflib.get_close_matches(name, TABLE, n=1)
        suggestion = f"Did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(TABLE))}"
        raise Invalid(f"there is no CPI '{name}'", suggestion=suggestion)
    module, _, attribute = TABLE[name].partition(":")
    cpi: Cpi = getattr(importlib.import_module(module), attribute)(config, **parts)
    return cpi
