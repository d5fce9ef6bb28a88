"""Names and metadata: whatever they are, they are put on or cut, never refused."""

from __future__ import annotations

from typing import Any

from cpis.conformance.bench import Bench
from cpis.contract import Cpi, Found, NotSupported

# Keys and values as manifests have them, and such as no cloud takes. Manifests have null and numbers, though the types say otherwise.
ODD: dict[str, Any] = {
    "name": "web/0", "long": "x" * 300, "label": "a/b ü 漢 🚀", "empty": "", "null": None, "UPPER": "Value", "12": "number first",
    "k" * 200: "long key", "ключ": "значение", "with space": "a  b", "aws:reserved": "x", "a.b/c": "d,e=f;g", "quote": "\"'<>&%\\?",
    "lines": "one\ntwo\ttabs", "number": 7,
}
FORCED = {
    "director": "conformance", "deployment": "conformance", "instance_group": "web", "job": "web", "id": "0000", "index": "0",
    "name": "web/0000", "created_at": "2026-01-01T00:00:00Z",
}


def metadata_is_never_refused(bench: Bench) -> None:
    """Row 15: long, odd, empty and null keys and values are cut, cleaned or dropped, on machines, disks and snapshots."""
    vm, disk, token = bench.vm(), bench.disk(), bench.token()
    bench.cpi.set_vm_metadata(vm.cid, ODD)
    bench.cpi.set_disk_metadata(disk, ODD)
    _snapshot(bench.cpi, disk, ODD, token)


def odd_metadata_at_creation(bench: Bench) -> None:
    """Row 15: what may be set later may be given at creation, too."""
    bench.vm(0, metadata=ODD)
    request = bench.disk_request()
    bench.cpi.create_disk(type(request)(request.token, request.size_mib, request.cloud_properties, metadata=ODD))


def many_tags_lose_ours_last(bench: Bench) -> None:
    """Row 16: more tags than the cloud takes are dropped, the forced ones of BOSH last, and the machine and disk are still found."""
    request, disk_request = bench.request(0, metadata={**_many(), **FORCED}), bench.disk_request()
    vm, disk = bench.cpi.create_vm(request), bench.cpi.create_disk(disk_request)
    bench.cpi.set_vm_metadata(vm.cid, {**_many(), **FORCED})
    bench.cpi.set_disk_metadata(disk, {**_many(), **FORCED})
    for token, cid in ((request.token, vm.cid), (disk_request.token, disk)):
        found = _found(bench, token, cid)
        assert found.metadata.get("deployment") == "conformance", f"a forced tag was dropped: {dict(found.metadata)}"


def _many() -> dict[str, str]:
    return {f"a-tag-{number:03}": f"value-{number}" for number in range(100)}


def metadata_is_replaced(bench: Bench) -> None:
    """Setting metadata replaces what was set before, and the machine and disk are still found by token and mark."""
    request, disk_request = bench.request(), bench.disk_request()
    vm, disk = bench.cpi.create_vm(request), bench.cpi.create_disk(disk_request)
    for metadata in ({"deployment": "one", "extra": "x"}, {"deployment": "two"}, {"deployment": "two"}):
        bench.cpi.set_vm_metadata(vm.cid, metadata)
        bench.cpi.set_disk_metadata(disk, metadata)
    for token, cid in ((request.token, vm.cid), (disk_request.token, disk)):
        found = _found(bench, token, cid)
        assert found.metadata.get("deployment") == "two", f"not the metadata that was set last: {dict(found.metadata)}"
        assert "extra" not in found.metadata, "metadata was added to, not replaced"
        assert (cid, token) in {(item.cid, item.token) for item in bench.cpi.owned()}
    assert bench.cpi.create_vm(request).cid == vm.cid


def _found(bench: Bench, token: str, cid: str) -> Found:
    return next(found for found in bench.cpi.find(token) if found.cid == cid)


def _snapshot(cpi: Cpi, disk: str, metadata: dict[str, str], token: str) -> None:
    """A snapshot where the cloud has them."""
    try:
        cpi.snapshot_disk(disk, metadata, token)
    except NotSupported:
        return
    cpi.delete_disk(disk)


CASES = (metadata_is_never_refused, odd_metadata_at_creation, many_tags_lose_ours_last, metadata_is_replaced)
