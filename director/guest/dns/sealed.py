"""Whether records are the director's: it says so of each version that it gave to this machine, with a key that root alone reads.

Anything else in that place, whoever wrote it, is kept out as broken JSON is, and the last good records stay in use.
Who is root here can have the key; nobody else can, and no key is good on another machine.
"""

from __future__ import annotations

import hashlib
import hmac

from .loading import BadRecords, Steps, loading
from .peers.keys import Ring, records_mac

SLICE = 1 << 18


class Seal:
    """`word` is the file with a line for each document that is vouched for: version, SHA-256 and code."""

    def __init__(self, ring: Ring, word: str) -> None:
        self._ring = ring
        self._word = word

    def reading(self, text: str) -> Steps:
        """As `loading.loading`, once the document was found to be the director's. Raises BadRecords from any step."""
        data = text.encode()
        digest = hashlib.sha256()
        for start in range(0, len(data), SLICE):
            digest.update(data[start : start + SLICE])
            yield
        version = self._vouched(digest.hexdigest())
        records = yield from loading(text)
        if records.version != version:
            raise BadRecords("it says version %d, and the director said %d of it" % (records.version, version))
        return records

    def _vouched(self, digest: str) -> int:
        """The version that the director gave to this document."""
        self._ring.renew()
        if not self._ring.records:
            raise BadRecords("the director's keys are not here, so nothing tells that it is the director's")
        try:
            with open(self._word, encoding="ascii", errors="replace") as file:
                lines = [line.split() for line in file]
        except OSError as error:
            raise BadRecords("the director's word for it cannot be read: %s" % error) from error
        for line in lines:
            if len(line) == 3 and line[1] == digest and line[0].isdigit():
                wanted = records_mac(self._ring.records, self._ring.agent_id, int(line[0]), digest)
                if hmac.compare_digest(wanted, line[2]):
                    return int(line[0])
                raise BadRecords("it is signed with another key than the director's")
        raise BadRecords("the director did not send it: there is no word for what stands in it")
