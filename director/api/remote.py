"""Logs and SSH. Source: director API contract, section 6.5."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.responses import Response

from director.api.calls import Call, field
from director.errors import NotFoundError, UsageError

LOG_TYPES = ("agent", "job", "system")
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
USER_PATTERN = re.compile(r"\^?[a-z_][a-z0-9_-]{0,31}\$?")
# The newline would end the line of authorized_keys and begin another.
PUBLIC_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\r\n]*)?")


def logs(call: Call) -> Response:
    """Pack the logs of the instances that have a machine."""
    kinds = [kind for kind in call.query.get("type", "job").split(",") if kind]
    unknown = [kind for kind in kinds if kind not in LOG_TYPES]
    if unknown:
        raise UsageError(f"Unknown log type '{unknown[0]}'", code=40005, suggestion=f"There are: {', '.join(LOG_TYPES)}.")
    group, instance = _star(call.path["group"]), _star(call.path["instance"])
    if group and instance:
        call.services.store.instances.at(call.deployment, group, instance)
    elif group and not call.services.store.instances.of(call.deployment, group):
        raise NotFoundError(f"Instance group '{group}' doesn't exist in deployment '{call.deployment}'", code=70001)
    filters = [item for item in call.query.get("filters", "").split(",") if item]
    arguments = {"group": group, "id_or_index": instance, "type": ",".join(kinds), "filters": filters}
    return call.start("fetch_logs", arguments, "fetch logs", call.deployment)


def ssh(call: Call) -> Response:
    """Make a user on instances, or remove users again."""
    body = call.json()
    command = field(body, "command", str)
    target = _target(field(body, "target", dict))
    params = field(body, "params", dict)
    arguments: dict[str, Any] = {"target": target, "command": command}
    if command == "setup":
        user, key = field(params, "user", str), field(params, "public_key", str).strip()
        if not USER.fullmatch(user):
            raise UsageError(f"'{user}' is no name for a user", code=40005)
        if not PUBLIC_KEY.fullmatch(key):
            raise UsageError("'public_key' is no OpenSSH public key", code=40005)
        arguments.update(user=user, public_key=key)
    elif command == "cleanup":
        pattern = field(params, "user_regex", str)
        if not USER_PATTERN.fullmatch(pattern):
            raise UsageError(f"'{pattern}' is no pattern for a user", code=40005)
        arguments.update(user_regex=pattern)
    else:
        raise UsageError(f"Unknown ssh command '{command}'", code=40005, suggestion="There are: setup, cleanup.")
    shown = {"ids": target["ids"], **({"job": target["job"]} if target["job"] else {})}
    return call.start("ssh", arguments, f"ssh: {command}:{json.dumps(shown, separators=(',', ':'))}", call.deployment)


def _target(target: dict[str, Any]) -> dict[str, Any]:
    """`job` is empty for all groups; `ids` may hold indexes and uuids, `indexes` count when there are no ids."""
    ids = field(target, "ids", list, default=[]) or field(target, "indexes", list, default=[])
    return {"job": field(target, "job", str, default=""), "ids": [str(item) for item in ids]}


def _star(text: str) -> str:
    return "" if text == "*" else text
