"""Machines when something goes wrong: one machine or none, and nothing left. Against the FAKE services, which can be told what goes wrong.

Numbers are rows of the CPI contract's table of mistakes, section 13.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import pytest

from cpis.contract import CpiError, Denied, Invalid, NoCapacity, Quota, Throttled, Unavailable
from cpis.openstack import OpenStackCpi, marks
from cpis.openstack.driver import OpenStackDriver
from tests.cpis.openstack.conftest import Time, made, network, request
from tests.cpis.openstack.fake_services import FakeServices, Fault

pytestmark = pytest.mark.walk

SERVERS = r"POST /compute/servers$"


def servers(services: FakeServices) -> list[dict[str, Any]]:
    return list(services.kept["servers"].values())


# Lost answers

def test_an_answer_lost_after_the_effect_makes_no_second_machine(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 5, section 4.1: the machine is looked for before anything is asked again."""
    services.faults = [Fault(SERVERS, "lost_after")]
    vm = cpi.create_vm(request())
    assert [item["id"] for item in servers(services)] == [vm.cid]
    assert services.count("POST", "/compute/servers$") == 1


def test_a_machine_that_appears_twenty_seconds_later_is_the_one(services: FakeServices, cpi: OpenStackCpi, times: Time) -> None:
    """Row 5: looked for by tag, every few seconds."""
    services.faults = [Fault(SERVERS, "late", late=6)]
    began = times.now
    vm = cpi.create_vm(request())
    assert times.now - began > 10
    assert [item["id"] for item in servers(services)] == [vm.cid]
    assert services.count("POST", "/compute/servers$") == 1


def test_a_request_without_a_trace_is_sent_anew_with_other_ports(services: FakeServices, cpi: OpenStackCpi) -> None:
    """The ports of the lost request are deleted first: should it come to life, its server finds none."""
    services.faults = [Fault(SERVERS, "lost_before")]
    vm = cpi.create_vm(request())
    assert [item["id"] for item in servers(services)] == [vm.cid]
    sent = [body["server"]["networks"][0]["port"] for method, path, body in services.bodies
            if method == "POST" and path == "/compute/servers"]
    assert len(set(sent)) == 2
    assert len(services.kept["ports"]) == 1


def test_a_machine_that_comes_after_all_is_refused_for_want_of_its_ports(services: FakeServices, cpi: OpenStackCpi) -> None:
    looks = 40
    services.faults = [Fault(SERVERS, "late", late=looks)]
    vm = cpi.create_vm(request())
    while services.late:
        cpi.has_vm(vm.cid)
    assert [item["id"] for item in servers(services)] == [vm.cid]


def test_ports_are_asked_for_again_without_a_second_one(services: FakeServices, cpi: OpenStackCpi) -> None:
    services.faults = [Fault(r"POST /network/v2.0/ports", "lost_after")]
    cpi.create_vm(request())
    assert len(services.kept["ports"]) == 1


def test_a_port_of_a_chosen_address_made_twice_goes_with_the_machine(services: FakeServices, cpi: OpenStackCpi) -> None:
    services.faults = [Fault(r"POST /network/v2.0/ports", "lost_after")]
    vm = cpi.create_vm(request(networks=(network(type="dynamic", ip=""),)))
    cpi.delete_vm(vm.cid)
    assert not services.left()


@pytest.mark.parametrize("body", [b"<html><body>login here</body></html>", b'{"server": {"id"', {"server": {}}, {"server": {"id": 7}}, []])
def test_an_answer_that_is_none_is_a_lost_one(services: FakeServices, cpi: OpenStackCpi, body: object) -> None:
    """Row 36: HTML, JSON that is cut off, fields missing or of another type. The effect is unknown, so the machine is looked for."""
    services.faults = [Fault(SERVERS, answer=(202, body, {}))]
    vm = cpi.create_vm(request())
    assert [item["id"] for item in servers(services)] == [vm.cid]


