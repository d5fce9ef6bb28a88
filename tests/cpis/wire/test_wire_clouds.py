"""Our executables under a BOSH director, on each cloud's stand-in: a machine's whole life over the wire, and what its agent is told."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from cpis import portable, registry
from cpis.conformance.standin import Skipped, StandIn
from cpis.wire import convert
from cpis.wire.config import Configuration
from cpis.wire.server import Cloud, answer

CLOUDS = [name for name in ("aws", "azure", "gcp", "openstack", "vsphere") if name in registry.TABLE]
# The real services of OpenStack take minutes to start.
SMALL = {"openstack": "tests.cpis.openstack.small"}
AGENT = {"mbus": "nats://nats:word@10.0.0.6:4222", "ntp": ["ntp.example"], "blobstore": {"provider": "dav", "options": {"password": "x"}}}

pytestmark = pytest.mark.walk


@pytest.fixture(scope="module", params=CLOUDS)
def stand_in(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    module = importlib.import_module(SMALL.get(request.param, f"cpis.conformance.clouds.{request.param}"))
    try:
        started: StandIn = module.start(tmp_path_factory.mktemp(request.param))
    except Skipped as error:
        pytest.skip(str(error))
    with contextlib.closing(started):
        yield started


class Director:
    """Speaks as a BOSH director does, with the CPI's properties in the context."""

    def __init__(self, stand_in: StandIn) -> None:
        self.cloud = Cloud(stand_in.cpi_type, lambda config: registry.load(stand_in.cpi_type, config), Configuration(agent=AGENT))
        self.context = {
            **stand_in.config, "director_uuid": "0a1b2c3d-0000-4000-8000-000000000001", "request_id": "cpi-1",
            "vm": {"stemcell": {"api_version": 3}},
        }

    def call(self, method: str, *arguments: Any, version: int = 2) -> Any:
        got = self.refused(method, *arguments, version=version)
        assert got["error"] is None, got["error"]
        return got["result"]

    def refused(self, method: str, *arguments: Any, version: int = 2) -> dict[str, Any]:
        return answer(json.dumps({"method": method, "arguments": arguments, "context": self.context, "api_version": version}), self.cloud)


def aws_user_data(stand_in: Any, cid: str) -> str:
    cpi: Any = registry.load("aws", stand_in.config)
    told = cpi._api.ask("DescribeInstanceAttribute", {"InstanceId": cid, "Attribute": "userData"})
    return base64.b64decode(told["userData"]["value"]).decode()


def azure_user_data(stand_in: Any, cid: str) -> str:
    (machine,) = [item for item in stand_in.store.resources.values() if item.get("_secrets", {}).get("customData")]
    return base64.b64decode(machine["_secrets"]["customData"]).decode()


def gcp_user_data(stand_in: Any, cid: str) -> str:
    """At the path that `agent.json` of BOSH's stemcells for that cloud names."""
    (machine,) = [thing for path, thing in stand_in.world.things.items() if "/instances/" in path]
    return next(item["value"] for item in machine["metadata"]["items"] if item["key"] == "bosh_settings")


def openstack_user_data(stand_in: Any, cid: str) -> str:
    """Nova shows it to nobody but the machine; what counts is the creating request."""
    (body,) = [body["server"] for method, path, body in stand_in.services.bodies if (method, path) == ("POST", "/compute/servers")]
    return base64.b64decode(body["user_data"]).decode()


def vsphere_user_data(stand_in: Any, cid: str) -> str:
    cpi: Any = registry.load("vsphere", stand_in.config)
    with contextlib.closing(cpi):
        wanted = cpi._machines.ref(cid)
        found = next(facts for ref, (facts, _) in cpi._machines.marked("config.extraConfig").items() if ref._GetMoId() == wanted._GetMoId())
        options = {option.key: option.value for option in found["config.extraConfig"]}
    assert options["guestinfo.userdata.encoding"] == "base64"
    return base64.b64decode(options["guestinfo.userdata"]).decode()


