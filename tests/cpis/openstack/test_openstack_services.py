"""OpenStack keeps the contract: the suite, and what only OpenStack has, against the REAL services (`make test-openstack`).

Numbers are rows of the CPI contract's table of mistakes, section 13.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from cpis.cloud import tags
from cpis.conformance import CASES, Case, check
from cpis.conformance.clouds.openstack import Lab, seed
from cpis.contract import Conflict, CpiError, Denied, DiskRequest, Invalid, Network, NoCapacity, NotFound, Quota
from cpis.openstack import OpenStackCpi
from tests.cpis.openstack.real import ours, refused, until, wish, with_properties

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(900), pytest.mark.usefixtures("nothing_left")]


@pytest.fixture
def cpi(real_cpi: OpenStackCpi) -> OpenStackCpi:
    return real_cpi


CHOICE = "CAISSON_OPENSTACK_CASES"
"""Environment variable: with `few` only those cases of the suite whose outcome is the services' more than ours (for CI's sake)."""

FEW = frozenset({
    "vm_lives_and_dies", "vm_token_is_known_to_another_process", "vm_token_is_not_reused", "unknown_is_not_there", "everything_is_owned",
    "several_networks", "vip_follows_its_machine", "many_tags_lose_ours_last", "disk_attaches_and_detaches", "attached_disk_is_safe",
    "disk_survives_its_machine", "disk_grows_and_does_not_shrink", "snapshot_lives_and_dies", "address_conflict_leaves_nothing",
    "disk_of_another_zone_is_refused", "too_much_user_data_is_refused", "two_attaches_at_once", "one_address_to_two_machines_at_once",
})


def chosen() -> list[Case]:
    return [case for case in CASES if case.name in FEW] if os.environ.get(CHOICE) == "few" else list(CASES)


def test_the_few_are_cases() -> None:
    assert {case.name for case in CASES} >= FEW


@pytest.mark.parametrize("case", chosen(), ids=lambda case: case.name)
def test_openstack_keeps_the_contract(lab: Lab, cpi: OpenStackCpi, case: Case) -> None:
    site = dataclasses.replace(lab.site(), again=lambda: ours(lab))  # a second process of the same director
    (outcome,) = check(cpi, site, [case])
    assert not outcome.detail, outcome.detail
    if outcome.skipped:
        pytest.skip(outcome.skipped)


# Machines

def test_a_machine_as_the_services_see_it(lab: Lab, cpi: OpenStackCpi, api: seed.Api) -> None:
    networks = (*lab.site().networks(0)[:1], Network("inner", "dynamic", cloud_properties={"net_id": lab.seeded.second_network}))
    request = dataclasses.replace(
        with_properties(lab, allowed_address_pairs="10.10.0.99"), networks=networks)
    vm = cpi.create_vm(request)
    server = api("GET", "nova", f"/servers/{vm.cid}")["server"]
    assert (server["status"], server["name"], server["config_drive"]) == ("ACTIVE", request.token, "True")
    assert sorted(server["tags"]) == ["director=tests", request.token]
    assert server["metadata"] == {
        tags.TOKEN: request.token, tags.SHAPE: server["metadata"][tags.SHAPE], "director": "tests", "name": "router/0"}
    ports = {port["network_id"]: port for port in api("GET", "neutron", f"/v2.0/ports?device_id={vm.cid}")["ports"]}
    gateway, inner = ports[lab.seeded.network], ports[lab.seeded.second_network]
    assert [item["ip_address"] for item in gateway["fixed_ips"]] == ["10.10.0.20"]
    assert [item["ip_address"] for item in gateway["allowed_address_pairs"]] == ["10.10.0.99"]
    assert not gateway["extra_dhcp_opts"]
    assert {option["opt_name"] for option in inner["extra_dhcp_opts"]} == {"router", "classless-static-route"}
    assert [item["ip_address"] for item in inner["fixed_ips"]] == [vm.networks[1].ip]
    assert vm.networks[1].gateway == "10.11.0.1"
    assert {port["description"] for port in ports.values()} == {"director=tests"}
    assert vm.ssh_address == "10.10.0.20"
    cpi.delete_vm(vm.cid)


def test_requests_of_a_machine(lab: Lab, cpi: OpenStackCpi) -> None:
    """One look-up, the port, the server, and looks until it runs; nothing else, once the login and the flavors are known."""
    cpi.delete_vm(cpi.create_vm(wish(lab)).cid)
    lab.forget_requests()
    vm = cpi.create_vm(wish(lab))
    made = [(method, path.split("?")[0]) for method, path in lab.requests()]
    assert made[:3] == [("GET", "/neutron/v2.0/ports"), ("POST", "/neutron/v2.0/ports"), ("POST", "/nova/v2.1/servers")]
    assert set(made[3:]) == {("GET", f"/nova/v2.1/servers/{vm.cid}")}
    print(f"requests of create_vm: 3 and {len(made) - 3} looks")
    cpi.delete_vm(vm.cid)


def test_security_groups(lab: Lab, cpi: OpenStackCpi, api: seed.Api) -> None:
    """Row 19, section 9.4: ids on the ports; a name that two have is refused."""
    made = [api("POST", "neutron", "/v2.0/security-groups", {"security_group": {"name": name}})["security_group"]["id"]
            for name in ("web", "twice", "twice")]
    try:
        vm = cpi.create_vm(with_properties(lab, security_groups=["web", made[1]]))
        (port,) = api("GET", "neutron", f"/v2.0/ports?device_id={vm.cid}")["ports"]
        assert sorted(port["security_groups"]) == sorted(made[:2])
        cpi.delete_vm(vm.cid)
        refused(cpi, with_properties(lab, security_groups=["twice"]), Invalid, "2 security groups are named 'twice'")
        refused(cpi, with_properties(lab, security_groups=["wep"]), Invalid, "no security group 'wep'")
        refused(cpi, with_properties(lab, security_groups=[str(uuid.uuid4())]), Invalid, "does not exist")
    finally:
        for cid in made:
            api("DELETE", "neutron", f"/v2.0/security-groups/{cid}")


def test_a_floating_address(lab: Lab, cpi: OpenStackCpi, api: seed.Api) -> None:
    vip = Network("public", "vip", lab.seeded.floating_ip)
    request = wish(lab, networks=(*lab.site().networks(0), vip))
    vm = cpi.create_vm(request)
    (floating,) = api("GET", "neutron", "/v2.0/floatingips")["floatingips"]
    assert floating["fixed_ip_address"] == "10.10.0.20"
    assert cpi.create_vm(request) == vm
    refused(cpi, wish(lab, 1, networks=(*lab.site().networks(1), vip)), Conflict, lab.seeded.floating_ip)
    nobodys = Network("public", "vip", "203.0.113.250")
    refused(cpi, wish(lab, 1, networks=(*lab.site().networks(1), nobodys)), Invalid, "no floating address")
    cpi.delete_vm(vm.cid)
    assert api("GET", "neutron", "/v2.0/floatingips")["floatingips"][0]["port_id"] is None


@pytest.mark.parametrize(
    ("properties", "kind", "words"),
    [({"instance_type": "m1.tinny"}, Invalid, "no flavor 'm1.tinny'"), ({"key_name": "nobody"}, Invalid, "[Kk]ey"),
     ({"availability_zone": "nowhere"}, Invalid, "availability zone"),
     ({"scheduler_hints": {"group": str(uuid.uuid4())}}, Invalid, "group"),
     ({"instance_type": "m1.huge"}, NoCapacity, "No valid host")],
)
def test_refusals_leave_nothing(lab: Lab, cpi: OpenStackCpi, properties: dict[str, Any], kind: type[CpiError], words: str) -> None:
    refused(cpi, with_properties(lab, **properties), kind, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"ip": "10.99.0.5"}, "not a valid IP"), ({"ip": "no address"}, "no address|not a valid"),
     ({"cloud_properties": {"net_id": str(uuid.uuid4())}}, "could not be found"), ({"cloud_properties": {"net_id": "private"}}, "private")],
)
def test_wrong_networks_leave_nothing(lab: Lab, cpi: OpenStackCpi, changes: dict[str, Any], words: str) -> None:
    (network,) = lab.site().networks(0)
    refused(cpi, wish(lab, networks=(dataclasses.replace(network, **changes),)), Invalid, words)


def test_an_unknown_image_leaves_nothing(lab: Lab, cpi: OpenStackCpi) -> None:
    with pytest.raises((Invalid, NotFound)):
        cpi.create_vm(wish(lab, stemcell_cid=str(uuid.uuid4())))


def test_quota_in_novas_words(lab: Lab, cpi: OpenStackCpi, admin: seed.Api) -> None:
    quota = f"/os-quota-sets/{lab.seeded.project}"
    admin("PUT", "nova", quota, {"quota_set": {"instances": 1}})
    try:
        vm = cpi.create_vm(wish(lab))
        error = refused(cpi, wish(lab, 1), Quota, "Quota exceeded for instances")
        assert (error.used, error.limit) == ("instances 1", "instances 1")
        cpi.delete_vm(vm.cid)
    finally:
        admin("PUT", "nova", quota, {"quota_set": seed.QUOTA_COMPUTE})


def test_quota_of_ports_and_volumes(lab: Lab, cpi: OpenStackCpi, admin: seed.Api) -> None:
    project = lab.seeded.project
    admin("PUT", "neutron", f"/v2.0/quotas/{project}", {"quota": {"port": 1}})
    admin("PUT", "cinder", f"/os-quota-sets/{project}", {"quota_set": {"volumes": 0}})
    try:
        refused(cpi, wish(lab), Quota, "port")
        with pytest.raises(Quota, match="volumes allowed") as caught:
            cpi.create_disk(DiskRequest(f"disk-{uuid.uuid4()}", 1024))
        assert caught.value.limit == "0"
    finally:
        admin("DELETE", "neutron", f"/v2.0/quotas/{project}")
        admin("PUT", "cinder", f"/os-quota-sets/{project}", {"quota_set": seed.QUOTA_VOLUMES})


def test_the_next_zone_when_one_is_full(lab: Lab, cpi: OpenStackCpi, api: seed.Api) -> None:
    """The second zone has no hypervisor with so much memory."""
    request = wish(lab, cloud_properties={"instance_type": "m1.large", "availability_zones": ["z2", "nova"]})
    vm = cpi.create_vm(request)
    assert api("GET", "nova", f"/servers/{vm.cid}")["server"]["OS-EXT-AZ:availability_zone"] == "nova"
    assert len(api("GET", "nova", "/servers")["servers"]) == 1
    cpi.delete_vm(vm.cid)
    refused(cpi, wish(lab, cloud_properties={"instance_type": "m1.large", "availability_zone": "z2"}), NoCapacity, "No valid host")


def test_instance_groups_are_kept_apart(lab: Lab, api: seed.Api) -> None:
    with contextlib.closing(OpenStackCpi({**lab.config, "director": "tests", "enable_auto_anti_affinity": True})) as cpi:
        vm = cpi.create_vm(wish(lab, env={"bosh": {"group": "tests-foundation-router"}}))
        (group,) = api("GET", "nova", "/os-server-groups")["server_groups"]
        assert (group["policy"], group["members"]) == ("soft-anti-affinity", [vm.cid])
        cpi.delete_vm(vm.cid)
        assert not api("GET", "nova", "/os-server-groups")["server_groups"]


def test_the_ephemeral_disk_is_told(lab: Lab, cpi: OpenStackCpi) -> None:
    vm = cpi.create_vm(with_properties(lab, instance_type="m1.ephemeral"))
    assert vm.ephemeral_disk is not None
    cpi.delete_vm(vm.cid)


def test_a_machine_that_is_off_is_started(lab: Lab, cpi: OpenStackCpi, api: seed.Api) -> None:
    vm = cpi.create_vm(wish(lab))
    api("POST", "nova", f"/servers/{vm.cid}/action", {"os-stop": None})
    until(lambda: api("GET", "nova", f"/servers/{vm.cid}")["server"]["status"] == "SHUTOFF")
    cpi.reboot_vm(vm.cid)
    assert api("GET", "nova", f"/servers/{vm.cid}")["server"]["status"] == "ACTIVE"
    cpi.delete_vm(vm.cid)


def test_a_deletion_that_ended_in_the_middle(lab: Lab, cpi: OpenStackCpi, api: seed.Api) -> None:
    """The server is gone and its port stays: the next deletion by the same CID finds it, and the address is free."""
    vm = cpi.create_vm(wish(lab))
    (port,) = api("GET", "neutron", f"/v2.0/ports?device_id={vm.cid}")["ports"]
    api("PUT", "neutron", f"/v2.0/ports/{port['id']}/tags/server={vm.cid}")
    api("DELETE", "nova", f"/servers/{vm.cid}")
    until(lambda: not api("GET", "nova", "/servers")["servers"])
    assert [found.kind for found in cpi.owned()] == ["vm"]
    cpi.delete_vm(vm.cid)
    assert not cpi.owned()


def test_human_readable_names(lab: Lab, api: seed.Api) -> None:
    with contextlib.closing(OpenStackCpi({**lab.config, "director": "tests", "human_readable_vm_names": True})) as cpi:
        request = wish(lab)
        vm = cpi.create_vm(request)
        assert api("GET", "nova", f"/servers/{vm.cid}")["server"]["name"] == "router/0"
        cpi.set_vm_metadata(vm.cid, {"name": "router/1", "emoji": "\U0001f600"})
        assert api("GET", "nova", f"/servers/{vm.cid}")["server"]["name"] == "router/1"
        assert [found.cid for found in cpi.find(request.token)] == [vm.cid]
        cpi.delete_vm(vm.cid)


# Disks

def disk(cpi: OpenStackCpi, **changes: Any) -> str:
    return cpi.create_disk(DiskRequest(f"disk-{uuid.uuid4()}", 1024, **changes))


def test_another_volume_type(cpi: OpenStackCpi, api: seed.Api) -> None:
    cid = disk(cpi)
    assert cpi.update_disk(cid, 2048, {"type": "fast"}) == cid
    volume = api("GET", "cinder", f"/volumes/{cid}")["volume"]
    assert (volume["volume_type"], volume["size"]) == ("fast", 2)
    with pytest.raises(Invalid, match="no volume type 'slow'"):
        cpi.update_disk(cid, 2048, {"type": "slow"})
    cpi.delete_disk(cid)


def test_an_unknown_volume_type_leaves_nothing(cpi: OpenStackCpi) -> None:
    with pytest.raises((Invalid, NotFound), match="slow"):
        disk(cpi, cloud_properties={"type": "slow"})


def test_a_disk_follows_its_machine_to_its_zone(lab: Lab, cpi: OpenStackCpi, api: seed.Api) -> None:
    vm = cpi.create_vm(with_properties(lab, availability_zone="z2"))
    cid = disk(cpi, vm_cid=vm.cid)
    assert api("GET", "cinder", f"/volumes/{cid}")["volume"]["availability_zone"] == "z2"
    cpi.delete_vm(vm.cid)
    cpi.delete_disk(cid)


def test_a_snapshot_of_an_attached_disk(lab: Lab, cpi: OpenStackCpi, api: seed.Api) -> None:
    vm, cid, token = cpi.create_vm(wish(lab)), disk(cpi), f"snapshot-{uuid.uuid4()}"
    cpi.attach_disk(vm.cid, cid)
    snapshot = cpi.snapshot_disk(cid, {"deployment": "foundation", "index": "0"}, token)
    metadata = api("GET", "cinder", f"/snapshots/{snapshot}")["snapshot"]["metadata"]
    assert metadata == {tags.TOKEN: token, "director": "tests", "deployment": "foundation", "index": "0"}
    cpi.delete_vm(vm.cid)
    cpi.delete_disk(cid)


# Stemcells

@pytest.mark.parametrize(("head", "form"), [(b"", "raw"), (b"QFI\xfb\x00\x00\x00\x03", "qcow2")])
def test_heavy_stemcells(cpi: OpenStackCpi, api: seed.Api, tmp_path: Path, head: bytes, form: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(head + os.urandom(3_000_000))
    token = f"stemcell-{uuid.uuid4()}"
    if form == "qcow2":  # Glance looks into it, and finds no image of that format
        with pytest.raises(CpiError):
            cpi.create_stemcell(str(path), {"name": "caisson", "version": 1.2, "disk": 1024, "os_type": "linux"}, token)
        return
    cid = cpi.create_stemcell(str(path), {"name": "caisson", "version": 1.2, "disk": 1024, "os_type": "linux"}, token)
    image = api("GET", "glance", f"/v2/images/{cid}")
    assert (image["disk_format"], image["status"], image["size"], image["min_disk"]) == (form, "active", path.stat().st_size, 1)
    assert [found.cid for found in cpi.find(token)] == [cid]
    assert cid in [found.cid for found in cpi.owned()]
    cpi.delete_stemcell(cid)


def test_a_machine_of_an_uploaded_image(lab: Lab, cpi: OpenStackCpi, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(1_000_000))
    stemcell = cpi.create_stemcell(str(path), {}, f"stemcell-{uuid.uuid4()}")
    vm = cpi.create_vm(wish(lab, stemcell_cid=stemcell))
    cpi.delete_vm(vm.cid)
    cpi.delete_stemcell(stemcell)


def test_public_images_need_a_right(lab: Lab, tmp_path: Path) -> None:
    """And leave nothing without it."""
    path = tmp_path / "image"
    path.write_bytes(bytes(1000))
    with contextlib.closing(OpenStackCpi({**lab.config, "stemcell_public_visibility": True})) as cpi, pytest.raises(Denied):
        cpi.create_stemcell(str(path), {}, f"stemcell-{uuid.uuid4()}")
