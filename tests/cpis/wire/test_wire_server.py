"""Our CPIs as executables: golden requests and answers, what agents are told, what no log tells."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from cpis.contract import Cpi, Invalid, Login, NoCapacity, Quota, VmRequest
from cpis.fake import FakeCpi
from cpis.wire import errors
from cpis.wire.config import Configuration
from cpis.wire.server import Cloud, answer

ROWS = yaml.safe_load((Path(__file__).parent / "transcript.yml").read_text())
NETWORKS = {
    "default": {
        "type": "manual", "ip": "10.0.0.5", "netmask": "255.255.255.0", "gateway": "10.0.0.1", "dns": ["10.0.0.2"],
        "default": ["dns", "gateway"], "cloud_properties": {},
    },
    "public": {"type": "vip", "ip": "198.51.100.4", "cloud_properties": {}},
}


def request_of(row: Mapping[str, Any]) -> str:
    if "text" in row:
        return str(row["text"])
    request = {
        "method": row["method"], "arguments": row["arguments"],
        "context": row.get("context") or {"director_uuid": "the-director", "request_id": "cpi-1"},
    }
    return json.dumps({**request, "api_version": row["version"]} if "version" in row else request)


def test_the_transcript_is_answered_word_for_word(tmp_path: Path) -> None:
    cloud = Cloud("fake", FakeCpi, Configuration({"state_file": str(tmp_path / "cloud.json")}))
    for number, row in enumerate(ROWS):
        got = answer(request_of(row), cloud)
        what = f"row {number + 1}: {row.get('method') or row['text']}"
        assert set(got) == {"result", "error", "log"}, what
        assert isinstance(got["log"], str)
        if "error" in row:
            kind, message, retry = row["error"]
            assert got["result"] is None, what
            assert set(got["error"]) == {"type", "message", "ok_to_retry"}, what
            assert (got["error"]["type"], got["error"]["ok_to_retry"]) == (kind, retry), (what, got["error"])
            assert got["error"]["message"].startswith(message), (what, got["error"])
        else:
            assert got["error"] is None, (what, got["error"])
            assert got["result"] == row["result"], what


def test_the_transcript_has_every_method_of_the_contract() -> None:
    methods = {row.get("method") for row in ROWS}
    contract = {
        "info", "ping", "create_stemcell", "delete_stemcell", "create_vm", "delete_vm", "has_vm", "reboot_vm", "set_vm_metadata",
        "calculate_vm_cloud_properties", "create_disk", "delete_disk", "has_disk", "attach_disk", "detach_disk", "resize_disk",
        "update_disk", "set_disk_metadata", "get_disks", "snapshot_disk", "delete_snapshot", "create_network", "delete_network",
    }
    assert contract <= methods


class Seen(FakeCpi):
    """Keeps the requests it got."""

    requests: ClassVar[list[VmRequest]] = []

    def __init__(self, config: Mapping[str, Any] | None = None, **more: Any) -> None:
        known = ("state_file", "director")
        super().__init__({key: value for key, value in (config or {}).items() if key in known}, **more)

    def create_vm(self, request: VmRequest) -> Any:
        self.requests.append(request)
        return super().create_vm(dataclasses.replace(request, cloud_properties={}))


def made(cloud: str, tmp_path: Path, *, file: Mapping[str, Any] | None = None, **changes: Any) -> VmRequest:
    """The request of a machine made over the wire with this configuration file."""
    Seen.requests.clear()
    state = {"state_file": str(tmp_path / "cloud.json")}
    stemcell = FakeCpi(state).create_stemcell("", {}, "t")
    configuration = Configuration.of(file or {}, cloud)
    server = Cloud(cloud, lambda config: Seen({**config, **state}), configuration)
    arguments = ["agent-1", stemcell, changes.get("properties", {}), NETWORKS, [], changes.get("env", {})]
    got = answer(request_of({
        "method": "create_vm", "version": 2, "arguments": arguments,
        "context": {"director_uuid": "the-director", "request_id": "cpi-1", **changes.get("context", {})},
    }), server)
    assert got["error"] is None, got
    return Seen.requests[0]


AGENT = {
    "mbus": "nats://nats:mbus-word@10.0.0.6:4222", "ntp": ["ntp.example"],
    "blobstore": {"provider": "dav", "options": {"password": "blob-word"}},
}


@pytest.mark.parametrize(
    ("cloud", "disks", "dhcp"),
    [
        ("aws", {"system": "/dev/xvda", "ephemeral": "/dev/sdb", "persistent": {}}, True),
        ("azure", {
            "system": "/dev/sda", "persistent": {},
            "ephemeral": {"lun": "0", "host_device_id": "{f8b3781b-1e82-4818-a1c3-63d806ec15bb}"}}, True),
        ("gcp", {"system": "/dev/sda", "persistent": {}}, True),
        ("openstack", {"system": "/dev/sda", "persistent": {}}, True),
        ("vsphere", {"system": "0", "ephemeral": "1", "persistent": {}}, False),
    ],
)
def test_an_agent_is_told_all_it_needs_at_its_first_start(cloud: str, disks: Any, dhcp: bool, tmp_path: Path) -> None:
    env = {"bosh": {"password": "crypt", "authorized_keys": ["ssh-ed25519 AAAA"], "tags": {"team": "blue"}}, "persistent_disk_fs": "xfs"}
    request = made(cloud, tmp_path, file={"agent": AGENT}, env=env)
    settings = json.loads(request.login.agent_settings)
    assert settings["agent_id"] == "agent-1"
    assert settings["vm"]["name"] == settings["server"]["name"] == request.token
    assert settings["env"] == env
    assert (settings["mbus"], settings["ntp"], settings["blobstore"]) == (AGENT["mbus"], AGENT["ntp"], AGENT["blobstore"])
    assert settings["disks"] == disks
    assert settings["dns"] == {"nameserver": ["10.0.0.2"]}
    assert settings["networks"]["default"].get("use_dhcp", False) is dhcp
    assert "use_dhcp" not in settings["networks"]["public"], "an address that is translated gets no interface"
    assert settings["networks"]["default"]["netmask"] == "255.255.255.0"
    assert request.metadata == {"team": "blue", "director": "the-director"}
    assert (request.login.user, request.login.public_key) == ("vcap", "ssh-ed25519 AAAA")


def test_an_ephemeral_part_of_the_root_disk_is_no_device(tmp_path: Path) -> None:
    request = made("aws", tmp_path, properties={"ephemeral_disk": {"use_root_disk": True}})
    assert "ephemeral" not in json.loads(request.login.agent_settings)["disks"]


def test_openstack_without_dhcp_is_told_so(tmp_path: Path) -> None:
    request = made("openstack", tmp_path, context={"use_dhcp": False})
    assert "use_dhcp" not in json.loads(request.login.agent_settings)["networks"]["default"]


def test_each_call_of_a_foreign_director_has_a_token_of_its_own(tmp_path: Path) -> None:
    first = made("aws", tmp_path / "1").token
    assert first.startswith("vm-")
    assert made("aws", tmp_path / "2").token != first
    assert made("aws", tmp_path / "3", env={"bosh": {"tags": {"caisson-token": "vm-given"}}}).token == "vm-given"


@pytest.mark.parametrize(
    ("cloud", "document", "properties", "agent"),
    [
        ("aws", {"cloud": {"plugin": "aws", "properties": {"aws": {"region": "r"}, "agent": {"mbus": "m"}, "registry": {"x": 1}}}},
         {"region": "r"}, {"mbus": "m"}),
        ("gcp", {"cloud": {"plugin": "google", "properties": {"google": {"project": "p"}, "agent": {"ntp": ["n"]}}}},
         {"project": "p"}, {"ntp": ["n"]}),
        ("vsphere", {"cloud": {"properties": {
            "vcenters": [{"host": "h", "user": "u"}], "agent": {"mbus": "m"}, "blobstore": {"provider": "d"}}}},
         {"host": "h", "user": "u"}, {"mbus": "m", "blobstore": {"provider": "d"}}),
        ("openstack", {"auth_url": "a", "agent": {"mbus": "m"}}, {"auth_url": "a"}, {"mbus": "m"}),
        ("aws", {}, {}, {}),
    ],
)
def test_configuration_files_are_read_as_bosh_writes_them(cloud: str, document: Any, properties: Any, agent: Any, tmp_path: Path) -> None:
    file = tmp_path / "cpi.json"
    file.write_text(json.dumps(document))
    found = Configuration.read(str(file), cloud)
    assert (dict(found.properties), dict(found.agent)) == (properties, agent)


def test_the_context_wins_over_the_file_key_by_key() -> None:
    file = Configuration.of({"region": "file", "access_key_id": "file", "agent": {"mbus": "m", "ntp": []}}, "aws")
    found = file.with_context({
        "director_uuid": "d", "request_id": "r", "vm": {}, "access_key_id": "context", "agent": {"ntp": ["n"]}})
    assert found.properties == {"region": "file", "access_key_id": "context"}
    assert found.agent == {"mbus": "m", "ntp": ["n"]}


@pytest.mark.parametrize(("text", "words"), [("[1]", "must be a hash"), ("a: [", "neither JSON nor YAML, line 1")])
def test_a_configuration_that_is_none_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "cpi.yml").write_text(text)
    with pytest.raises(Invalid, match=words):
        Configuration.read(str(tmp_path / "cpi.yml"), "aws")
    with pytest.raises(Invalid, match="cannot be read"):
        Configuration.read(str(tmp_path / "nothing.yml"), "aws")
    with pytest.raises(Invalid, match="one vCenter"):
        Configuration.of({"vcenters": [{}, {}]}, "vsphere")


class Chatty(FakeCpi):
    """A CPI that says all it knows, as careless libraries do."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__({})
        self._said = json.dumps(dict(config))

    def create_vm(self, request: VmRequest) -> Any:
        words = f"{self._said} {request.login.agent_settings} {json.dumps(dict(request.env))} {json.dumps(dict(request.cloud_properties))}"
        logging.getLogger("cpis.fake").warning("%s", words)
        raise Invalid(words)

    def has_vm(self, cid: str) -> bool:
        raise RuntimeError(f"no way with {self._said}")


