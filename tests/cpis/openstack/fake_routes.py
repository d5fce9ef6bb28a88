"""What the FAKE of OpenStack's services answers: one function for each request that the CPI makes, over the state of `FakeServices`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.cpis.openstack.fake_services import FakeServices

Tree = dict[str, Any]
NETWORK, SECOND = "net-1", "net-2"
SUBNET = "5b5f3c0e-4b3a-4c5e-9d0a-6c1f2e3d4c5b"


class Refused(Exception):
    def __init__(self, status: int, body: object) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def _flavors(fake: FakeServices, query: Mapping[str, str]) -> object:
    rows = [
        ("small", 1, 512, 10, 0), ("large", 8, 16384, 40, 0), ("eph", 1, 512, 1, 4), ("bad-eph", 1, 4096, 1, 1),
        ("rootless", 1, 512, 0, 0)]
    return fake.listed("flavors", query, [
        {"id": f"id-{name}", "name": name, "vcpus": cores, "ram": ram, "disk": disk, "OS-FLV-EXT-DATA:ephemeral": ephemeral}
        for name, cores, ram, disk, ephemeral in rows])


def _servers(fake: FakeServices, query: Mapping[str, str]) -> object:
    found = [item for item in fake.kept["servers"].values() if "tags" not in query or query["tags"] in item["tags"]]
    return fake.listed("servers", query, [_shown(fake, item) for item in found])


def _server(fake: FakeServices, cid: str, query: Mapping[str, str]) -> object:
    server = fake.get("servers", cid)
    if server["status"] == "BUILD" and not fake.endless_build:
        server["looks"] += 1
        if server["zone"] in fake.full:
            words = "No valid host was found. There are not enough hosts available."
            server |= {"status": "ERROR", "fault": {"code": 500, "message": words}}
        elif any(port not in fake.kept["ports"] for port in server["ports"]):
            server |= {"status": "ERROR", "fault": {"code": 500, "message": "Port could not be found."}}
        elif server["looks"] >= 2:
            server["status"] = "ACTIVE"
    return {"server": _shown(fake, server)}


def _shown(fake: FakeServices, server: Tree) -> Tree:
    volumes = [
        {"id": cid, "delete_on_termination": cid in server["roots"]} for cid, item in fake.kept["volumes"].items()
        if any(entry["server_id"] == server["id"] for entry in item["attachments"])]
    return {**server, "OS-EXT-AZ:availability_zone": server["zone"], "os-extended-volumes:volumes_attached": volumes}


def _create_server(fake: FakeServices, body: Tree) -> object:
    asked = body["server"]
    ports = [item["port"] for item in asked["networks"]]
    if any(port not in fake.kept["ports"] for port in ports):
        raise Refused(400, {"badRequest": {"code": 400, "message": f"Port {ports[0]} could not be found."}})
    if asked.get("key_name") == "unknown":
        raise Refused(400, {"badRequest": {"code": 400, "message": "Invalid key_name provided."}})
    zone = asked.get("availability_zone") or "nova"
    if zone == "nowhere":
        raise Refused(400, {"badRequest": {"code": 400, "message": "The requested availability zone is not available"}})
    roots = [item["uuid"] for item in asked.get("block_device_mapping_v2") or ()]
    server = fake.make(
        "servers", name=asked["name"], status="BUILD", metadata=asked["metadata"], tags=asked["tags"], zone=zone, ports=ports, looks=0,
        roots=roots)
    for port in ports:
        fake.kept["ports"][port]["device_id"] = server["id"]
    for root in roots:
        fake.kept["volumes"][root]["attachments"] = [{"server_id": server["id"], "device": "/dev/vda"}]
    return {"server": {"id": server["id"]}}


def _delete_server(fake: FakeServices, cid: str, body: object) -> None:
    server = fake.get("servers", cid)
    for port in fake.kept["ports"].values():
        port["device_id"] = "" if port["device_id"] == cid else port["device_id"]
    for volume in list(fake.kept["volumes"].values()):
        if any(entry["server_id"] == cid for entry in volume["attachments"]):
            volume |= {"attachments": [], "status": "available"}
            if volume["id"] in server["roots"]:
                del fake.kept["volumes"][volume["id"]]
    for group in fake.kept["server_groups"].values():
        group["members"] = [member for member in group["members"] if member != cid]
    del fake.kept["servers"][cid]


def _act_server(fake: FakeServices, cid: str, body: Tree) -> None:
    fake.get("servers", cid)["status"] = "ACTIVE"


def _ports(fake: FakeServices, query: Mapping[str, str]) -> object:
    def fits(port: Tree) -> bool:
        address = query.get("fixed_ips", "").removeprefix("ip_address=")
        return (
            query.get("name") in (None, port["name"]) and query.get("description") in (None, port["description"])
            and query.get("network_id") in (None, port["network_id"]) and ("tags" not in query or query["tags"] in port["tags"])
            and (not address or address in [item["ip_address"] for item in port["fixed_ips"]]))

    return fake.listed("ports", query, [port for port in fake.kept["ports"].values() if fits(port)])


def _create_port(fake: FakeServices, body: Tree) -> object:
    asked = body["port"]
    if asked["network_id"] not in (NETWORK, SECOND):
        raise Refused(404, {"NeutronError": {"type": "NetworkNotFound", "message": "Network could not be found.", "detail": ""}})
    taken = {item["ip_address"] for port in fake.kept["ports"].values() for item in port["fixed_ips"]}
    wanted = [item["ip_address"] for item in asked.get("fixed_ips") or ()]
    if taken & set(wanted):
        raise Refused(409, {"NeutronError": {"type": "IpAddressAlreadyAllocated", "message": f"IP address {wanted[0]} already allocated in "
                                             "subnet s", "detail": ""}})
    address = wanted[0] if wanted else next(text for text in (f"10.0.9.{n}" for n in range(2, 99)) if text not in taken)
    fields = {**asked, "fixed_ips": [{"subnet_id": SUBNET, "ip_address": address}], "device_id": "", "tags": []}
    return {"port": fake.make("ports", **fields)}


def _delete_port(fake: FakeServices, cid: str, body: object) -> None:
    if fake.get("ports", cid)["device_id"]:
        raise Refused(403, {"NeutronError": {"type": "PolicyNotAuthorized", "message": "rule:delete_port is disallowed by policy"}})
    del fake.kept["ports"][cid]


def _tag_port(fake: FakeServices, cid: str, tag: str, body: object) -> object:
    """As the real one it answers with JSON that is no object."""
    fake.get("ports", cid)["tags"].append(tag)
    return ""


def _simple(kind: str) -> Callable[..., object]:
    def listed(fake: FakeServices, query: Mapping[str, str]) -> object:
        return fake.listed(kind, query, [item for item in fake.kept[kind].values() if query.get("name") in (None, item["name"])])

    return listed


def _one(kind: str, word: str) -> Callable[..., object]:
    return lambda fake, cid, query: {word: fake.get(kind, cid)} if word else fake.get(kind, cid)


def _create_volume(fake: FakeServices, body: Tree) -> object:
    asked = body["volume"]
    return {"volume": fake.make("volumes", **{
        "status": "available", "attachments": [], "availability_zone": "nova", "volume_type": "plain", **asked})}


def _messages(fake: FakeServices, query: Mapping[str, str]) -> object:
    return {"messages": [{"user_message": words} for words in fake.messages]}


def _delete_volume(fake: FakeServices, cid: str, body: object) -> None:
    fake.get("volumes", cid)
    for snapshot in [item for item in fake.kept["snapshots"].values() if item["volume_id"] == cid]:
        del fake.kept["snapshots"][snapshot["id"]]
    del fake.kept["volumes"][cid]


def _act_volume(fake: FakeServices, cid: str, body: Tree) -> None:
    volume = fake.get("volumes", cid)
    if "os-retype" in body and not fake.fail_retype:
        volume["volume_type"] = body["os-retype"]["new_type"]
    if "os-extend" in body:
        if body["os-extend"]["new_size"] <= volume["size"]:
            raise Refused(400, {"badRequest": {"code": 400, "message": "New size for extend must be greater than current size."}})
        volume["size"] = body["os-extend"]["new_size"]


def _attach(fake: FakeServices, cid: str, body: Tree) -> object:
    fake.get("servers", cid)
    volume = fake.get("volumes", body["volumeAttachment"]["volumeId"])
    if volume["attachments"]:
        raise Refused(400, {"badRequest": {"code": 400, "message": "Invalid volume: volume is already attached"}})
    volume |= {"status": "in-use", "attachments": [{"server_id": cid, "device": "/dev/vdb"}]}
    return {"volumeAttachment": {"id": volume["id"]}}


def _detach(fake: FakeServices, cid: str, volume: str, body: object) -> None:
    fake.get("volumes", volume).update({"status": "available", "attachments": []})


def _create_snapshot(fake: FakeServices, body: Tree) -> object:
    fake.get("volumes", body["snapshot"]["volume_id"])
    return {"snapshot": fake.make("snapshots", **{**body["snapshot"], "status": "available"})}


def _images(fake: FakeServices, query: Mapping[str, str]) -> object:
    found = [
        item for item in fake.kept["images"].values()
        if query.get("name") in (None, item["name"]) and ("tag" not in query or query["tag"] in item["tags"])]
    return fake.listed("images", query, found)


def _create_image(fake: FakeServices, body: Tree) -> object:
    return fake.make("images", **body, status="queued")


def _upload(fake: FakeServices, cid: str, body: object) -> None:
    fake.get("images", cid)["status"] = "active"
    fake.uploaded[cid] = body


def _groups(fake: FakeServices, body: Tree) -> object:
    return {"server_group": fake.make("server_groups", **body["server_group"], members=[])}


def _pools(fake: FakeServices, query: Mapping[str, str]) -> object:
    return {"pools": [{"id": cid, "name": name} for name, cid in fake.pools.items() if name == query["name"]]}


def _members(fake: FakeServices, pool: str, query: Mapping[str, str]) -> object:
    return {"members": [
        item for item in fake.kept["members"].values()
        if item["pool"] == pool and item["name"] == query["name"] and query.get("protocol_port") in (None, str(item["protocol_port"]))]}


def _join(fake: FakeServices, pool: str, body: Tree) -> object:
    return {"member": fake.make("members", pool=pool, **body["member"])}


def _gone(kind: str) -> Callable[..., None]:
    def delete(fake: FakeServices, *cids: str, body: object) -> None:
        fake.get(kind, cids[-1])
        del fake.kept[kind][cids[-1]]

    return delete


def _floating(fake: FakeServices, query: Mapping[str, str]) -> object:
    address = query["floating_ip_address"]
    return {"floatingips": [item for item in fake.kept["floatingips"].values() if item["floating_ip_address"] == address]}


def _lead(fake: FakeServices, cid: str, body: Tree) -> object:
    fake.get("floatingips", cid).update(body["floatingip"])
    return {"floatingip": fake.get("floatingips", cid)}


def _set_metadata(kind: str) -> Callable[..., object]:
    def replace(fake: FakeServices, cid: str, body: Tree) -> object:
        fake.get(kind, cid)["metadata"] = body["metadata"]
        return body

    return replace


def _rename(fake: FakeServices, cid: str, body: Tree) -> object:
    fake.get("servers", cid)["name"] = body["server"]["name"]
    return {"server": {**_shown(fake, fake.get("servers", cid))}}


def _security_groups(fake: FakeServices, query: Mapping[str, str]) -> object:
    known = (("web", 1), ("db", 1), ("two", 1), ("two", 2))
    return {"security_groups": [{"id": f"sg-{name}-{number}", "name": name} for name, number in known]}


def _limits(fake: FakeServices, query: Mapping[str, str]) -> object:
    return {"limits": {"absolute": fake.limits}}


def _quota(fake: FakeServices, project: str, query: Mapping[str, str]) -> object:
    return {"quota": {"port": {"limit": 100, "used": len(fake.kept["ports"]), "reserved": 0}}}


def _network(fake: FakeServices, cid: str, query: Mapping[str, str]) -> object:
    if cid not in (NETWORK, SECOND):
        raise Refused(404, {"NeutronError": {"type": "NetworkNotFound", "message": "Network could not be found.", "detail": ""}})
    return {"network": {"id": cid, "name": "n", "status": "ACTIVE", "subnets": [SUBNET]}}


def _networks(fake: FakeServices, query: Mapping[str, str]) -> object:
    return {"networks": []}


def _zones(fake: FakeServices, query: Mapping[str, str]) -> object:
    return {"availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": True}}]}


def _types(fake: FakeServices, query: Mapping[str, str]) -> object:
    return {"volume_types": [{"id": "t", "name": "fast"}]}


def _subnet(fake: FakeServices, cid: str, query: Mapping[str, str]) -> object:
    return {"subnet": {"id": cid, "cidr": "10.0.8.0/22", "gateway_ip": "10.0.8.1", "dns_nameservers": ["10.0.8.2"]}}


_ID = "([^/?]+)"
ROUTES: list[tuple[str, str, Callable[..., object]]] = [
    ("GET", "/compute/flavors", _flavors), ("GET", "/compute/limits", _limits), ("GET", "/volume/limits", _limits),
    ("GET", f"/network/v2.0/quotas/{_ID}/details", _quota), ("GET", "/network/v2.0/networks", _networks),
    ("GET", f"/network/v2.0/networks/{_ID}", _network), ("GET", "/compute/os-availability-zone", _zones), ("GET", "/volume/types", _types),
    ("GET", "/volume/volumes", _simple("volumes")), ("GET", "/volume/messages", _messages),
    ("GET", "/compute/flavors/detail", _flavors), ("GET", "/compute/servers/detail", _servers), ("GET", f"/compute/servers/{_ID}", _server),
    ("POST", "/compute/servers", _create_server), ("DELETE", f"/compute/servers/{_ID}", _delete_server),
    ("PUT", f"/compute/servers/{_ID}/metadata", _set_metadata("servers")), ("PUT", f"/compute/servers/{_ID}", _rename),
    ("POST", f"/compute/servers/{_ID}/os-volume_attachments", _attach), ("POST", f"/compute/servers/{_ID}/action", _act_server),
    ("DELETE", f"/compute/servers/{_ID}/os-volume_attachments/{_ID}", _detach),
    ("GET", "/compute/os-server-groups", _simple("server_groups")), ("POST", "/compute/os-server-groups", _groups),
    ("GET", f"/compute/os-server-groups/{_ID}", _one("server_groups", "server_group")),
    ("DELETE", f"/compute/os-server-groups/{_ID}", _gone("server_groups")),
    ("GET", "/network/v2.0/ports", _ports), ("POST", "/network/v2.0/ports", _create_port),
    ("DELETE", f"/network/v2.0/ports/{_ID}", _delete_port),
    ("PUT", f"/network/v2.0/ports/{_ID}/tags/{_ID}", _tag_port), ("GET", "/network/v2.0/floatingips", _floating),
    ("PUT", f"/network/v2.0/floatingips/{_ID}", _lead), ("GET", "/network/v2.0/security-groups", _security_groups),
    ("GET", f"/network/v2.0/subnets/{_ID}", _subnet),
    ("GET", "/volume/volumes/detail", _simple("volumes")), ("GET", f"/volume/volumes/{_ID}", _one("volumes", "volume")),
    ("POST", "/volume/volumes", _create_volume), ("DELETE", f"/volume/volumes/{_ID}", _delete_volume),
    ("POST", f"/volume/volumes/{_ID}/action", _act_volume), ("PUT", f"/volume/volumes/{_ID}/metadata", _set_metadata("volumes")),
    ("GET", "/volume/snapshots/detail", _simple("snapshots")), ("GET", f"/volume/snapshots/{_ID}", _one("snapshots", "snapshot")),
    ("POST", "/volume/snapshots", _create_snapshot), ("DELETE", f"/volume/snapshots/{_ID}", _gone("snapshots")),
    ("GET", "/image/v2/images", _images), ("GET", f"/image/v2/images/{_ID}", _one("images", "")),
    ("POST", "/image/v2/images", _create_image),
    ("PUT", f"/image/v2/images/{_ID}/file", _upload), ("DELETE", f"/image/v2/images/{_ID}", _gone("images")),
    ("GET", "/load_balancer/v2/lbaas/pools", _pools), ("GET", f"/load_balancer/v2/lbaas/pools/{_ID}/members", _members),
    ("POST", f"/load_balancer/v2/lbaas/pools/{_ID}/members", _join),
    ("DELETE", f"/load_balancer/v2/lbaas/pools/{_ID}/members/{_ID}", _gone("members")),
]
