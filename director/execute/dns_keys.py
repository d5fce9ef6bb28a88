"""The keys by which machines know each other and the director's records, all derived from the director's secret.

    speaker(P) = HMAC(secret, P)        P proves with it that it is P
    pair(A, P) = HMAC(speaker(P), A)    A asks P with it, and believes P
    records(P) = HMAC(secret, P)        the director vouches with it for what it gave to P

What machines do with them is in `director/guest/dns/peers/keys.py`, which says the same in its own words, since the two share no code.
"""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Mapping

HASH = "sha256"
SPEAKER, OWN_RECORDS = b"caisson names: speaker\0", b"caisson names: records of\0"
PAIR, RECORDS = b"caisson names: pair\0", b"caisson names: records\0"


@dataclasses.dataclass(frozen=True)
class Keys:
    """All keys of one director. Agents are told apart by their ids in lower case, as names are."""

    secret: bytes = dataclasses.field(repr=False)

    def speaker(self, agent_id: str) -> bytes:
        return hmac.digest(self.secret, SPEAKER + agent_id.lower().encode(), HASH)

    def ring(self, agent_id: str, speakers: Mapping[str, bytes]) -> dict[str, object]:
        """What a machine is given: its own keys, and one for each of the others, whose `speaker` keys these are. A secret."""
        own = agent_id.lower()
        text = PAIR + own.encode()
        return {
            "self": own, "speaker": self.speaker(own).hex(), "records": self._records(own).hex(),
            "peers": {peer: hmac.digest(key, text, HASH).hex() for peer, key in speakers.items() if peer != own},
        }

    def word(self, agent_id: str, version: int, digest: str) -> str:
        """That the document of this version with this SHA-256 (hex) is the director's, said to one machine."""
        own = agent_id.lower()
        return hmac.digest(self._records(own), RECORDS + f"{own}\0{version}\0{digest}".encode(), HASH).hex()

    def _records(self, agent_id: str) -> bytes:
        return hmac.digest(self.secret, OWN_RECORDS + agent_id.encode(), HASH)