def test_secrets_are_in_no_log_and_no_error() -> None:
    configuration = Configuration.of({"secret_access_key": "file-word", "agent": AGENT}, "aws")
    cloud = Cloud("fake", Chatty, configuration)
    context = {"director_uuid": "d", "request_id": "cpi-1", "password": "context-word", "service": {"json_key": "line\n" + "k" * 30}}
    env = {"bosh": {"password": "crypt-word", "mbus": {"cert": {"private_key": "pem-word"}}, "group": "open-group"}, "other": "env-word"}
    arguments = ["agent-1", "stemcell", {"api_key": "property-word", "instance_type": "m5.large"}, NETWORKS, [], env]
    told = json.dumps(answer(request_of({"method": "create_vm", "arguments": arguments, "version": 2, "context": context}), cloud))
    for word in ("file-word", "mbus-word", "blob-word", "context-word", "k" * 30, "crypt-word", "pem-word", "env-word", "property-word"):
        assert word not in told, word
    assert "m5.large" in told
    assert "open-group" in told


def test_what_nobody_expected_is_unknown_and_without_secrets() -> None:
    cloud = Cloud("fake", Chatty, Configuration.of({"secret_access_key": "file-word"}, "aws"))
    got = answer(request_of({"method": "has_vm", "arguments": ["vm-1"]}), cloud)
    assert (got["error"]["type"], got["error"]["ok_to_retry"]) == ("Unknown", False)
    assert got["error"]["message"].startswith("RuntimeError: no way with")
    assert "Traceback" in got["log"]
    assert "file-word" not in json.dumps(got)


