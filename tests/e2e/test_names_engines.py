"""Names where others resolve, too: in containers of a machine, and on a machine whose names systemd-resolved looks up.

Source: issue 5, point 5; DNS contract, section 7.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from harness import ROOT, wait_for
from test_local_cpi_privileged import APT
from test_names import DEPLOYMENT, RUNTIME, Eye, address
from worksite import Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STEMCELL = """---
name: caisson-debian-12-resolved
version: "1.0"
operating_system: debian-bookworm-resolved
api_version: 3
bosh_protocol: "1"
sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709
stemcell_formats: [caisson-light]
cloud_properties:
  infrastructure: local
  recipe:
    extends: debian-12
    packages: [systemd-resolved]
    commands: [ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf]
"""
ENGINE = "\n- name: engine\n  cloud_properties: {memory: 1024, cpus: 2, privileged: true}\n"
BESIDE_RESOLVED = "{health: {enabled: true}, override_nameserver: false, configure_systemd_resolved: true, disable_recursors: true}"
STUB = "../run/systemd/resolve/stub-resolv.conf"
ENGINES, RESOLVED = "q-s4.probe.default.engines.bosh", "q-s4.probe.default.resolved.bosh"


@pytest.fixture(scope="module")
def site(make_site: Callable[[], Site]) -> Iterator[Site]:
    site = make_site()
    site.open()
    cloud = site.text("cloud.yml").replace("\ndisk_types:", f"{ENGINE}\ndisk_types:")
    site.director.run("update-cloud-config", str(site.write("cloud.yml", cloud)))
    site.upload(ROOT / "releases/bosh-dns")
    yield site
    for name in ("engines", "resolved"):
        site.director.run("-d", name, "delete-deployment", "--force", check=False)


def names(site: Site, properties: str) -> None:
    """Put the resolver on all machines, from their next deploy on."""
    version = next(row["version"] for row in site.director.rows("releases") if row["name"] == "bosh-dns").rstrip("*")
    text = RUNTIME.replace("{health: {enabled: true}}", properties)
    site.director.run("update-runtime-config", str(site.write("runtime.yml", text)), "-v", f"version={version}")


def manifest(site: Site, name: str, number: int, **values: str) -> str:
    text = DEPLOYMENT.replace("NAME", name).replace("COUNT", "1").replace("ADDRESSES", address(site, number))
    for old, new in values.items():
        text = text.replace(f"{old}: ", f"{old}: {new} #")
    return text.replace("REPORT", f"'{site.net}.1:{site.listener.port}'")


def test_containers_of_a_machine_find_machines_by_name(site: Site) -> None:
    """Docker as it is: it copies the machine's resolv.conf, or asks what that names on behalf of containers in networks of their own."""
    names(site, "{health: {enabled: true}}")
    site.deploy("engines", manifest(site, "engines", 10, vm_type="engine"), timeout=400)
    machine = Eye(site, site.vms("engines")[0])
    expected = address(site, 10)
    machine.inside("sh", "-c", APT.format("docker.io iptables busybox-static"))
    machine.inside("sh", "-c", "mkdir -p /tmp/root/bin; cp /bin/busybox /tmp/root/bin/; tar -C /tmp/root -c . | docker import - small")
    kept = machine.inside("docker", "run", "--rm", "small", "/bin/busybox", "cat", "/etc/resolv.conf")
    assert "nameserver 169.254.0.2" in kept
    machine.inside("docker", "network", "create", "own")
    for network in ("bridge", "own", "host"):
        told = machine.inside("docker", "run", "--rm", "--network", network, "small", "/bin/busybox", "nslookup", ENGINES)
        assert f"Address: {expected}" in told.replace("Address 1:", "Address:"), (network, told)
    nobody = ENGINES.replace("engines", "nobody")
    assert expected not in machine.inside("docker", "run", "--rm", "small", "/bin/busybox", "nslookup", nobody, check=False)


def test_systemd_resolved_asks_us_for_names_of_machines_and_others_for_all_else(site: Site) -> None:
    site.director.run("upload-stemcell", str(site.write("resolved.yml", STEMCELL)), timeout=400)
    site.director.run("update-runtime-config", str(site.write("no-runtime.yml", "addons: []\n")))
    text = manifest(site, "resolved", 11).replace("os: debian-bookworm,", "os: debian-bookworm-resolved,")
    site.deploy("resolved", text, timeout=400)
    machine = Eye(site, site.vms("resolved")[0])
    assert machine.inside("readlink", "/etc/resolv.conf").strip() == STUB
    assert machine.inside("getent", "ahostsv4", RESOLVED, check=False) == ""
    before = machine.inside("resolvectl", "dns")

    names(site, BESIDE_RESOLVED)
    site.deploy("resolved", text, timeout=400)
    expected = address(site, 11)
    wait_for(lambda: expected in machine.inside("getent", "ahostsv4", RESOLVED, check=False), 15, "the C library finds the machine")
    assert machine.inside("readlink", "/etc/resolv.conf").strip() == STUB, "it is resolved's, as before"
    assert "127.0.0.53" in machine.inside("cat", "/etc/resolv.conf")
    shown = machine.inside("resolvectl", "status", "bosh-dns")
    assert "169.254.0.2" in shown
    assert "~bosh" in shown
    assert "-DefaultRoute" in shown, "for other names it is not asked"
    assert machine.ask("example.com")[0] == "5", "and would refuse them"
    assert machine.ask(RESOLVED) == ("0", {expected}), "asked itself it answers, too"

    site.director.run("update-runtime-config", str(site.write("no-runtime.yml", "addons: []\n")))
    site.deploy("resolved", text, timeout=400)
    assert "bosh-dns" not in machine.inside("ip", "-o", "link")
    assert "169.254.0.2" not in machine.inside("ip", "-o", "address")
    assert machine.inside("resolvectl", "dns") == before
    assert machine.inside("readlink", "/etc/resolv.conf").strip() == STUB
    assert machine.inside("getent", "ahostsv4", RESOLVED, check=False) == ""
