"""User data for cloud-init: the login user with the director's key, and the host key that the director made. Source: design, section 3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cpis.contract import Invalid, Login

_HOST_KEY_KINDS = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}


def cloud_config(login: Login, hostname: str = "", extra: Mapping[str, Any] | None = None) -> str:
    """A `#cloud-config` document (JSON, which is YAML too). `extra` are further keys of cloud-init at its top level."""
    kind = _HOST_KEY_KINDS.get(login.host_public_key.split(" ")[0], "ecdsa")
    document: dict[str, Any] = {
        "users": [{
            "name": login.user, "lock_passwd": True, "shell": "/bin/bash", "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "ssh_authorized_keys": [login.public_key.strip()],
        }],
        "disable_root": True, "ssh_pwauth": False, "ssh_deletekeys": True,
        "ssh_keys": {f"{kind}_private": login.host_private_key.strip() + "\n", f"{kind}_public": login.host_public_key.strip()},
    }
    if hostname:
        document["hostname"] = hostname
    return "#cloud-config\n" + json.dumps({**document, **(extra or {})}) + "\n"


def fit(data: str | bytes, limit: int, cloud: str) -> None:
    """Raises Invalid when the user data, as it is counted by the cloud, has more bytes than `limit`."""
    size = len(data if isinstance(data, bytes) else data.encode())
    if size > limit:
        raise Invalid(
            f"the user data has {size} bytes, {cloud} takes {limit}", limit=str(limit), used=str(size),
            suggestion="Shorten env.bosh or the tags of the deployment.")
