"""The portability report: what it finds, and how it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpis.portable import facts
from director.manifest.load import load_yaml
from director.portability import report as written
from director.portability.model import Report
from director.portability.offer import Offer
from director.portability.study import study

DATA = Path(__file__).parent / "data"
MANIFEST = (DATA / "app.yml").read_text()
CLOUD = (DATA / "cloud.yml").read_text()


def offer(cpi: str, cloud: str = CLOUD, manifest: str = MANIFEST) -> Offer:
    return Offer.read(cpi, facts(cpi), load_yaml(cloud, f"{cpi}.yml"), load_yaml(manifest, "app.yml"))


def report(*offers: Offer) -> Report:
    return study("app", offers)


def verdicts(found: Report, need: str) -> dict[str, tuple[str, str]]:
    """State and text per cloud, of the only row that begins so."""
    (row,) = [row for row in found.rows if row.need.startswith(need)]
    return {label: (verdict.state, verdict.text) for label, verdict in row.verdicts.items()}


def test_what_runs_everywhere_is_ok() -> None:
    found = report(offer("fake"))
    assert found.state() == "note"  # a stemcell must be uploaded
    assert verdicts(found, "web: 2 x small in z1, z2") == {"fake": ("ok", "2 x 4096 MiB (2 cores, 4 GiB)")}
    assert verdicts(found, "private: 3 addresses, 1 of them chosen")["fake"][0] == "ok"
    assert verdicts(found, "db: 1 x large") == {"fake": ("ok", "10 GiB")}
    total = found.totals["fake"]
    assert (total.machines, total.cores, total.ram_mib, total.disk_mib, total.unknown) == (3, 6, 12288, 10240, 0)


def test_sizes_that_differ_by_more_than_a_fifth_are_told() -> None:
    def sized(ram: int) -> Offer:
        return offer("fake", CLOUD.replace("ram: 4096", f"ram: {ram}"))

    for ram, state in ((4096, "ok"), (4915, "ok"), (4916, "differs"), (3414, "ok"), (3400, "differs")):
        other = Offer(**{**sized(ram).__dict__, "label": "other"})
        found = verdicts(report(offer("fake"), other), "web")
        assert found["other"][0] == state, ram
        assert ("where fake has 2 cores, 4 GiB" in found["other"][1]) == (state == "differs")


def test_a_size_that_only_the_cloud_knows_is_unknown() -> None:
    found = report(offer("fake"), offer("openstack", CLOUD.replace("{cpu: 2, ram: 4096}", "{instance_type: ours}")))
    assert verdicts(found, "web")["openstack"] == ("unknown", "ours: only the cloud knows its size")
    assert found.totals["openstack"].unknown == 3


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("static: [10.0.0.20]", "static: [10.0.0.30]"), "belongs to no subnet"),
        (("range: 10.0.1.0/24, gateway: 10.0.1.1", "range: 10.0.1.0/30, gateway: 10.0.1.1, reserved: [10.0.1.2]"), "no more available"),
        (("name: small, cloud", "name: tiny, cloud"), "small"),
        (("vm_types:", "vm_tipes:"), "small"),
        (("[{name: z1}, {name: z2}]", "[{name: z1}]"), "z2"),
        (("name: large", "name: small"), "large"),
    ],
)
def test_what_a_deploy_would_refuse_is_missing(change: tuple[str, str], text: str) -> None:
    assert change[0] in CLOUD
    found = report(offer("fake"), Offer(**{**offer("fake", CLOUD.replace(*change)).__dict__, "label": "bad"}))
    assert found.state("fake") == "note"
    assert found.state("bad") == "missing"
    assert any(text in row.verdicts["bad"].text for row in found.rows if row.topic == "config" and row.verdicts["bad"].state == "missing")


def test_addresses_that_a_cloud_keeps_are_found() -> None:
    """The director would give 10.0.1.2 to a machine; AWS keeps the first four and the last of a subnet."""
    found = report(offer("fake"), offer("aws"))
    state, text = verdicts(found, "private")["aws"]
    assert state == "missing"
    assert "10.0.0.2" in text
    good = CLOUD
    for az, kept in (("z1", "10.0.0.2-10.0.0.3"), ("z2", "10.0.1.2-10.0.1.3")):
        good = good.replace(f"azs: [{az}]", f"azs: [{az}], reserved: [{kept}]")
    assert "keeps" not in verdicts(report(offer("aws", good)), "private")["aws"][1]


def test_one_subnet_for_several_zones_where_a_subnet_has_one() -> None:
    cloud = CLOUD.replace("azs: [z1], static: [10.0.0.20]", "azs: [z1, z2], static: [10.0.0.20], reserved: [10.0.0.2-10.0.0.3]")
    assert "for several zones" in verdicts(report(offer("aws", cloud)), "private")["aws"][1]
    assert verdicts(report(offer("gcp", cloud)), "private")["gcp"][0] == "ok"


def test_features_that_lack_come_with_a_way_round() -> None:
    cloud = CLOUD.replace("compilation:", "- {name: cloud-made, type: dynamic, subnets: [{azs: [z1, z2]}]}\ncompilation:")
    manifest = MANIFEST.replace("networks: [{name: private}]", "networks: [{name: private, default: [dns, gateway]}, {name: cloud-made}]")
    found = report(offer("fake", cloud, manifest), offer("gcp", cloud, manifest), offer("vsphere", cloud, manifest))
    assert [verdicts(found, "machines on several networks")[name][0] for name in ("gcp", "vsphere")] == ["ok", "ok"]
    (row,) = [row for row in found.rows if row.need == "addresses chosen by the cloud"]
    assert row.verdicts["vsphere"].state == "missing"
    assert "manual network" in row.verdicts["vsphere"].instead


def test_disks_have_limits() -> None:
    found = report(offer("aws", CLOUD.replace("disk_size: 10240", "disk_size: 20000000")))
    assert "more than the largest disk" in verdicts(found, "db: 1 x large")["aws"][1]


def test_many_disks_on_one_machine() -> None:
    disks = ", ".join(f"{{name: d{number}, type: large}}" for number in range(12))
    manifest = MANIFEST.replace("persistent_disk_type: large", f"persistent_disks: [{disks}]")
    found = report(offer("aws", manifest=manifest), offer("gcp", manifest=manifest))
    assert verdicts(found, "disks of a machine")["aws"] == ("missing", "12 disks, 11 at most")
    assert verdicts(found, "disks of a machine")["gcp"][0] == "ok"


def test_a_manifest_that_is_none_is_told() -> None:
    found = report(offer("fake", "networks: 3"), offer("gcp"))
    assert found.state("fake") == "missing"
    assert "fake" not in found.totals


def test_the_report_as_json_and_page() -> None:
    found = report(offer("fake"), offer("aws", CLOUD.replace("name: large", "name: <b>")))
    shape = json.loads(json.dumps(written.to_json(found)))
    assert shape["state"] == "missing"
    assert [cloud["label"] for cloud in shape["clouds"]] == ["fake", "aws"]
    assert shape["clouds"][0]["counts"]["ok"] > 5
    page = written.to_html(found)
    assert "<h1>Portability of app</h1>" in page
    assert "<b>MISSING</b>" in page
    assert "'<b>'" not in page
