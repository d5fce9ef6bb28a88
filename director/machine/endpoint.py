"""Where a machine is dialled and by which key it is known."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A machine's address. `host_public_key` is an OpenSSH line without comment, and the only key accepted.

    While a host key is being replaced the machine may show either key, since the director may have stopped between
    recording and activating it: then `next_host_public_key` is accepted too, and `Session.host_public_key` tells which was shown.

    `trust_first` is for machines whose cloud took no host key of ours: with no key known, whatever key is shown is accepted.
    """

    cid: str
    address: str
    host_public_key: str
    port: int = 22
    user: str = "caisson"
    next_host_public_key: str = ""
    trust_first: bool = False

    @property
    def accepted_keys(self) -> tuple[str, ...]:
        return tuple(key for key in (self.host_public_key, self.next_host_public_key) if key)

    @property
    def accepts_any(self) -> bool:
        return self.trust_first and not self.accepted_keys