# A director that dies

class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_the_creating_request(services: FakeServices, times: Time, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Row 4: the next run finds what there is, and exactly one machine exists afterwards."""
    original = OpenStackDriver._create_args_to_params
    first = made(services, times)

    def die(*arguments: Any, **named: Any) -> Any:
        raise Killed

    if when == "before":
        monkeypatch.setattr(OpenStackDriver, "_create_args_to_params", die)
    else:
        monkeypatch.setattr("cpis.openstack.servers.Servers.until_active", die)
    with pytest.raises(Killed):
        first.create_vm(request())
    first.close()
    monkeypatch.undo()
    assert OpenStackDriver._create_args_to_params is original
    second = made(services, times)
    found = second.find(request().token)
    assert [item.kind for item in found] == ["vm"]
    vm = second.create_vm(request())
    assert [item["id"] for item in servers(services)] == [vm.cid]
    assert len(services.kept["ports"]) == 1
    second.delete_vm(vm.cid)
    assert not services.left()
    second.close()


def test_a_half_made_machine_is_deleted_by_what_find_tells(services: FakeServices, times: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports only: the token stands for the CID."""
    cpi = made(services, times)

    def die(*arguments: Any, **named: Any) -> Any:
        raise Killed

    monkeypatch.setattr(OpenStackDriver, "_create_args_to_params", die)
    with pytest.raises(Killed):
        cpi.create_vm(request())
    (found,) = cpi.find(request().token)
    assert (found.kind, found.cid) == ("vm", request().token)
    assert [item.cid for item in cpi.owned()] == [request().token]
    assert not cpi.has_vm(found.cid)
    cpi.delete_vm(found.cid)
    assert not services.left()
    assert not cpi.find(request().token)
    cpi.close()


@pytest.mark.parametrize("step", range(1, 9))
def test_killed_while_deleting(services: FakeServices, times: Time, step: int) -> None:
    """After any request: the next deletion by the same CID leaves nothing, no port with an address either."""
    cpi = made(services, times)
    vm = cpi.create_vm(request())
    before = len(services.log)
    handled = services.handle

    def dying(*arguments: Any) -> Any:
        answer = handled(*arguments)
        if len(services.log) - before >= step:
            services.faults = [Fault(".", "lost_before", times=10_000)]
        return answer

    services.handle = dying  # type: ignore[method-assign]
    with contextlib.suppress(CpiError):
        cpi.delete_vm(vm.cid)
    services.handle = handled  # type: ignore[method-assign]
    services.faults = []
    cpi.delete_vm(vm.cid)
    assert not services.left()
    cpi.close()


def test_a_port_that_another_deletion_took(services: FakeServices, cpi: OpenStackCpi) -> None:
    vm = cpi.create_vm(request())
    missing = {"NeutronError": {"type": "PortNotFound", "message": "Port p could not be found.", "detail": ""}}
    services.faults = [Fault("(PUT|DELETE) /network/v2.0/ports", answer=(404, missing, {}))]
    cpi.delete_vm(vm.cid)
    assert not services.left()


# Refusals

@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [((403, {"forbidden": {"code": 403, "message": "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances"}}, {}),
      Quota, "already used 10 of 10"),
     ((403, {"forbidden": {"code": 403, "message": "Policy doesn't allow os_compute_api:servers:create to be performed."}}, {}), Denied,
      "servers:create"),
     ((400, {"badRequest": {"code": 400, "message": "Can not find requested image"}}, {}), CpiError, "requested image")],
)
def test_a_refused_machine_leaves_nothing(services: FakeServices, cpi: OpenStackCpi, answer: Any, kind: type[CpiError], words: str) -> None:
    services.faults = [Fault(SERVERS, answer=answer)]
    with pytest.raises(kind, match=words):
        cpi.create_vm(request())
    assert not services.left()
    assert services.count("POST", "/compute/servers$") == 1


