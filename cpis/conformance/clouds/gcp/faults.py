"""What goes wrong on demand, each a switch: refusals, lost answers, pages of a proxy, operations that fail or never end."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

RATE = (
    403, "rateLimitExceeded",
    "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'compute.googleapis.com'")


@dataclasses.dataclass
class Fault:
    """Hits requests whose method and path (`/zones/z/instances`) match, from the `nth` on, `times` times. One of:

    `status`, `reason`, `message`, `headers`   the answer instead of the effect
    `page`                                     a text instead of JSON, with that status
    `lost`                                     `before` the effect or `after` it: the connection ends without an answer
    `cut`                                      the effect happens, half of the answer comes
    `code`, `message`                          the operation that the request starts fails with it
    `polls`                                    the operation says RUNNING so many times more
    """

    method: str = ".*"
    path: str = ".*"
    nth: int = 1
    times: int = 1
    status: int = 0
    reason: str = ""
    message: str = "a fault that was asked for"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    page: str | None = None
    lost: str = ""
    cut: bool = False
    code: str = ""
    polls: int = 0
    seen: int = 0

    def hits(self, method: str, path: str) -> bool:
        """Counts the request when it matches, and says whether it is one of those."""
        if not (re.fullmatch(self.method, method) and re.search(self.path, path)):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


def rate_limit(path: str = ".*", times: int = 1, headers: Mapping[str, str] | None = None) -> Fault:
    """As Compute Engine refuses for its rate."""
    return Fault(path=path, times=times, status=RATE[0], reason=RATE[1], message=RATE[2], headers=headers or {})
