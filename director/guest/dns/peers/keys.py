"""This machine's identity and its keys, as the director put them into one file that root alone reads.

A machine is known by the id of its agent, which is another one for every machine that is made: an address or an instance's id may be
another machine's tomorrow, this cannot. The director derives everything from a secret of its own:

    speaker(P)  = HMAC(secret, P)         known to P and the director
    pair(A, P)  = HMAC(speaker(P), A)     known to A, P and the director: A asks P, and P answers A, with this one

So A can neither speak for P towards anyone else nor find the key of any other pair, and P needs no list of who may ask.

The file has a line for each thing: `self ID`, `speaker HEX`, `records HEX`, and `peer ID HEX` for each P.
"""

from __future__ import annotations

import hmac
import logging
from typing import Dict, Optional

from ..sources import Mark, mark_of

log = logging.getLogger("bosh-dns")

PAIR = b"caisson names: pair\0"
RECORDS = b"caisson names: records\0"


def pair(speaker: bytes, asker: str) -> bytes:
    """The key between a speaker and one who asks it."""
    return hmac.digest(speaker, PAIR + asker.encode(), "sha256")


def records_mac(key: bytes, agent_id: str, version: int, digest: str) -> str:
    """The director's word that the document of this version with this SHA-256 (hex) is what it sent to this machine."""
    text = "%s\0%d\0%s" % (agent_id, version, digest)
    return hmac.digest(key, RECORDS + text.encode(), "sha256").hex()


class Ring:
    """The keys of the file, looked up when they are needed: of ten thousand machines a resolver asks after a few."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._mark: Optional[Mark] = None
        self._text = b"\n"
        self._found: Dict[str, Optional[bytes]] = {}
        self.agent_id = ""
        self.speaker = b""
        self.records = b""

    def renew(self) -> bool:
        """Reads the file again when it changed; whether it did. One that cannot be read leaves the keys as they were."""
        mark = mark_of(self._path)
        if mark is None or mark == self._mark:
            return False
        self._mark = mark
        try:
            with open(self._path, "rb") as file:
                text = b"\n" + file.read()
            agent_id = self._word(text, b"self").decode("ascii").lower()
            speaker, records = bytes.fromhex(self._word(text, b"speaker").decode()), bytes.fromhex(self._word(text, b"records").decode())
            if not agent_id or not speaker or not records:
                raise ValueError("it names no machine, or a key is missing")
        except (OSError, ValueError) as error:
            log.error("%s: the keys cannot be read: %s", self._path, error)
            return False
        self._text, self.agent_id, self.speaker, self.records = text, agent_id, speaker, records
        self._found.clear()
        return True

    def towards(self, agent_id: str) -> Optional[bytes]:
        """The key for asking that machine; None when the director gave none (yet)."""
        if agent_id not in self._found:
            self._found[agent_id] = self._look_up(agent_id)
        return self._found[agent_id]

    def _look_up(self, agent_id: str) -> Optional[bytes]:
        if agent_id == self.agent_id:
            return pair(self.speaker, agent_id)
        try:
            return bytes.fromhex(self._word(self._text, b"peer " + agent_id.encode()).decode()) or None
        except ValueError:
            return None

    @staticmethod
    def _word(text: bytes, name: bytes) -> bytes:
        start = text.find(b"\n" + name + b" ")
        if start < 0:
            return b""
        start += len(name) + 2
        end = text.find(b"\n", start)
        return text[start : end if end >= 0 else len(text)].strip()
