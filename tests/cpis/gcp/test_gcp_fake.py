"""The fake of Compute Engine is as strict as the service where a CPI could go wrong unnoticed: cloud-emulators reference, section 5."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import libcloud
import pytest
from gcp_bench import Bench

from cpis.conformance.clouds.gcp import GcpStandIn, start
from cpis.conformance.clouds.gcp.filters import matching
from cpis.conformance.clouds.gcp.world import Refused

ZONE = "/zones/us-central1-a"
DISK = {"name": "d1", "sizeGb": "10"}


def send(
    there: GcpStandIn, method: str, path: str, body: Any = None, *, token: str = "good", whole: bool = False,
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """(status, body, headers) of a request by another client than the CPI's."""
    there.cloud.sign_in_as("good")
    url = there.endpoint + ("" if whole else "/compute/v1/projects/fake-project") + path
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read() or "{}"), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or "{}"), error.headers


def reason(answer: tuple[int, dict[str, Any], Any]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["errors"][0]["reason"]


def test_without_a_token(there: GcpStandIn) -> None:
    assert reason(send(there, "GET", ZONE, token="bad")) == (401, "authError")
    there.cloud.sign_in_as("good")
    there.cloud.expire_tokens()
    request = urllib.request.Request(there.endpoint + "/compute/v1/projects/fake-project/zones", headers={"Authorization": "Bearer good"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    caught.value.close()
    assert caught.value.code == 401


def test_one_request_id_is_one_change(there: GcpStandIn) -> None:
    number = uuid.uuid4()
    first = send(there, "POST", f"{ZONE}/disks?requestId={number}", DISK)[1]
    assert send(there, "POST", f"{ZONE}/disks?requestId={number}", DISK)[1]["name"] == first["name"]
    assert reason(send(there, "POST", f"{ZONE}/disks?requestId={uuid.uuid4()}", DISK)) == (409, "alreadyExists")
    assert reason(send(there, "POST", f"{ZONE}/disks?requestId={number}", {**DISK, "name": "d2"})) == (400, "invalid")
    for bad in ("00000000-0000-0000-0000-000000000000", "x"):
        assert reason(send(there, "POST", f"{ZONE}/disks?requestId={bad}", {**DISK, "name": "d3"})) == (400, "invalid")
    assert there.resources() == [("disks", "zones/us-central1-a/disks/d1")]


def test_operations_take_their_time_and_wait_holds_its_answer(tmp_path: Path) -> None:
    with start(tmp_path, latency=0.3) as there:
        started = time.monotonic()
        operation = send(there, "POST", f"{ZONE}/disks", DISK)[1]
        assert operation["status"] == "PENDING"
        assert send(there, "GET", f"{ZONE}/disks/d1")[1]["status"] == "CREATING"
        assert send(there, "GET", f"{ZONE}/operations/{operation['name']}")[1]["status"] == "RUNNING"
        assert time.monotonic() - started < 0.3
        done = send(there, "POST", f"{ZONE}/operations/{operation['name']}/wait")[1]
        assert (done["status"], done["progress"]) == ("DONE", 100)
        assert time.monotonic() - started >= 0.3
        assert send(there, "GET", f"{ZONE}/disks/d1")[1]["status"] == "READY"


def test_operations_are_where_they_belong(there: GcpStandIn) -> None:
    name = send(there, "POST", f"{ZONE}/disks", DISK)[1]["name"]
    assert send(there, "GET", f"{ZONE}/operations/{name}")[0] == 200
    assert reason(send(there, "GET", f"/zones/us-central1-b/operations/{name}")) == (404, "notFound")
    assert reason(send(there, "GET", f"/global/operations/{name}")) == (404, "notFound")
    assert reason(send(there, "POST", "/global/operations/nothing/wait")) == (404, "notFound")


@pytest.mark.parametrize(("method", "path", "body", "expected"), [
    ("POST", f"{ZONE}/disks", {**DISK, "sizeGB": "10"}, (400, "badRequest")),
    ("POST", f"{ZONE}/disks", {**DISK, "name": "D_1"}, (400, "invalid")),
    ("POST", f"{ZONE}/disks", {**DISK, "sizeGb": "5"}, (400, "invalid")),
    ("POST", f"{ZONE}/disks", {**DISK, "labels": {"a/b": "c"}}, (400, "invalid")),
    ("POST", f"{ZONE}/disks", {**DISK, "labels": {"a": "C"}}, (400, "invalid")),
    ("POST", f"{ZONE}/disks", {**DISK, "labels": {f"k{number}": "x" for number in range(65)}}, (400, "invalid")),
    ("POST", f"{ZONE}/disks", {**DISK, "type": "projects/fake-project/zones/us-central1-b/diskTypes/pd-ssd"}, (400, "invalid")),
    ("POST", "/zones/nowhere/disks", DISK, (404, "notFound")),
    ("POST", f"{ZONE}/disks/none/resize", {"sizeGb": "20"}, (404, "notFound")),
    ("POST", f"{ZONE}/instances", {"name": "i", "machine_type": "x"}, (400, "badRequest")),
    ("POST", f"{ZONE}/instances/i/attachDisk", {}, (404, "notFound")),
    ("POST", f"{ZONE}/nonsense", {}, (404, "notFound")),
    ("DELETE", f"{ZONE}/machineTypes/e2-small", None, (404, "notFound")),
    ("GET", f"{ZONE}/instances?filter=((", None, (400, "invalid")),
    ("PUT", ZONE, {}, (405, "methodNotAllowed")),
])
def test_what_the_service_refuses(there: GcpStandIn, method: str, path: str, body: Any, expected: tuple[int, str]) -> None:
    assert reason(send(there, method, path, body)) == expected
    assert not there.resources()


def test_a_stale_fingerprint(there: GcpStandIn) -> None:
    send(there, "POST", f"{ZONE}/disks", DISK)
    fingerprint = send(there, "GET", f"{ZONE}/disks/d1")[1]["labelFingerprint"]
    assert send(there, "POST", f"{ZONE}/disks/d1/setLabels", {"labels": {"a": "b"}, "labelFingerprint": fingerprint})[0] == 200
    stale = send(there, "POST", f"{ZONE}/disks/d1/setLabels", {"labels": {}, "labelFingerprint": fingerprint})
    assert reason(stale) == (412, "conditionNotMet")
    assert send(there, "GET", f"{ZONE}/disks/d1")[1]["labels"] == {"a": "b"}


def test_lists_come_in_pages(there: GcpStandIn) -> None:
    for number in range(5):
        send(there, "POST", f"{ZONE}/disks", {**DISK, "name": f"d{number}", "labels": {"odd": str(number % 2)}})
    first = send(there, "GET", "/aggregated/disks?maxResults=2")[1]
    names, token = [item["name"] for item in first["items"]["zones/us-central1-a"]["disks"]], first["nextPageToken"]
    while token:
        page = send(there, "GET", f"/aggregated/disks?maxResults=2&pageToken={token}")[1]
        names += [item["name"] for item in page["items"]["zones/us-central1-a"]["disks"]]
        token = page.get("nextPageToken")
    assert names == [f"d{number}" for number in range(5)]
    odd = send(there, "GET", f"{ZONE}/disks?filter=labels.odd=1")[1]["items"]
    assert [item["name"] for item in odd] == ["d1", "d3"]


@pytest.mark.parametrize(("expression", "found"), [
    ("name=a", "a"), ('name = "a"', "a"), ("name eq b", "b"), ("name!=a", "bc"), ("labels.x=1", "ab"), ("labels.x=1 AND name=b", "b"),
    ("(labels.x=1) (name=b)", "b"), ("(labels.x = 1) AND (labels.y:*)", "a"), ("nics.ip=10.0.0.2", "b"), ("labels.none=1", ""),
])
def test_filters(expression: str, found: str) -> None:
    items = [
        {"name": "a", "labels": {"x": "1", "y": ""}, "nics": [{"ip": "10.0.0.1"}]},
        {"name": "b", "labels": {"x": "1"}, "nics": [{"ip": "10.0.0.3"}, {"ip": "10.0.0.2"}]}, {"name": "c"}]
    assert "".join(item["name"] for item in matching(items, expression)) == found


@pytest.mark.parametrize("expression", ["name", "=a", "name=a OR", "(((", "name~x"])
def test_what_is_no_filter(expression: str) -> None:
    with pytest.raises(Refused):
        matching([], expression)


def test_a_resumable_upload(there: GcpStandIn) -> None:
    send(there, "POST", "/storage/v1/b?project=fake-project", {"name": "bucket-1"}, whole=True)
    _, _, headers = send(there, "POST", "/upload/storage/v1/b/bucket-1/o?uploadType=resumable&name=o", whole=True)
    half = b"x" * 262_144

    def put(content_range: str, data: bytes) -> tuple[int, str]:
        request = urllib.request.Request(
            headers["Location"], data, {"Authorization": "Bearer good", "Content-Range": content_range}, method="PUT")
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get("Range", "")

    total = 2 * len(half)
    assert put(f"bytes */{total}", b"") == (308, "")
    assert put(f"bytes 0-262143/{total}", half) == (308, "bytes=0-262143")
    assert put(f"bytes 262144-262243/{total}", b"y" * 100)[0] == 400, "chunks are multiples of 256 KiB"
    assert put(f"bytes 300000-562143/{total}", half)[0] == 400, "there would be a gap"
    assert put(f"bytes 262144-{total - 1}/{total}", half)[0] == 200
    assert put(f"bytes */{total}", b"")[0] == 200
    assert there.world.objects["bucket-1", "o"] == half * 2
    assert reason(send(there, "DELETE", "/storage/v1/b/bucket-1", whole=True)) == (409, "conflict")


def test_answers_have_the_fields_of_recorded_ones(bench: Bench) -> None:
    """Against Libcloud's own fixtures, which were recorded from the service: what we read must be there in both."""
    folder = Path(libcloud.__file__).parent / "test" / "compute" / "fixtures" / "gce"
    vm, disk = bench.vm(), bench.disk()
    snapshot = bench.cpi.snapshot_disk(disk, {}, bench.token("snapshot"))
    recorded = {
        "zones_us-central1-a_instances_node-name.json": bench.thing("instances", vm.cid),
        "zones_us-central1-a_disks_lcdisk.json": bench.thing("disks", disk),
        "global_snapshots_lcsnapshot.json": bench.thing("snapshots", snapshot),
        "zones_us-central1-a.json": bench.there.world.things["zones/us-central1-a"],
        "regions_us-central1_targetPools_lctargetpool.json": bench.there.world.things["regions/us-central1/targetPools/routers"],
    }
    read = {
        "name", "zone", "status", "disks", "networkInterfaces", "selfLink", "sizeGb", "type", "creationTimestamp", "sourceDisk", "region",
        "instances", "kind", "id", "machineType", "metadata", "tags", "scheduling"}
    for name, ours in recorded.items():
        theirs = json.loads((folder / name).read_text())
        missing = (set(theirs) & read) - set(ours)
        assert not missing, f"{name}: {missing}"
        for key in set(theirs) & set(ours) & read:
            assert type(theirs[key]) is type(ours[key]), f"{name}: {key}"
