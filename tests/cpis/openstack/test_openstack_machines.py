"""What machines are made with, and what is said of what cannot be. Against the FAKE services: for what the real ones do not show.

Numbers are rows of the CPI contract's table of mistakes, section 13.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cpis.cloud import tags
from cpis.contract import Conflict, CpiError, Invalid
from cpis.openstack import OpenStackCpi
from tests.cpis.openstack.conftest import LOGIN, Time, made, network, request
from tests.cpis.openstack.fake_services import SECOND, FakeServices, Fault

pytestmark = pytest.mark.walk

SERVERS = r"POST /compute/servers$"


def servers(services: FakeServices) -> list[dict[str, Any]]:
    return list(services.kept["servers"].values())


# Tokens and marks

def test_the_same_token_with_other_arguments(services: FakeServices, cpi: OpenStackCpi) -> None:
    vm = cpi.create_vm(request())
    for changed in ({"stemcell_cid": "image-2 light"}, {"networks": (network(11),)}, {"cloud_properties": {"instance_type": "large"}}):
        with pytest.raises(Conflict, match=vm.cid):
            cpi.create_vm(request(**changed))
    assert cpi.create_vm(request()).cid == vm.cid


def test_everything_carries_token_and_mark_in_the_creating_request(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Section 4.1. The caller's `director` does not hide ours."""
    token = request().token
    cpi.create_vm(request())
    (server,) = servers(services)
    assert server["tags"] == [token, "director=tests"]
    assert (server["metadata"][tags.TOKEN], server["metadata"]["director"]) == (token, "tests")
    (port,) = services.kept["ports"].values()
    assert (port["name"], port["description"]) == (token, "director=tests")


