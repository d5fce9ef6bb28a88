"""Libcloud's driver, where it has to be otherwise: each test names the defect that it would have."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from gcp_bench import Bench

from cpis.conformance.certificate import self_signed
from cpis.conformance.clouds.gcp import Fault, GcpStandIn
from cpis.contract import Denied, Invalid, NotFound, Unavailable
from cpis.gcp import GcpCpi
from cpis.gcp.api import Compute, Places, absolute
from cpis.gcp.driver import GceDriver, Place, Refusal, seconds_to_next_minute


class Token:
    access_token = "ya29.fake-token-1"


@pytest.fixture
def driver(there: GcpStandIn) -> Any:
    there.cloud.sign_in_as("ya29.fake-token-1")
    driver = GceDriver("fake-project", Place.of(there.endpoint), Token(), "me/1.0")
    yield driver
    driver.connection.connection.session.close()


def test_building_it_asks_nothing(there: GcpStandIn, driver: Any) -> None:
    """Libcloud's signs in, and asks for the zone."""
    assert there.requests() == []


def test_libcloud_does_not_try_again_by_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not when the environment says so: it would send a POST again without asking what kind of request it is."""
    monkeypatch.setenv("LIBCLOUD_RETRY_FAILED_HTTP_REQUESTS", "1")
    bench.there.cloud.faults.append(Fault(method="GET", lost="before", times=3))
    assert not bench.cpi.has_vm("vm-1")
    assert len(bench.slept) == 3, "somebody else waited"


def test_requests_say_whose_they_are(bench: Bench) -> None:
    cpi = bench.again(user_agent_prefix="my-platform")
    cpi.has_vm("vm-1")
    list(cpi._stemcells.buckets())
    assert bench.there.cloud.agents
    assert all(agent.startswith("my-platform caisson libcloud/3.") for agent in bench.there.cloud.agents)
    bench.cpi.has_vm("vm-1")
    assert any(agent.startswith("caisson libcloud/") for agent in bench.there.cloud.agents)


def test_an_error_does_not_leave_its_page_to_the_next_request(driver: Any) -> None:
    """Libcloud leaves `gce_params` set after an exception."""
    driver.connection.gce_params = {"maxResults": 1, "pageToken": "page-1"}
    with pytest.raises(Refusal):
        driver.connection.request("/zones/nowhere")
    assert driver.connection.gce_params is None
    assert len(driver.ex_list_zones()) == 4


def test_paths_of_other_projects(driver: Any) -> None:
    """Libcloud puts every path below the driver's own project."""
    found = driver.connection.request("/compute/v1/projects/debian-cloud/global/images/family/debian-12").object
    assert found["name"] == "debian-12-bookworm-v20261115"


def test_an_error_with_a_number_only(there: GcpStandIn, driver: Any) -> None:
    """Libcloud looks for a text in it and fails with AttributeError."""
    there.cloud.faults.append(Fault(path="/zones$", page='{"error": {"code": 409, "message": "busy", "status": "ABORTED"}}', status=409))
    with pytest.raises(Refusal) as caught:
        driver.connection.request("/zones")
    assert (caught.value.status, caught.value.reason, caught.value.message) == (409, "ABORTED", "busy")


def test_methods_of_libcloud_wait_for_their_operation(bench: Bench) -> None:
    vm = bench.vm()
    requests = bench.count(lambda: bench.cpi.reboot_vm(vm.cid))
    assert [method for method, _ in requests] == ["GET", "POST", "POST"]
    assert requests[1][1].endswith("/reset")
    assert requests[2][1].endswith("/wait")


def test_a_driver_that_nobody_waits_for_says_so(driver: Any) -> None:
    with pytest.raises(TypeError, match="wait for operations"):
        driver.reboot_node(driver.node("us-central1-a", "vm-1"))


@pytest.mark.parametrize(("url", "secure", "host", "port"), [
    ("https://www.googleapis.com", True, "www.googleapis.com", 443), ("http://127.0.0.1:8080", False, "127.0.0.1", 8080),
    ("https://compute-x.p.googleapis.com/", True, "compute-x.p.googleapis.com", 443), ("http://h", False, "h", 80),
])
def test_endpoints(url: str, secure: bool, host: str, port: int) -> None:
    assert Place.of(url)[:3] == (secure, host, port)


@pytest.mark.parametrize("url", ["", "www.googleapis.com", "ftp://x", "https://"])
def test_what_is_no_endpoint(there: GcpStandIn, url: str) -> None:
    with pytest.raises(Invalid, match="endpoint"):
        GcpCpi({**there.config, "endpoint": url})


def test_rates_begin_anew_with_the_minute() -> None:
    assert seconds_to_next_minute(120.0) == 60.0
    assert seconds_to_next_minute(179.0) == 1.0


@pytest.mark.walk
@pytest.mark.parametrize("page", [
    "[1, 2]", '"text"', "null", "<html><title>Sign in</title></html>", '{"kind": "compute#instance"', "", "{}",
    '{"name": 5, "status": []}'])
def test_answers_in_another_form_are_errors_of_the_contract(bench: Bench, page: str) -> None:
    """Every field missing or of another type: the right error class, and no partial machine."""
    request = bench.request()
    bench.there.cloud.faults.append(Fault(method="POST", path="/instances$", page=page, status=200, times=99))
    with pytest.raises(Unavailable):
        bench.cpi.create_vm(request)
    bench.there.cloud.faults.clear()
    assert not bench.there.resources()