USER_DATA: Mapping[str, Callable[[Any, str], str]] = {
    "aws": aws_user_data, "azure": azure_user_data, "gcp": gcp_user_data, "openstack": openstack_user_data,
    "vsphere": vsphere_user_data,
}


def test_a_machines_life_over_the_wire(stand_in: StandIn) -> None:
    director, site = Director(stand_in), stand_in.site()
    if stand_in.cpi_type == "azure":  # a login is required there, and BOSH's CPI has it in its configuration, too
        director.context["ssh_public_key"] = site.login.public_key
    networks = {network.name: convert.network_to(network) for network in site.networks(0)}
    info = director.call("info")
    assert (info["api_version"], set(info["stemcell_formats"])) == (3, set(portable.facts(stand_in.cpi_type).stemcell_formats))
    stemcell = director.call("create_stemcell", site.image_path, dict(site.stemcell_properties), {"tags": {"team": "blue"}}, version=3)
    cid, assigned = director.call(
        "create_vm", "agent-1", stemcell, dict(site.vm_properties), networks, [], {"bosh": {"group": "g", "tags": {"team": "blue"}}})
    try:
        assert assigned.keys() == networks.keys()
        assert [assigned[name]["ip"] for name in networks] == [entry["ip"] for entry in networks.values()]
        settings = json.loads(USER_DATA[stand_in.cpi_type](stand_in, cid))
        assert (settings["agent_id"], settings["mbus"]) == ("agent-1", AGENT["mbus"])
        assert settings["networks"].keys() == networks.keys()
        if stand_in.cpi_type == "vsphere":  # where nothing assigns addresses, an agent finds its interfaces by their MACs
            assert all(":" in entry["mac"] for entry in settings["networks"].values())
        assert director.call("has_vm", cid) is True
        director.call("set_vm_metadata", cid, {"name": "web/0", "deployment": "d", "director": "my-bosh", "index": "0", "job": "web"})
        assert cid in {found["cid"] for found in director.call("caisson_owned")}, "its mark is the director's uuid, whatever tags say"
        director.call("reboot_vm", cid)
        disk = director.call("create_disk", site.disk_mib, dict(site.disk_properties), cid)
        hint = director.call("attach_disk", cid, disk)
        assert hint
        assert director.call("attach_disk", cid, disk) == hint
        assert director.call("get_disks", cid) == [disk]
        refused = director.refused("delete_disk", disk)
        assert refused["error"]["type"] == "Bosh::Clouds::CloudError"
        director.call("detach_disk", cid, disk)
        director.call("delete_disk", disk)
        assert director.call("has_disk", disk) is False
    finally:
        director.call("delete_vm", cid)
        director.call("delete_stemcell", stemcell)
    assert director.call("has_vm", cid) is False
    assert director.refused("reboot_vm", cid)["error"]["type"] == "Bosh::Clouds::VMNotFound"
    assert not [item for item in stand_in.resources() if item[0] not in ("buckets", "resourceGroups")]


def test_info_needs_no_configuration(stand_in: StandIn) -> None:
    got = answer(json.dumps({"method": "info", "arguments": [], "context": {"director_uuid": "d"}}), Director(stand_in).cloud)
    assert got["error"] is None
    assert got["result"]["stemcell_formats"]


def test_wrong_credentials_are_told_without_them(stand_in: StandIn) -> None:
    director = Director(stand_in)
    secret = {"aws": "secret_access_key", "azure": "client_secret", "openstack": "api_key", "vsphere": "password"}.get(stand_in.cpi_type)
    if secret is None:
        pytest.skip("a wrong key file is none")
    director.context[secret] = "a-wrong-word"
    got = director.refused("has_disk", "disk-1" if stand_in.cpi_type != "aws" else "vol-0123456789abcdef0")
    assert got["error"]["type"] == "Bosh::Clouds::CloudError"
    assert "a-wrong-word" not in json.dumps(got)
