"""Links under which machines that reach the director fetch blobs themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from director.machine.agent import Agent


@dataclasses.dataclass(frozen=True)
class BlobUrls:
    """One task's. `make(blob id)` gives a URL, a secret that expires; `ca` (PEM) vouches for who answers there.

    `cut_off` are the machines that reached it in vain: they are not asked again.
    """

    make: Callable[[str], str] = dataclasses.field(repr=False)
    ca: str
    cut_off: set[Agent] = dataclasses.field(default_factory=set)
