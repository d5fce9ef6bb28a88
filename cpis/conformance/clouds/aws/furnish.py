"""The account that moto plays as a cloud config wants it: its region, with subnets and groups under the ids of the cloud config."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cpis.conformance.furnish import Furnished, Room, Tree, Wanted, names, spans
from cpis.contract import Invalid

if TYPE_CHECKING:
    from cpis.conformance.clouds.aws import AwsStandIn


def furnish(cloud: AwsStandIn, wanted: Wanted) -> Furnished:
    """Ids, names, sizes and zones stay as they are. Raises Invalid for zones of several regions."""
    room = Room(wanted)
    room.leave_out(["advertised_routes"], "the route tables are yours only")
    _by_name(room)
    region = _region(room)
    machines = [properties for _, properties in room.machines()]
    guards = [*machines, *(properties for _, _, properties in room.subnets())]
    seeds = cloud.prepare({
        "region": region, "subnets": _subnets(room), "security_groups": _all(guards, "security_groups"),
        "target_groups": _all(machines, "lb_target_groups"), "balancers": _all(machines, "elbs"),
        "profiles": _all(machines, "iam_instance_profile"), "keys": _all(machines, "key_name"),
        "addresses": list(wanted.public)})
    config = {**cloud.config, "region": region, "default_security_groups": [seeds["security_group"]]}
    return Furnished(room.tree, config, {"ami": {region: seeds["ami"]}}, room.told)


def _region(room: Room) -> str:
    zones = _all([*room.zones().values(), *(properties for _, properties in room.machines())], "availability_zone")
    regions = sorted({zone.rstrip("abcdefghijkl") for zone in zones})
    if len(regions) != 1:
        raise Invalid(
            f"the zones are of {', '.join(regions) or 'no region'}",
            suggestion="A CPI config of AWS is for one region: give it a cloud config of its own.")
    return regions[0]


def _subnets(room: Room) -> list[Tree]:
    zones = {name: str(properties.get("availability_zone") or "") for name, properties in room.zones().items()}
    found = spans(room, lambda properties, zone: str(properties.get("subnet") or ""))
    where: dict[str, str] = {}
    for _, subnet, properties in room.subnets():
        where.setdefault(str(properties.get("subnet") or ""), zones[room.zones_of(subnet)[0]])
    return [{"id": cid, "range": span, "zone": where[cid]} for cid, span in found.items() if cid]


def _by_name(room: Room) -> None:
    """ARNs are of the account: here target groups and profiles are found by their names."""
    for where, properties in room.machines():
        groups = names(properties.get("lb_target_groups"))
        arns = [name for name in groups if name.startswith("arn:")]
        if arns:
            properties["lb_target_groups"] = [name.split("/")[1] if name in arns else name for name in groups]
            room.tell(f"lb_target_groups of {where} are found by name: ARNs are of your account")
        profile = str(properties.get("iam_instance_profile") or "")
        if profile.startswith("arn:"):
            properties["iam_instance_profile"] = profile.rpartition("/")[2]
            room.tell(f"iam_instance_profile of {where} is found by name: ARNs are of your account")


def _all(places: Iterable[Tree], key: str) -> list[str]:
    return list(dict.fromkeys(name for properties in places for name in names(properties.get(key))))