@pytest.mark.walk
@pytest.mark.parametrize("page", ['{"zone": 5}', '{"disks": "x", "status": "RUNNING"}', '{"items": [1]}', '{"networkInterfaces": {}}'])
def test_machines_in_another_form_are_errors_of_the_contract(bench: Bench, page: str) -> None:
    vm = bench.vm()
    bench.there.cloud.faults.append(Fault(method="GET", page=page, status=200, times=99))
    for call in (bench.cpi.get_disks, bench.cpi.delete_vm, bench.cpi.has_vm):
        try:
            call(vm.cid)
        except Unavailable:
            continue
    bench.there.cloud.faults.clear()
    assert bench.cpi.has_vm(vm.cid), "a machine was deleted by an answer that was none"


def test_an_answer_that_was_cut_off(bench: Bench) -> None:
    bench.there.cloud.faults.append(Fault(method="POST", path="/instances$", cut=True))
    vm = bench.vm()
    assert bench.cpi.has_vm(vm.cid)
    assert len([path for kind, path in bench.there.resources() if kind == "instances"]) == 1


def test_a_certificate_that_does_not_verify(there: GcpStandIn, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    with context.wrap_socket(server.accept()[0], server_side=True):
                        pass
                except OSError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        cpi = GcpCpi({**there.config, "endpoint": f"https://127.0.0.1:{server.getsockname()[1]}"}, environ={})
        try:
            with pytest.raises(Denied) as caught:
                cpi.has_vm("vm-1")
        finally:
            ended.set()
            thread.join()
            cpi.close()
    assert caught.value.code == "tls"
    assert "ca_cert" in caught.value.suggestion


def test_own_ca_certificates(there: GcpStandIn, tmp_path: Path) -> None:
    """Libcloud has them in a global of the process."""
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    by_path = GcpCpi({**there.config, "connection_options": {"ca_cert": str(tmp_path / "ca.pem")}})
    by_text = GcpCpi({**there.config, "connection_options": {"ca_cert": "-----BEGIN CERTIFICATE-----\nx\n"}})
    own = by_text._settings.ca_file
    assert own
    assert Path(own).read_text().startswith("-----BEGIN")
    for cpi in (by_path, by_text):
        connection = cpi._compute.driver.connection.connection
        assert connection.verification == cpi._settings.ca_file
        cpi.close()
    assert not Path(own).exists()
    assert (tmp_path / "ca.pem").exists()
    with pytest.raises(Invalid, match="/nowhere"):
        GcpCpi({**there.config, "connection_options": {"ca_cert": "/nowhere"}})


def test_lists_are_read_to_their_last_page(bench: Bench) -> None:
    """Row 25."""
    vms = [bench.vm().cid for _ in range(5)]
    other = bench.again()
    found = [item["name"] for item in other._compute.aggregated("instances", maxResults="2")]
    assert sorted(found) == sorted(vms)
    assert all(other.has_vm(cid) for cid in vms)


def test_a_list_that_never_ends(bench: Bench) -> None:
    bench.there.cloud.faults.append(Fault(method="GET", path="/snapshots|/storage/", page='{"nextPageToken": "a"}', status=200, times=999))
    for call in (lambda: bench.cpi.owned(), lambda: bench.cpi._stemcells.buckets()):
        with pytest.raises(Unavailable, match="circles"):
            call()
    assert bench.there.cloud.faults[0].seen < 10


def test_a_zone_that_cannot_be_reached_is_no_no(bench: Bench) -> None:
    """Row 6: what is not in an incomplete list may be there all the same."""
    bench.there.world.unreachable.add("zones/us-central1-b")
    with pytest.raises(Unavailable, match="zones/us-central1-b"):
        bench.cpi.has_vm("vm-unknown")
    with pytest.raises(Unavailable):
        bench.cpi.owned()


def test_one_name_in_two_zones_is_told(bench: Bench) -> None:
    for zone in ("us-central1-a", "us-central1-b"):
        bench.there.world.put(f"zones/{zone}/disks/twin", {"zone": bench.there.world.link(f"zones/{zone}"), "users": [], "labels": {}})
    with pytest.raises(Exception, match="us-central1-a and us-central1-b"):
        bench.cpi.has_disk("twin")


@pytest.mark.parametrize("cid", ["", "a b", "x/y", 'x" OR name:*', "ä", "x=y"])
def test_odd_cids_are_not_asked_for(bench: Bench, cid: str) -> None:
    assert bench.count(lambda: bench.cpi.has_vm(cid)) == []
    assert not bench.cpi.has_disk(cid)


def test_links_in_all_their_forms() -> None:
    for link in ("https://compute.googleapis.com/compute/v1/projects/p/zones/z", "projects/p/zones/z", "//x/projects/p/zones/z"):
        assert absolute(link, "q") == "/compute/v1/projects/p/zones/z"
    assert absolute("global/images/i", "q") == "/compute/v1/projects/q/global/images/i"


def test_places_are_forgotten_when_they_are_left(bench: Bench) -> None:
    vm = bench.vm()
    other = bench.again()
    assert other.has_vm(vm.cid)
    bench.cpi.delete_vm(vm.cid)
    assert not other.has_vm(vm.cid)
    places = Places(other._compute)
    with pytest.raises(NotFound):
        places.get("instances", vm.cid)
    assert isinstance(other._compute, Compute)
