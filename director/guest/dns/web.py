"""Web servers as if they were name servers: JSON to messages, and threads for what blocks. Source: DNS contract, section 9.

Asked is `URL/?name=NAME&type=NUMBER`; the answer is `{"Status": 0, "TC": false, "Answer": [{"name", "type", "TTL", "data"}]}`. Better than
the reference: only records of the asked type (and the aliases that lead to them) are given, and `Status` counts.
"""

from __future__ import annotations

import functools
import json
import queue
import struct
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import message, wire
from .loop import Loop
from .message import Message
from .records import packed_of
from .upstream import Answered, Asking

LARGEST = 1 << 16
MOST_QUEUED = 256
MOST_THREADS = 8
REST = 10.0
_NAMES = (wire.NS, wire.CNAME, wire.PTR)

Fetch = Callable[[str, float], bytes]


class WebPool:
    """The questions of one web server, `timeout` seconds for each."""

    def __init__(self, loop: Loop, url: str, *, timeout: float = 5.0, fetch: "Optional[Fetch]" = None) -> None:
        self.url = url
        self._loop = loop
        self._timeout = timeout
        self._fetch = fetch or fetch_url
        self._queue: "queue.Queue[Tuple[Asking, Answered]]" = queue.Queue(MOST_QUEUED)
        self._threads = 0
        self._lock = threading.Lock()
        self.failures = 0
        self.problem = ""
        loop.accept_threads()

    def ask(self, asking: Asking, answered: Answered) -> None:
        """`answered` is called once, in the loop's thread, never before this returns."""
        try:
            self._queue.put_nowait((asking, answered))
        except queue.Full:
            self._loop.later(0.0, lambda: self._arrived(None, "too many questions at once", answered))
            return
        with self._lock:
            if self._threads < MOST_THREADS:
                self._threads += 1
                threading.Thread(target=self._work, name="dns-web", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                asking, answered = self._queue.get(timeout=REST)
            except queue.Empty:
                with self._lock:
                    # Nothing to do: one that comes now starts another. So nobody need end the threads of a pool that is no more.
                    if self._queue.empty():
                        self._threads -= 1
                        return
                continue
            self._loop.from_thread(functools.partial(self._arrived, *self._one(asking), answered))

    def _one(self, asking: Asking) -> Tuple[Optional[Message], str]:
        labels, _ = wire.read_name(b"\0" * 12 + asking.question, 12)
        kind = struct.unpack("!H", asking.question[-4:-2])[0]
        import urllib.parse

        parameters = urllib.parse.urlencode([("name", ".".join(labels) + "."), ("type", kind)])
        try:
            return to_message(self._fetch("%s/?%s" % (self.url.rstrip("/"), parameters), self._timeout), asking.question, labels, kind), ""
        except (OSError, ValueError) as error:
            return None, str(error)

    def _arrived(self, answer: Optional[Message], problem: str, answered: Answered) -> None:
        self.problem = problem
        self.failures += answer is None
        answered(answer)

    def tell(self) -> List[Dict[str, Any]]:
        return [{"server": self.url, "failures": self.failures, "problem": self.problem}]

    def close(self) -> None:
        return None  # The threads are daemons and hold nothing.


def fetch_url(url: str, timeout: float) -> bytes:
    """The body of a page that says 200. OSError or ValueError for everything else, and for pages that take or are too long."""
    # Imported here: it brings in a third of the memory of a resolver that has no such handler.
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + timeout
    with opener.open(url, timeout=timeout) as page:
        if page.status != 200:
            raise ValueError("the server says %d" % page.status)
        body = b""
        while True:
            more: bytes = page.read1(LARGEST)
            body += more
            if not more:
                return body
            if len(body) > LARGEST or time.monotonic() > until:
                raise ValueError("the answer is too long or too slow")


def to_message(body: bytes, question: bytes, labels: wire.Labels, kind: int) -> Optional[Message]:
    """What the JSON says; None when it says that the server failed. ValueError for what is no such JSON."""
    try:
        tree = json.loads(body)
        status = int(tree.get("Status") or 0)
        entries = [
            (str(entry.get("name") or ""), int(entry["type"]), int(entry.get("TTL") or 0), entry["data"])
            for entry in tree.get("Answer") or []
        ]
        truncated = bool(tree.get("TC"))
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("no JSON of the expected form: %s" % error) from error
    if status not in (wire.NOERROR, wire.NXDOMAIN):
        return None
    records = [
        _owner(name, labels) + struct.pack("!HHI", type_, wire.IN, max(0, min(ttl, (1 << 31) - 1))) + _sized(_data(type_, str(data)))
        for name, type_, ttl, data in entries if type_ in (kind, wire.CNAME) or kind == wire.ANY
    ]
    flags = wire.QR | wire.AA | wire.RA | (wire.TC if truncated else 0) | status
    return message.read(wire.HEAD.pack(0, flags, 1, len(records), 0, 0) + question + b"".join(records))


def _owner(name: str, labels: wire.Labels) -> bytes:
    return b"\xc0\x0c" if not name or wire.labels_of(name) == labels else wire.encode_name(name)


def _sized(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def _data(kind: int, text: str) -> bytes:
    """ValueError for data that does not fit the type, and for types that are not known."""
    if kind in (wire.A, wire.AAAA):
        packed = packed_of(text)
        if len(packed) != (4 if kind == wire.A else 16):
            raise ValueError("%s is no address of the record's type" % text)
        return packed
    if kind in _NAMES:
        return wire.encode_name(text)
    if kind == wire.TXT:
        raw = text.strip('"').encode()
        return b"".join(bytes((len(raw[at : at + 255]),)) + raw[at : at + 255] for at in range(0, max(1, len(raw)), 255))
    if kind == wire.MX:
        preference, _, exchange = text.partition(" ")
        return struct.pack("!H", min(int(preference), 65535)) + wire.encode_name(exchange)
    raise ValueError("records of type %d cannot be given" % kind)
