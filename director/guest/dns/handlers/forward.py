"""A domain with servers of its own. Source: DNS contract, section 9."""

from __future__ import annotations

from ..passing import Passing


class Forward(Passing):
    name = "forward"
