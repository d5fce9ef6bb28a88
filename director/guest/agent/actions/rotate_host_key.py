"""The host key replaced by one that was made on the machine and never left it.

Two phases, so that the director can record the new key before any connection shows it. Both may be repeated.
"""

from __future__ import annotations

import os
from typing import Dict

from .. import files, system
from ..errors import ActionError, InvalidArguments
from ..host import Call, Host
from .base import Action

NEXT = "caisson_next_host_key"


def run(call: Call, phase: str, public_key: str = "") -> Dict[str, str]:
    if phase == "prepare":
        return {"public_key": _prepare(call.host)}
    if phase == "activate":
        _activate(call.host, public_key)
        return {"public_key": public_key}
    raise InvalidArguments("Unknown phase '%s'" % phase)


def _prepare(host: Host) -> str:
    path = host.layout.etc("ssh") / NEXT
    public = path.with_name(NEXT + ".pub")
    if not (path.is_file() and public.is_file()):
        files.remove(path)
        files.remove(public)
        path.parent.mkdir(parents=True, exist_ok=True)
        host.shell.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)])
    return system.key_line(public.read_text())


def _activate(host: Host, public_key: str) -> None:
    folder = host.layout.etc("ssh")
    current, prepared = folder / "ssh_host_ed25519_key", folder / NEXT
    if prepared.is_file():
        if system.key_line((folder / (NEXT + ".pub")).read_text()) != public_key:
            raise ActionError("The host key to activate is not the one that was prepared")
        # The private part first: sshd reads only that, and a crash between leaves a pair that the next call completes.
        os.replace(str(prepared), str(current))
    if (folder / (NEXT + ".pub")).is_file():
        os.replace(str(folder / (NEXT + ".pub")), str(folder / "ssh_host_ed25519_key.pub"))
    if system.host_public_key(host) != public_key:
        raise ActionError("The host key to activate was not prepared on this machine")
    for kind in ("rsa", "ecdsa", "dsa"):
        for suffix in ("", ".pub"):
            files.remove(folder / ("ssh_host_%s_key%s" % (kind, suffix)))
    files.write(folder / "sshd_config.d/10-caisson.conf", "HostKey /etc/ssh/ssh_host_ed25519_key\n", 0o644)
    system.reload_sshd(host)


ACTION = Action(run)