def test_pages(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 25: a machine on the second page is found, and so is a flavor."""
    services.page = 2
    vms = [cpi.create_vm(request(f"vm-{number}", networks=(network(20 + number),))).cid for number in range(5)]
    assert {found.cid for found in cpi.owned()} == set(vms)
    assert cpi.create_vm(request("vm-9", cloud_properties={"instance_type": "rootless"})).cid


def test_another_directors_things_are_not_ours(services: FakeServices, times: Time) -> None:
    ours, theirs = made(services, times), OpenStackCpi({**services.config(), "director": "x"}, clock=times.clock, sleep=times.sleep)
    vm = theirs.create_vm(request("vm-theirs"))
    assert not ours.owned()
    assert [found.cid for found in theirs.owned()] == [vm.cid]
    ours.close()
    theirs.close()


def test_metadata_of_ours_stay(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Rows 15 and 16: replaced, cut and cleaned; too many are dropped; a character that databases do not take is replaced."""
    vm = cpi.create_vm(request())
    odd: dict[str, Any] = {
        "long": "x" * 300, "a/b": "1", "empty": "", "null": None, "emoji": "a\U0001f600b", **{f"k{number}": "v" for number in range(200)}}
    cpi.set_vm_metadata(vm.cid, odd)
    metadata = servers(services)[0]["metadata"]
    assert metadata[tags.TOKEN] == request().token
    assert metadata["director"] == "tests"
    assert len(metadata) == 128
    assert all(len(key) <= 255 and len(value) <= 255 and value for key, value in metadata.items())
    assert metadata["a-b"] == "1"
    assert "name" not in metadata
    cpi.set_vm_metadata(vm.cid, {"emoji": "a\U0001f600b"})
    assert servers(services)[0]["metadata"]["emoji"] == "a-b"
    assert [found.cid for found in cpi.find(request().token)] == [vm.cid]


@pytest.mark.parametrize("readable", [False, True])
def test_names_of_machines(services: FakeServices, times: Time, readable: bool) -> None:
    cpi = made(services, times, human_readable_vm_names=readable)
    vm = cpi.create_vm(request())
    assert servers(services)[0]["name"] == ("router/0" if readable else request().token)
    cpi.set_vm_metadata(vm.cid, {"name": "router/1"})
    assert servers(services)[0]["name"] == ("router/1" if readable else request().token)
    assert [found.cid for found in cpi.find(request().token)] == [vm.cid]
    cpi.close()


# What a machine is made with

def test_default_route_of_the_gateways_network_only(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 17: DHCP of the others offers none."""
    networks = (
        network(5, name="inner", default=("dns",), cloud_properties={"net_id": SECOND}), network(6, default=("gateway",)))
    vm = cpi.create_vm(request(networks=networks))
    first, second = services.kept["ports"].values()
    assert {option["opt_name"]: option["opt_value"] for option in first["extra_dhcp_opts"]} == {"router": "", "classless-static-route": ""}
    assert "extra_dhcp_opts" not in second
    assert vm.ssh_address == "10.0.0.6"


@pytest.mark.parametrize(
    ("own", "first", "second", "default", "groups"),
    [(["db"], ["web"], ["web"], ["web"], ["sg-db-1"]), (None, ["web"], ["db"], ["x"], ["sg-web-1", "sg-db-1"]),
     (None, None, None, ["web"], ["sg-web-1"]), (None, None, None, None, None),
     (["f00d0000-0000-4000-8000-000000000000"], None, None, None, ["f00d0000-0000-4000-8000-000000000000"])],
)
def test_security_groups(
    services: FakeServices, times: Time, own: Any, first: Any, second: Any, default: Any, groups: list[str] | None,
) -> None:
    """Row 19: the type's, else those of all networks, else the config's; ids go to the ports."""
    cpi = made(services, times, **({"default_security_groups": default} if default else {}))
    networks = (
        network(5, cloud_properties={"net_id": SECOND, **({"security_groups": first} if first else {})}),
        network(6, cloud_properties={"net_id": SECOND, **({"security_groups": second} if second else {})}))
    cpi.create_vm(request(networks=networks, cloud_properties={"instance_type": "small", **({"security_groups": own} if own else {})}))
    assert [port.get("security_groups") for port in services.kept["ports"].values()] == [groups, groups]
    cpi.close()


@pytest.mark.parametrize(
    ("properties", "words", "hint"),
    [({"instance_type": "smal"}, "no flavor 'smal'", "large, rootless, small"), ({"instance_type": "bad-eph"}, "needs 8 GiB", "larger"),
     ({"instance_type": "small", "security_groups": ["two"]}, "2 security groups are named 'two'", "sg-two-1, sg-two-2"),
     ({"instance_type": "small", "security_groups": ["wep"]}, "no security group 'wep'", "db, two, web"),
     ({"instance_type": "small", "loadbalancer_pools": [{"name": "other", "port": 80}]}, "no load balancer pool 'other'", "pool list"),
     ({"instance_type": "rootless", "boot_from_volume": True}, "no root disk", "root_disk.size"),
     ({"instance_type": "small", "instance_typ": 1}, "instance_typ", "instance_type"), ({}, "'instance_type' is missing", "flavor")],
)
def test_wrong_properties_leave_nothing(
    services: FakeServices, cpi: OpenStackCpi, properties: dict[str, Any], words: str, hint: str,
) -> None:
    """Row 30 and the bad input list: said before anything is made, with what exists."""
    with pytest.raises(Invalid, match=words) as caught:
        cpi.create_vm(request(cloud_properties=properties))
    assert hint in caught.value.suggestion
    assert not services.left()
    assert not services.count("POST", "/(compute|network|volume)/")


@pytest.mark.parametrize(
    ("networks", "words"),
    [((), "manual or dynamic"), ((network(type="vip"),), "manual or dynamic"), ((network(ip=""),), "has no address"),
     ((network(type="flat"),), "unknown type"), ((network(cloud_properties={}),), "net_id"),
     ((network(cloud_properties={"net_id": "net-1", "secgroups": []}),), "secgroups"),
     ((network(), network(name="public", type="vip", ip="203.0.113.9")), "no floating address 203.0.113.9")],
)
def test_wrong_networks_leave_nothing(services: FakeServices, cpi: OpenStackCpi, networks: Any, words: str) -> None:
    """Row 18 and others."""
    with pytest.raises(Invalid, match=words):
        cpi.create_vm(request(networks=networks))
    assert not services.left()


def test_an_unknown_network_leaves_nothing(services: FakeServices, cpi: OpenStackCpi) -> None:
    with pytest.raises(Invalid, match="Network could not be found"):
        cpi.create_vm(request(networks=(network(cloud_properties={"net_id": "net-9"}),)))
    assert not services.left()


def test_user_data_that_is_too_long(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 26, with OpenStack's limit, before any request."""
    login = type(LOGIN)("caisson", "k" * 50_000, "h", "S3CRET")
    with pytest.raises(Invalid, match="65535"):
        cpi.create_vm(request(login=login))
    assert not services.log


def test_settings_of_a_bosh_agent_are_the_user_data(services: FakeServices, cpi: OpenStackCpi) -> None:
    settings = json.dumps({"agent_id": "a", "mbus": "nats://x"})
    cpi.create_vm(request(login=type(LOGIN)("", "", "", "", settings)))
    (body,) = [body for method, path, body in services.bodies if (method, path) == ("POST", "/compute/servers")]
    assert base64.b64decode(body["server"]["user_data"]).decode() == settings


def test_an_address_taken_names_who_has_it(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Section 9.4."""
    vm = cpi.create_vm(request())
    with pytest.raises(Conflict, match=vm.cid) as caught:
        cpi.create_vm(request("vm-other"))
    assert caught.value.resource == "10.0.0.10"
    assert len(services.kept["ports"]) == 1


def test_an_address_just_given_back_is_asked_for_again(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 21."""
    taken = {"NeutronError": {"type": "IpAddressAlreadyAllocated", "message": "IP address 10.0.0.10 already allocated in subnet s"}}
    services.faults = [Fault("POST /network/v2.0/ports", answer=(409, taken, {}), times=2)]
    assert cpi.create_vm(request()).networks[0].ip == "10.0.0.10"


def test_a_dynamic_network_tells_what_it_was_given(services: FakeServices, cpi: OpenStackCpi) -> None:
    vm = cpi.create_vm(request(networks=(network(type="dynamic", ip="", gateway="", default=()),)))
    (told,) = vm.networks
    assert (told.ip, told.prefix_length, told.gateway, told.dns) == ("10.0.9.2", 22, "10.0.8.1", ("10.0.8.2",))
    assert vm.ssh_address == "10.0.9.2"


def floating(services: FakeServices, address: str, port: str | None = None) -> dict[str, Any]:
    return services.make("floatingips", floating_ip_address=address, port_id=port)


def test_a_floating_address_leads_to_the_gateways_port(services: FakeServices, cpi: OpenStackCpi) -> None:
    ours = floating(services, "203.0.113.9")
    vip = network(name="public", type="vip", ip="203.0.113.9", default=(), cloud_properties={})
    wish = request(networks=(network(5, name="inner", default=(), cloud_properties={"net_id": SECOND}), network(6), vip))
    vm = cpi.create_vm(wish)
    port = next(port for port in services.kept["ports"].values() if port["id"] == ours["port_id"])
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.6" == vm.ssh_address
    assert cpi.create_vm(wish) == vm
    with pytest.raises(Conflict, match=r"203\.0\.113\.9"):
        cpi.create_vm(request("vm-other", networks=(network(7), vip)))


def test_pools_of_load_balancers(services: FakeServices, cpi: OpenStackCpi) -> None:
    """While a load balancer changes it refuses, and that is waited out. Two ports are two members."""
    busy = (409, {"faultcode": "Client", "faultstring": "Load Balancer lb is immutable and cannot be updated."}, {})
    services.faults = [Fault("(POST|DELETE) /load_balancer", answer=busy, times=2)]
    wish = request(cloud_properties={"instance_type": "small", "loadbalancer_pools": [
        {"name": "web", "port": 8080}, {"name": "web", "port": 8443}]})
    vm = cpi.create_vm(wish)
    assert cpi.create_vm(wish).cid == vm.cid
    members = services.kept["members"].values()
    assert [(member["address"], member["protocol_port"], member["name"]) for member in members] == [
        ("10.0.0.10", port, wish.token) for port in (8080, 8443)]
    cpi.delete_vm(vm.cid)
    assert not services.left()


def test_instance_groups_are_kept_apart(services: FakeServices, times: Time) -> None:
    cpi = made(services, times, enable_auto_anti_affinity=True)
    env = {"bosh": {"group": "tests-app-router"}}
    vms = [cpi.create_vm(request(f"vm-{number}", networks=(network(number),), env=env)).cid for number in (5, 6)]
    (group,) = services.kept["server_groups"].values()
    hints = [body["os:scheduler_hints"] for method, path, body in services.bodies if (method, path) == ("POST", "/compute/servers")]
    assert hints == [{"group": group["id"]}] * 2
    assert (group["name"], group["policy"]) == ("director=tests/tests-app-router", "soft-anti-affinity")
    group["members"] = list(vms)
    cpi.delete_vm(vms[0])
    assert services.kept["server_groups"]
    cpi.delete_vm(vms[1])
    assert not services.left()
    cpi.close()


def test_boot_from_volume(services: FakeServices, cpi: OpenStackCpi) -> None:
    """The root volume is made before, with marks; it is no persistent disk, and goes with the machine."""
    properties = {"instance_type": "small", "boot_from_volume": True, "root_disk": {"size": 30, "type": "fast"}}
    vm = cpi.create_vm(request(cloud_properties=properties))
    (root,) = services.kept["volumes"].values()
    assert (root["size"], root["volume_type"], root["imageRef"], root["name"]) == (30, "fast", "image-1", request().token)
    assert not cpi.get_disks(vm.cid)
    assert [found.kind for found in cpi.owned()] == ["vm"]
    assert [found.kind for found in cpi.find(request().token)] == ["vm"]
    cpi.delete_vm(vm.cid)
    assert not services.left()


@pytest.mark.parametrize("failing", ["GET /volume/volumes/(?!detail)", SERVERS])
def test_a_root_volume_that_fails_leaves_nothing(services: FakeServices, cpi: OpenStackCpi, failing: str) -> None:
    answer: Any = (400, {"badRequest": {"code": 400, "message": "Block Device Mapping is Invalid"}}, {})
    if failing.startswith("GET"):
        shown = {"volume": {"id": "v", "status": "error", "size": 10, "attachments": []}}
        answer = (200, shown, {})
    services.faults = [Fault(failing, answer=answer)]
    with pytest.raises(CpiError):
        cpi.create_vm(request(cloud_properties={"instance_type": "small", "boot_from_volume": True}))
    assert not services.left()


def test_the_ephemeral_disk_is_told(services: FakeServices, cpi: OpenStackCpi) -> None:
    assert cpi.create_vm(request()).ephemeral_disk is None
    hint = cpi.create_vm(request("vm-e", cloud_properties={"instance_type": "eph"}, networks=(network(7),))).ephemeral_disk
    assert hint is not None
    assert hint.path == "/dev/sdb"


@pytest.mark.parametrize(
    ("zone", "config", "ends"),
    [("z1", {}, "z1"), ("", {}, "z1"), ("z2", {}, None), ("z2", {"ignore_server_availability_zone": True}, "z2")],
)
def test_zones_of_disks(services: FakeServices, times: Time, zone: str, config: dict[str, Any], ends: str | None) -> None:
    """Row 31: before anything is made, naming both."""
    cpi = made(services, times, **config)
    disk = services.make("volumes", name="d", status="available", size=1, attachments=[], availability_zone="z1", metadata={})
    wish = request(
        cloud_properties={"instance_type": "small", **({"availability_zone": zone} if zone else {})}, disk_cids=(disk["id"],))
    if ends is None:
        with pytest.raises(Invalid, match=r"'z1'.*'z2'"):
            cpi.create_vm(wish)
        assert not servers(services)
        assert not services.kept["ports"]
    else:
        cpi.create_vm(wish)
        assert servers(services)[0]["zone"] == ends
    cpi.close()


def test_requests_of_a_machine(services: FakeServices, cpi: OpenStackCpi) -> None:
    """None needless: one look-up, the port, the server, and looks until it runs. Flavors are asked for once."""
    cpi.create_vm(request())
    before = len(services.log)
    cpi.create_vm(request("vm-2", networks=(network(11),)))
    verbs = [f"{method} {path.split('?')[0]}" for method, path in services.log[before:]]
    assert verbs[:3] == ["GET /network/v2.0/ports", "POST /network/v2.0/ports", "POST /compute/servers"]
    assert {verb.rsplit("/", 1)[0] for verb in verbs[3:]} == {"GET /compute/servers"}
    assert services.tokens == 1
