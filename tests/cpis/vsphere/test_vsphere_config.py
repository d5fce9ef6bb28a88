"""What is written for vSphere is checked before anything is asked of it. Source: CPI contract, section 10.1."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest

from cpis.cloud.schema import Schema
from cpis.contract import Invalid, Login, Network, NotSupported
from cpis.vsphere import VsphereCpi, config, guest
from cpis.vsphere.address import Address, newest_version, trust
from cpis.vsphere.config import Config, Pattern, Place, Rule

DATACENTER = {
    "name": "dc", "vm_folder": "vms", "template_folder": "templates", "disk_path": "disks", "datastore_pattern": "^ssd",
    "clusters": ["c1", "c2"],
}
CONFIG = {"host": "vcenter.example.com", "user": "u", "password": "hush-hush", "datacenters": [DATACENTER]}
MACHINE = {"cpu": 1, "ram": 512, "disk": 1024}
LOGIN = Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 BBBB", "the host's own key")


def net(**changes: Any) -> Network:
    base = Network(
        "default", ip="10.0.0.10", gateway="10.0.0.1", dns=("10.0.0.2",), default=("dns", "gateway"), cloud_properties={"name": "n"})
    return dataclasses.replace(base, **changes)


def test_all_keys_of_the_reference_are_known() -> None:
    schema = Schema.of("vsphere")
    keys = {section: {key.name for key in entries} for section, entries in schema.sections.items()}
    assert keys["az"] == {"datacenters"}
    assert keys["network"] == {"name"}
    assert keys["disk_type"] == {"type", "datastores"}
    assert keys["vm_type"] == {
        "cpu", "ram", "disk", "cpu_hot_add_enabled", "memory_hot_add_enabled", "cpu_reserve_full_mhz", "memory_reservation_locked_to_max",
        "upgrade_hw_version", "nested_hardware_virtualization", "enable_human_readable_name", "datastores", "datacenters", "tags",
        "vm_group", "disable_drs",
        "nsx", "nsxt", "vmx_options", "storage_policy", "pci_passthroughs", "vgpus", "device_groups", "root_disk_size_gb"}
    assert keys["cpi"] >= {
        "host", "address", "user", "password", "connection_options", "datacenters", "default_disk_type", "default_scsi_controller_type",
        "default_hw_version", "upgrade_hw_version", "enable_auto_anti_affinity_drs_rules", "ensure_no_ip_conflicts",
        "vm_storage_policy_name", "enable_human_readable_name", "cpu_reserve_full_mhz", "memory_reservation_locked_to_max", "vmx_options",
        "http_logging", "nsx", "nsxt"}


def test_defaults_of_the_reference() -> None:
    values = Config.read(CONFIG).values
    found = [values[key] for key in ("default_disk_type", "default_scsi_controller_type", "default_hw_version")]
    assert found == ["preallocated", "paravirtual", 17]
    assert values["ensure_no_ip_conflicts"] is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"host": None}, "'host' is missing"),
        ({"user": 7}, "'user' must be a string"),
        ({"pasword": "x"}, "unknown key 'pasword'"),
        ({"datacenters": []}, "exactly one, not 0"),
        ({"datacenters": [DATACENTER, DATACENTER]}, "exactly one, not 2"),
        ({"datacenters": [{**DATACENTER, "clusters": []}]}, "there is none"),
        ({"datacenters": [{**DATACENTER, "clusters": [7]}]}, "neither a name nor a hash"),
        ({"datacenters": [{**DATACENTER, "clusters": [{"c": {"pool": "x"}}]}]}, "unknown key 'pool'"),
        ({"datacenters": [{**DATACENTER, "clusters": [{"c": {"host_group": {"name": "h", "drs_rule": "MAY"}}}]}]}, "MUST or SHOULD"),
        ({"datacenters": [{**DATACENTER, "clusters": [{"c": {"drs_rules": [{"name": "x", "type": "join"}]}}]}]}, "is no DRS rule"),
        ({"datacenters": [{**DATACENTER, "datastore_pattern": "("}]}, "no regular expression"),
        ({"datacenters": [{**DATACENTER, "disk_path": "/"}]}, "folders of their own"),
        ({"datacenters": [{**DATACENTER, "vm_foldr": "x"}]}, "unknown key 'datacenters[0].vm_foldr'"),
        ({"default_disk_type": "thinn"}, "one of thin"),
        ({"connection_options": {"ca_cert": "/nowhere"}}, "holds no certificate"),
        ({"connection_options": {"ca_cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}}, "holds no certificate"),
        ({"host": "http://vcenter.example.com"}, "in the clear"),
        ({"host": "vcenter.example.com:port"}, "a port that is none"),
        ({"host": "https://vcenter.example.com/sdk"}, "neither a name nor an address"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_configurations(change: Mapping[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as caught:
        VsphereCpi({**CONFIG, **change})
    assert said in str(caught.value)
    assert "hush-hush" not in f"{caught.value} {caught.value.suggestion}"


@pytest.mark.parametrize("key", ["nsx", "nsxt"])
def test_managers_that_are_not_spoken_are_refused_and_not_ignored(key: str) -> None:
    with pytest.raises(NotSupported, match=key):
        VsphereCpi({**CONFIG, key: {"host": "nsx.example.com"}})
    with pytest.raises(NotSupported, match=key):
        config.machine({**MACHINE, key: {"x": 1}})


def test_device_groups_are_refused() -> None:
    with pytest.raises(NotSupported, match="device_groups"):
        config.machine({**MACHINE, "device_groups": ["g"]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cpu": None}, "'cpu' is missing"), ({"cpu": "2"}, "'cpu' must be an integer"), ({"cpu": 0}, "'cpu' must be at least 1"),
        ({"ram": 511}, "multiple of 4"), ({"disk": -1}, "'disk' must be at least 1"), ({"cpus": 2}, "unknown key 'cpus'"),
        ({"tags": [{"category": "c"}]}, "'tags[0].tag' is missing"), ({"storage_policy": {}}, "'storage_policy.name' is missing"),
        ({"vgpus": [1]}, "'vgpus[0]' must be a string"), ({"pci_passthroughs": [{"vendor_id": 1}]}, "device_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_machines(change: Mapping[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as caught:
        config.machine({**MACHINE, **change})
    assert said in str(caught.value)


def test_places_of_an_az() -> None:
    known = Config.read({**CONFIG, "datacenters": [{**DATACENTER, "clusters": ["c1", {"c2": {"resource_pool": "rp"}}]}]})
    az = {"datacenters": [{"name": "dc", "clusters": [{"c2": {"host_group": {"name": "rack", "drs_rule": "MUST"},
                                                              "drs_rules": [{"name": "apart", "type": "separate_vms"}]}}]}]}
    assert known.places_of({}) == (Place("c1"), Place("c2", "rp"))
    assert known.places_of(az) == (Place("c2", "rp", "rack", True, (Rule("apart"),)),)
    assert known.places_of({"datacenters": [{"name": "dc"}]}) == known.places
    with pytest.raises(Invalid, match="not that of the CPI config"):
        known.places_of({"datacenters": [{"name": "other", "clusters": ["c1"]}]})


@pytest.mark.parametrize(
    ("pattern", "name", "pod", "takes"),
    [
        (Pattern(), "any", "", True), (Pattern("^ssd"), "ssd-1", "", True), (Pattern("^ssd"), "hdd-1", "", False),
        (Pattern(pods="^fast"), "x", "fast-1", True), (Pattern(pods="^fast"), "x", "", False),
        (Pattern("^ssd", "^fast"), "x", "fast", True),
        (Pattern("^ssd", names=("hdd-9",)), "hdd-9", "", True), (Pattern("^ssd", names=("hdd-9",)), "ssd-1", "", False),
        (Pattern(pod_names=("p",)), "x", "p", True), (Pattern(pod_names=("p",)), "x", "q", False),
    ],
)
def test_datastores_by_pattern_and_name(pattern: Pattern, name: str, pod: str, takes: bool) -> None:
    assert pattern.takes(name, pod) is takes


def test_datastores_of_a_machine() -> None:
    wanted = config.stores({"datastores": ["a", {"clusters": [{"p": {}}, "q"]}]}, Pattern("x"))
    assert (wanted.names, wanted.pod_names) == (("a",), ("p", "q"))
    assert config.stores({}, Pattern("x")) == Pattern("x")
    with pytest.raises(Invalid, match="neither a name"):
        config.stores({"datastores": [{"cluster": "p"}]}, Pattern())


@pytest.mark.parametrize(("host", "port", "url"), [
    ("vc", 443, "https://vc:443"), ("vc:8443", 443, "https://vc:8443"), ("https://vc", 443, "https://vc:443"),
    ("http://127.0.0.1:8989", 443, "http://127.0.0.1:8989"), ("[fd00::1]", 443, "https://[fd00::1]:443")])
def test_addresses(host: str, port: int, url: str) -> None:
    assert Address(host, port).url == url


def test_the_newest_version_that_both_know() -> None:
    document = b"""<namespaces><namespace><name>urn:internalvim25</name><version>9.9</version></namespace><namespace><name>urn:vim25</name>
        <version>99.0.0.0</version><priorVersions><version>8.0.2.0</version><version>7.0</version></priorVersions></namespace></namespaces>"""
    assert newest_version(document) == "vim.version.v8_0_2_0"


def test_trust_of_the_system_without_a_ca() -> None:
    assert trust("").check_hostname


# The guest


def unpacked(values: Mapping[str, str], name: str) -> str:
    raw = base64.b64decode(values[f"guestinfo.{name}"])
    return (gzip.decompress(raw) if values[f"guestinfo.{name}.encoding"] == "gzip+base64" else raw).decode()


def test_the_guest_gets_its_user_and_address_and_forgets_its_keys() -> None:
    values = guest.data("vm-1", LOGIN, [net()], ["00:50:56:AA:BB:CC"])
    user = unpacked(values, "userdata")
    assert user.startswith("#cloud-config\n")
    assert "the host's own key" in user
    metadata = json.loads(unpacked(values, "metadata"))
    assert metadata["instance-id"] == metadata["local-hostname"] == "vm-1"
    assert metadata["cleanup-guestinfo"] == ["userdata"]
    assert metadata["network"]["ethernets"]["nic0"] == {
        "match": {"macaddress": "00:50:56:aa:bb:cc"}, "dhcp4": False, "dhcp6": False, "addresses": ["10.0.0.10/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "10.0.0.1"}], "nameservers": {"addresses": ["10.0.0.2"]}}


def test_only_the_gateway_network_gets_the_default_route() -> None:
    """Row 17."""
    first = net(name="a", ip="10.1.0.10", gateway="10.1.0.1", default=("dns",), dns=("10.1.0.2",))
    second = net(name="b", default=("gateway",), dns=("10.0.0.3",))
    nics = guest.network_config([first, second], ["m1", "m2"])["ethernets"]
    assert "routes" not in nics["nic0"]
    assert nics["nic1"]["routes"] == [{"to": "0.0.0.0/0", "via": "10.0.0.1"}]
    assert nics["nic0"]["nameservers"] == {"addresses": ["10.1.0.2"]}
    assert "nameservers" not in nics["nic1"]


def test_addresses_of_version_6() -> None:
    nics = guest.network_config([net(ip="fd00::10", prefix_length=64, gateway="fd00::1")], ["m1"])["ethernets"]
    assert nics["nic0"]["addresses"] == ["fd00::10/64"]
    assert nics["nic0"]["routes"] == [{"to": "::/0", "via": "fd00::1"}]


def test_an_agents_settings_are_the_user_data() -> None:
    login = dataclasses.replace(LOGIN, agent_settings='{"agent_id": "a", "networks": {"default": {"ip": "10.0.0.10"}}}')
    values = guest.data("vm-1", login, [net()], ["00:50:56:AA:BB:CC"])
    settings = json.loads(unpacked(values, "userdata"))
    assert (settings["agent_id"], settings["networks"]["default"]["ip"]) == ("a", "10.0.0.10")
    assert settings["networks"]["default"]["mac"].lower() == "00:50:56:aa:bb:cc"
    assert values["guestinfo.userdata.encoding"] == "base64"


@pytest.mark.parametrize(
    ("networks", "kind"),
    [
        ((), Invalid), ((net(type="dynamic", ip=""),), NotSupported), ((net(type="vip"),), NotSupported), ((net(ip=""),), Invalid),
        ((net(ip="10.0.0.300"),), Invalid), ((net(ip="203.0.113.7"),), Invalid), ((net(gateway="gw"),), Invalid),
    ],
)
def test_networks_that_do_not_work(networks: tuple[Network, ...], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        guest.check_networks(networks)


def test_too_much_user_data_is_refused_without_showing_it() -> None:
    """Row 26. What is compressed away counts as little."""
    incompressible = base64.b64encode(bytes(index * 7919 % 251 ^ (index >> 3) & 255 for index in range(200_000))).decode()
    noise = "".join(f"{hash((index, part)) & 0xffffffff:08x}" for index, part in enumerate(incompressible[:20_000]))
    with pytest.raises(Invalid) as caught:
        guest.data("vm-1", dataclasses.replace(LOGIN, host_private_key=noise), [net()], ["m1"])
    assert caught.value.limit == "65536"
    assert noise[:16] not in f"{caught.value} {caught.value.suggestion}"
    guest.data("vm-1", dataclasses.replace(LOGIN, host_private_key="S3CRET" * 100_000), [net()], ["m1"])


def test_info_needs_no_vcenter() -> None:
    """Row 38."""
    assert "vsphere-ovf" in VsphereCpi({**CONFIG, "host": "vcenter.invalid"}).info().stemcell_formats
