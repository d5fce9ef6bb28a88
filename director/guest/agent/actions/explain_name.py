"""Why the machine's resolver answers as it does: asked of the running one, over the socket that only root may open."""

from __future__ import annotations

import json
import socket
from typing import Any, Dict
from urllib.parse import urlencode

from ..errors import ActionError
from ..host import Call
from .base import Action

PATIENCE = 5.0


def run(call: Call, name: str, type: str = "A") -> Dict[str, Any]:
    """{explanation, status}: what the resolver says of the name, and of itself."""
    path = call.host.layout.resolver_socket
    if not path.exists():
        raise ActionError("No resolver runs on this machine: %s is not there" % path)
    explanation = _page(str(path), "/explain?" + urlencode({"name": name, "type": type}))
    return {"explanation": explanation, "status": _page(str(path), "/status")}


def _page(path: str, page: str) -> Any:
    received = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(path)
            sock.sendall(("GET %s HTTP/1.1\r\nHost: resolver\r\n\r\n" % page).encode())
            while True:
                data = sock.recv(65536)
                if not data:
                    break
                received += data
    except OSError as error:
        raise ActionError("The resolver does not answer: %s" % error) from error
    head, _, body = received.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise ActionError("The resolver refuses: %s" % body.decode("utf-8", "replace").strip())
    return json.loads(body)


ACTION = Action(run)
