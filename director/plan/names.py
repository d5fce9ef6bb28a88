"""DNS names that the director makes: canonical labels, long and numbered (short) forms.

Source: release contract, section 18; DNS contract, section 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_FORBIDDEN: Final = re.compile(r"[^a-z0-9-]")

STATUSES: Final = {"default": 0, "unhealthy": 1, "healthy": 3, "all": 4, "smart": 0}
INITIAL_CHECKS: Final = {"asynchronous": 0, "synchronous": 1}


class InvalidLabel(ValueError):
    """A name has no canonical form (420001)."""


def canonical(name: str) -> str:
    """`My_Group` -> `my-group`. Raises InvalidLabel when the result would begin or end with a dash, or be empty."""
    label = _FORBIDDEN.sub("", name.lower().replace("_", "-"))
    if not label or label.startswith("-") or label.endswith("-"):
        raise InvalidLabel(f"Invalid DNS canonical name '{label}', must be letters, digits and dashes, begin and end without a dash")
    return label


def group_key(deployment: str, group: str) -> str:
    """The key of an instance group among the numbered groups of all deployments."""
    return f"{deployment}/{group}"


def link_key(deployment: str, link_group: str) -> str:
    """The key of a link provider's group (`NAME-TYPE`); never equal to that of an instance group."""
    return f"{deployment}/link:{link_group}"


def instance_name(instance_id: str, group: str, network: str, deployment: str, domain: str) -> str:
    """`UUID.GROUP.NETWORK.DEPLOYMENT.DOMAIN`; an index instead of the uuid gives the `dns_record_name`."""
    return f"{instance_id}.{canonical(group)}.{canonical(network)}.{canonical(deployment)}.{domain}"


def encode_group_query(
    group: str, network: str, deployment: str, domain: str, *, az_ids: Iterable[int] = (), status: str = "default",
    initial_health_check: str = "",
) -> str:
    """The long query name: `q-a1s3.GROUP.NETWORK.DEPLOYMENT.DOMAIN`. An unknown status means default."""
    codes = _codes(az_ids=az_ids, status=status, initial_health_check=initial_health_check)
    return f"q-{codes}.{canonical(group)}.{canonical(network)}.{canonical(deployment)}.{domain}"


def encode_short_query(
    group_id: int, network_id: int, domain: str, *, az_ids: Iterable[int] = (), status: str = "default",
    initial_health_check: str = "", instance_num: int | None = None,
) -> str:
    """The numbered query name: `q-m42n3s0.q-g1.DOMAIN`; without `instance_num` it asks for the whole group."""
    codes = _codes(
        az_ids=az_ids, status=status, initial_health_check=initial_health_check, network_id=network_id, instance_num=instance_num)
    return f"q-{codes}.q-g{group_id}.{domain}"


def _codes(
    *, az_ids: Iterable[int], status: str, initial_health_check: str, network_id: int | None = None, instance_num: int | None = None,
) -> str:
    parts = [f"a{number}" for number in az_ids]
    if instance_num is not None:
        parts.append(f"m{instance_num}")
    if network_id is not None:
        parts.append(f"n{network_id}")
    if initial_health_check in INITIAL_CHECKS:
        parts.append(f"y{INITIAL_CHECKS[initial_health_check]}")
    parts.append(f"s{STATUSES.get(status, 0)}")
    return "".join(sorted(parts))
