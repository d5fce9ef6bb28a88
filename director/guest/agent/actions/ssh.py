"""Login users for people. Source: the agent contract, section 5.6."""

from __future__ import annotations

import os
import pwd
import re
from typing import Dict

from .. import files, spec, system
from ..errors import ActionError, InvalidArguments
from ..host import Call
from .base import Action

PREFIX = "bosh_"
USER = re.compile(r"^bosh_[a-z0-9_-]{1,27}$")


def run(call: Call, command: str, user: str = "", public_key: str = "", user_regex: str = "") -> Dict[str, str]:
    if command == "setup":
        return _setup(call, user, public_key)
    if command == "cleanup":
        return _cleanup(call, user_regex)
    raise InvalidArguments("Unknown command for SSH method '%s'" % command)


def _setup(call: Call, user: str, public_key: str) -> Dict[str, str]:
    host = call.host
    if not USER.match(user):
        raise InvalidArguments("'%s' is no name of a user for people: it must start with 'bosh_'" % user)
    if "\n" in public_key.strip() or not public_key.strip():
        raise InvalidArguments("The public key must be one line")
    home = host.layout.vcap / "bosh_ssh" / user
    if not _exists(user):
        home.parent.mkdir(parents=True, exist_ok=True)
        host.shell.run([
            "useradd", "-m", "-d", str(home), "-s", "/bin/bash", "-G", "vcap,admin,bosh_sudoers,bosh_sshers", user,
        ])
    folder = home / ".ssh"
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / "authorized_keys", public_key.strip() + "\n", 0o600)
    if _exists(user):
        account = pwd.getpwnam(user)
        for path in (folder, folder / "authorized_keys"):
            os.chown(str(path), account.pw_uid, account.pw_gid)
    folder.chmod(0o700)
    settings = files.read_json(host.layout.settings) or {}
    networks = (files.read_json(host.layout.spec) or {}).get("networks") or settings.get("networks") or {}
    return {"command": "setup", "status": "success", "ip": spec.default_ip(networks), "host_public_key": system.host_public_key(host)}


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _cleanup(call: Call, user_regex: str) -> Dict[str, str]:
    try:
        pattern = re.compile(user_regex)
    except re.error as error:
        raise ActionError("'%s' is no regular expression: %s" % (user_regex, error)) from error
    for name in matching([account.pw_name for account in pwd.getpwall()], pattern):
        call.host.shell.run(["userdel", "-r", "-f", name], check=False)
    return {"command": "cleanup", "status": "success"}


def matching(names: "list[str]", pattern: "re.Pattern[str]") -> "list[str]":
    """Only users made for people can be removed, whatever the expression says."""
    return [name for name in names if name.startswith(PREFIX) and pattern.search(name)]


ACTION = Action(run)