@pytest.mark.parametrize(("cloud", "again"), [("aws", True), ("gcp", True), ("openstack", True), ("azure", False)])
def test_no_capacity_is_worth_a_try_where_boshs_cpi_says_so(cloud: str, again: bool) -> None:
    assert errors.error_to(NoCapacity("none left"), "create_vm", cloud)["ok_to_retry"] is again


def test_an_error_says_all_that_the_cloud_said() -> None:
    error = Quota("You want more vCPU", code="VcpuLimitExceeded", limit="32", used="31", request_id="req-5", suggestion="Ask for more.")
    message = errors.error_to(error, "create_vm", "aws")["message"]
    assert message == "You want more vCPU (limit 32, used 31, code VcpuLimitExceeded, request req-5). Ask for more."


def test_a_login_of_ours_is_taken_as_it_is(tmp_path: Path) -> None:
    """From `cpis.process`, which speaks for a director that comes over SSH: no agent settings."""
    state = {"state_file": str(tmp_path / "cloud.json")}
    stemcell = FakeCpi(state).create_stemcell("", {}, "t")
    Seen.requests.clear()
    login = {"user": "caisson", "public_key": "p", "host_public_key": "h", "host_private_key": "s"}
    ours = {"token": "vm-1", "login": login, "metadata": {"a": "b"}}
    got = answer(request_of({
        "method": "create_vm", "version": 2, "arguments": ["agent", stemcell, {}, NETWORKS, [], {}],
        "context": {"director_uuid": "d", "caisson": ours},
    }), Cloud("fake", lambda config: Seen({**config, **state})))
    assert got["result"][2] == {"ssh_address": "10.0.0.5", "ssh_port": 22, "ephemeral_disk": None}
    (request,) = Seen.requests
    assert (request.token, request.metadata) == ("vm-1", {"a": "b"})
    assert request.login == Login("caisson", "p", "h", "s")


def test_a_cpi_without_networks_has_no_such_methods() -> None:
    class Plain(FakeCpi):
        create_network = None  # type: ignore[assignment]

    def make(config: Mapping[str, Any]) -> Cpi:
        return Plain({})

    got = answer(request_of({"method": "create_network", "arguments": [{}]}), Cloud("fake", make))
    assert got["error"]["type"] == "Bosh::Clouds::NotImplemented"
