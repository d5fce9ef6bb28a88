"""DNS records received as what changed since a version that is here, or as a whole; with the director's word for them, and keys.

All or nothing: keys and word are written before the records, and fit both the old and the new ones; the records are replaced at once.
Nothing is written unless the outcome is, byte by byte, the document that the director has.
Source: DNS contract, sections 1 and 2; the decision on records in deltas.
"""

from __future__ import annotations

import hashlib
import json
import socket
import time
from typing import Any, Dict, List, Optional, Set, Tuple

from .. import files, system
from ..errors import ActionError
from ..host import Call, Host
from .base import Action

Tree = Dict[str, Any]
PATIENCE = 2.0
PAUSE = 0.05


def run(
    call: Call, version: int, digest: str, word: str, ring: Tree, records: Optional[str] = None, base: int = 0,
    delta: Optional[Tree] = None, use_seconds: float = 0.0,
) -> Tree:
    """Answers {version, result, in_use}: `result` is `synced`, or `behind` when the whole document is wanted. `in_use` tells whether the
    resolver has them too, null when there is none or it was not waited for (`use_seconds`)."""
    host = call.host
    here, text = _here(host)
    if here > version or (here == version and _known(host, ring)):
        return _answer(host, here, call, use_seconds)
    if records is None and (delta is None or here != base or not _known(host, ring)):
        return {"version": here, "result": "behind", "in_use": None}
    old = json.loads(text) if text else {}
    made = records if records is not None else _changed(old, delta or {}, version)
    if hashlib.sha256(made.encode()).hexdigest() != digest:
        if records is None:
            return {"version": here, "result": "behind", "in_use": None}
        raise ActionError("The DNS records are not those that the director sent: their digest differs")
    try:
        tree = json.loads(made)
    except ValueError as error:
        raise ActionError("The DNS records cannot be read: %s" % error) from error
    if tree.get("version") != version:
        raise ActionError("version from unpacked dns blob does not match version supplied by director")
    _keep_ring(host, ring, _agents(old) | _agents(tree))
    _keep_word(host, here, version, digest, word)
    files.write(host.layout.records, made, 0o640, host.vcap_gid)
    system.write_hosts(host, tree.get("records") or [])
    return _answer(host, version, call, use_seconds)


def version_of(host: Host) -> int:
    """The version of the records that are here, without reading them where the director's word tells it; 0 for none."""
    if not host.layout.records.exists():
        return 0
    words = _words(host)
    if words:
        return words[0][0]
    return int((files.read_json(host.layout.records) or {}).get("version") or 0)


def _here(host: Host) -> Tuple[int, str]:
    """Version and text of the records that are here and are what the director sent; (0, '') otherwise."""
    try:
        text = host.layout.records.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return 0, ""
    digest = hashlib.sha256(text.encode()).hexdigest()
    for version, known, _ in _words(host):
        if known == digest:
            return version, text
    return 0, ""


def _changed(old: Tree, delta: Tree, version: int) -> str:
    """The new document. Each list is walked: keep so many, leave out so many, put in these; what is left over at the end is kept."""
    lists: Dict[str, List[Any]] = {}
    for name in ("records", "record_infos"):
        rows: List[Any] = old.get(name) or []
        made: List[Any] = []
        at = 0
        for keep, drop, added in delta.get(name) or []:
            made += rows[at : at + keep]
            made += added
            at += keep + drop
        lists[name] = made + rows[at:]
    return json.dumps({
        "records": lists["records"], "version": version, "record_keys": old.get("record_keys"), "record_infos": lists["record_infos"],
        "aliases": delta.get("aliases", old.get("aliases"))})


def _agents(tree: Tree) -> Set[str]:
    keys = tree.get("record_keys") or []
    if "agent_id" not in keys:
        return set()
    place = keys.index("agent_id")
    return {str(row[place]).lower() for row in tree.get("record_infos") or [] if len(row) > place and row[place]}


def _known(host: Host, ring: Tree) -> bool:
    """Whether the keys that are here are this machine's. Otherwise all of them are wanted again."""
    return _own_lines(ring) == _ring_lines(host)[:3]


def _own_lines(ring: Tree) -> List[str]:
    return ["self %s" % ring["self"], "speaker %s" % ring["speaker"], "records %s" % ring["records"]]


def _ring_lines(host: Host) -> List[str]:
    try:
        return host.layout.ring.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _keep_ring(host: Host, ring: Tree, wanted: Set[str]) -> None:
    """The keys for machines of the old and the new records; others go."""
    before = {line.split()[1]: line for line in _ring_lines(host)[3:] if line.startswith("peer ")} if _known(host, ring) else {}
    peers = {**before, **{agent: "peer %s %s" % (agent, key) for agent, key in ring["peers"].items()}}
    lines = _own_lines(ring) + [peers[agent] for agent in sorted(peers) if agent in wanted]
    files.write(host.layout.ring, "\n".join(lines) + "\n", 0o600)


def _words(host: Host) -> List[Tuple[int, str, str]]:
    """Version, digest and code of the documents that the director vouches for here, the newest first."""
    try:
        lines = host.layout.records_word.read_text().splitlines()
        return [(int(version), digest, code) for version, digest, code in (line.split() for line in lines)]
    except (OSError, ValueError):
        return []


def _keep_word(host: Host, here: int, version: int, digest: str, word: str) -> None:
    kept = [line for line in _words(host) if line[0] == here]
    lines = ["%d %s %s" % line for line in [(version, digest, word), *kept[:1]]]
    files.write(host.layout.records_word, "\n".join(lines) + "\n", 0o600)


def _answer(host: Host, version: int, call: Call, use_seconds: float) -> Tree:
    in_use = None
    if use_seconds > 0 and host.layout.resolver_socket.exists():
        deadline = time.monotonic() + use_seconds
        in_use = _used(host) >= version
        while not in_use and time.monotonic() < deadline:
            call.pause(PAUSE)
            in_use = _used(host) >= version
    return {"version": version, "result": "synced", "in_use": in_use}


def _used(host: Host) -> int:
    """The version that the resolver has; 0 when it does not say."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(host.layout.resolver_socket))
            sock.sendall(b"GET /status HTTP/1.1\r\nHost: resolver\r\n\r\n")
            received = b""
            while True:
                data = sock.recv(65536)
                if not data:
                    break
                received += data
        return int(json.loads(received.partition(b"\r\n\r\n")[2])["records"]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


ACTION = Action(run, loggable=False)