def test_no_room_is_told_in_novas_words_and_leaves_nothing(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 33, section 9.4: a server in ERROR still owns its port; it ends the wait at once, and goes."""
    services.full = {"nova"}
    with pytest.raises(NoCapacity, match="No valid host was found"):
        cpi.create_vm(request())
    assert not services.left()


def test_zones_are_tried_one_after_the_other(services: FakeServices, cpi: OpenStackCpi) -> None:
    services.full = {"z1", "z2"}
    vm = cpi.create_vm(request(cloud_properties={"instance_type": "small", "availability_zones": ["z1", "z2", "z3"]}))
    assert [(item["id"], item["zone"]) for item in servers(services)] == [(vm.cid, "z3")]
    assert len(services.kept["ports"]) == 1


def test_all_zones_full(services: FakeServices, cpi: OpenStackCpi) -> None:
    services.full = {"z1", "z2"}
    with pytest.raises(NoCapacity):
        cpi.create_vm(request(cloud_properties={"instance_type": "small", "availability_zones": ["z1", "z2"]}))
    assert not services.left()


def test_an_unknown_zone_is_not_taken_for_a_full_one(services: FakeServices, cpi: OpenStackCpi) -> None:
    with pytest.raises(Invalid, match="availability zone"):
        cpi.create_vm(request(cloud_properties={"instance_type": "small", "availability_zones": ["nowhere", "z2"]}))
    assert not services.left()


def test_a_machine_that_is_never_ready_goes(services: FakeServices, cpi: OpenStackCpi, times: Time) -> None:
    """Every wait has a deadline and says for what."""
    services.endless_build = True
    began = times.now
    with pytest.raises(Unavailable, match="to be active"):
        cpi.create_vm(request())
    assert 300 <= times.now - began < 320
    assert not services.left()


def test_both_errors_when_the_clean_up_fails_too(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 3: the identity stays on what is left, for the sweep."""
    services.full = {"nova"}
    forbidden = (403, {"forbidden": {"code": 403, "message": "Policy doesn't allow servers:delete"}}, {})
    services.faults = [Fault("DELETE /compute/servers", answer=forbidden, times=99)]
    with pytest.raises(NoCapacity, match=r"No valid host.*could not be deleted.*servers:delete") as caught:
        cpi.create_vm(request())
    assert request().token in caught.value.suggestion
    (left,) = cpi.find(request().token)
    services.faults = []
    cpi.delete_vm(left.cid)
    assert not services.left()


def test_the_cloud_out_of_order_is_no_missing_machine(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 6."""
    services.faults = [Fault("GET /compute/servers", answer=(503, b"<html><h1>503</h1></html>", {}), times=99)]
    with pytest.raises(Unavailable):
        cpi.has_vm("f00d0000-0000-4000-8000-000000000000")


def test_throttled_for_ten_minutes(services: FakeServices, cpi: OpenStackCpi, times: Time, caplog: pytest.LogCaptureFixture) -> None:
    """Row 22: the call ends late, not failed, and the log says why."""
    caplog.set_level("INFO", "cpis")
    over = {"overLimit": {"code": 413, "message": "This request was rate-limited.", "retryAfter": "30"}}
    services.faults = [Fault(SERVERS, answer=(413, over, {}), times=20)]
    began = times.now
    vm = cpi.create_vm(request())
    assert times.now - began >= 600
    assert cpi.has_vm(vm.cid)
    assert "rate-limited" in caplog.text


def test_throttled_without_an_end(services: FakeServices, cpi: OpenStackCpi, times: Time) -> None:
    services.faults = [Fault(SERVERS, answer=(429, b"slow down", {"Retry-After": "60"}), times=10_000)]
    began = times.now
    with pytest.raises(Throttled):
        cpi.create_vm(request())
    assert times.now - began < 3600
    assert not services.left()


def test_a_token_that_ends_in_the_middle(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 24: one silent login, then on."""
    vm = cpi.create_vm(request())
    services.revoked = {"token-1"}
    assert cpi.has_vm(vm.cid)
    assert services.tokens == 2


def test_a_right_that_is_missing_is_asked_for_once(services: FakeServices, cpi: OpenStackCpi) -> None:
    services.faults = [Fault("GET /compute/servers", times=99, answer=(
        401, {"error": {"code": 401, "message": "The request you have made requires authentication."}}, {}))]
    with pytest.raises(Denied):
        cpi.has_vm("f00d0000-0000-4000-8000-000000000000")
    assert services.count("GET", "/compute/servers") == 2


# What comes long after

def twin(services: FakeServices, cid: str) -> str:
    """A server of the same request, that failed since its ports were gone, as was its root volume."""
    with services.lock:
        first = services.kept["servers"][cid]
        gone = {key: str(uuid.uuid4()) for key in first["metadata"].keys() & {marks.ROOT}}
        late = services.make("servers", **{
            **{key: value for key, value in first.items() if key != "id"}, "metadata": {**first["metadata"], **gone},
            "roots": [], "status": "ERROR", "ports": [], "fault": {
                "code": 500, "message": "Port could not be found."}})
    return str(late["id"])


def test_a_server_that_comes_long_after_goes_alone(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Ports, places in pools and addresses are those of the machine that was made in its stead."""
    pools = {"instance_type": "small", "loadbalancer_pools": [{"name": "web", "port": 80}]}
    vm = cpi.create_vm(request(cloud_properties=pools))
    late = twin(services, vm.cid)
    assert sorted(item.cid for item in cpi.owned()) == sorted([vm.cid, late])
    ports, members = dict(services.kept["ports"]), dict(services.kept["members"])
    assert members
    cpi.delete_vm(late)
    assert [item["id"] for item in servers(services)] == [vm.cid]
    assert services.kept["ports"] == ports
    assert services.kept["members"] == members
    cpi.delete_vm(vm.cid)
    assert not services.left()


def test_the_machine_goes_while_its_late_twin_stays(services: FakeServices, cpi: OpenStackCpi) -> None:
    vm = cpi.create_vm(request(cloud_properties={"instance_type": "small", "loadbalancer_pools": [{"name": "web", "port": 80}]}))
    late = twin(services, vm.cid)
    cpi.delete_vm(vm.cid)
    assert services.left() == [f"servers {late}"]
    cpi.delete_vm(late)
    assert not services.left()


def test_a_port_that_comes_when_its_machine_is_gone_is_found_with_age(services: FakeServices, cpi: OpenStackCpi) -> None:
    services.faults = [Fault(r"POST /network/v2.0/ports", "late", late=40)]
    vm = cpi.create_vm(request(networks=(network(type="dynamic", ip=""),)))
    cpi.delete_vm(vm.cid)
    assert not services.left()
    while services.late:
        cpi.has_vm(vm.cid)
    (found,) = cpi.owned()
    assert (found.kind, found.cid, found.created_at) == ("vm", request().token, 1_893_456_000.0)
    cpi.delete_vm(found.cid)
    assert not services.left()


def test_a_root_volume_that_comes_long_after_goes_with_its_machine(services: FakeServices, cpi: OpenStackCpi) -> None:
    services.faults = [Fault("POST /volume/volumes$", "late", late=90)]
    vm = cpi.create_vm(request(cloud_properties={"instance_type": "small", "boot_from_volume": True}))
    while services.late:
        cpi.has_vm(vm.cid)
    assert len(services.kept["volumes"]) == 2
    late = twin(services, vm.cid)
    cpi.delete_vm(late)
    assert any(item["attachments"] for item in services.kept["volumes"].values()), "the root disk of a running machine went with its twin"
    cpi.delete_vm(vm.cid)
    assert not services.left()
