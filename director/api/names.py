"""DNS records and resolvers: ours, additions to the contract."""

from __future__ import annotations

from starlette.responses import Response

from director.api.calls import Call, answer, field, timestamp
from director.execute import dns_status


def status(call: Call) -> Response:
    """The newest version, and which machines have not acknowledged it."""
    found = dns_status.standing(call.services.store)
    return answer({
        "version": found.version, "published_at": timestamp(found.published_at), "machines": found.machines, "current": found.current,
        "behind": [
            {"deployment": item.deployment, "instance": item.instance, "version": item.version, "since": timestamp(item.since)}
            for item in found.behind],
    })


def query(call: Call) -> Response:
    """Queue the question why an instance's resolver answers a name as it does."""
    body = call.json()
    instance = call.services.store.instances.at(call.deployment, field(body, "group", str), field(body, "instance", str))
    name, kind = field(body, "name", str), field(body, "type", str, default="A")
    arguments = {"instance": instance.id, "name": name, "type": kind.upper()}
    return call.start("explain_name", arguments, f"explain name {name} on {instance.name}", call.deployment)
