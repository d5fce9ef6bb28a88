"""All other names: asked of other servers. Source: DNS contract, section 8."""

from __future__ import annotations

from ..forwarding import Forwarder
from ..passing import Passing


class Recursion(Passing):
    name = "recursion"

    def __init__(self, forwarder: Forwarder) -> None:
        super().__init__((), forwarder)
