"""Machines fetch packages themselves from a director that they reach, and are sent them by one that they do not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from worksite import Site

pytestmark = pytest.mark.e2e

FETCHED, CUT_OFF = "was fetched by the machine itself", "sends blobs to this machine over SSH"


def start(site: Site, port: int) -> None:
    """A director that listens everywhere (the machines' bridge is made with the first of them), said to be at this port."""
    director = site.director
    director.run(
        "director", "start", "--port", str(director.port), "--alias", "test", "--host", "0.0.0.0",
        "--blobs-url", f"https://{site.net}.1:{port}")


@pytest.fixture(scope="module")
def site(make_site: Any) -> Site:
    site: Site = make_site("10.219.1")
    start(site, site.director.port)
    site.open()
    return site


def manifest(site: Site) -> str:
    return re.sub(r"instances: \d+", "instances: 1", site.text("many.yml").replace("name: many", "name: signed"))


def lines(site: Site, words: str) -> list[str]:
    """Lines of the last task's debug output with these words."""
    text = (site.director.state / "tasks" / str(site.last_task()) / "debug").read_text()
    return [line for line in text.splitlines() if words in line]


def asked(site: Site) -> list[str]:
    """Blobs that the director gave to the machine, by action, as the agent's own log tells."""
    log = site.director.ssh("signed", "probe/0", "sudo grep -E ' (fetch_blob|write_file) ' /var/vcap/bosh/log/current")
    return log.splitlines()


def test_packages_are_fetched_and_templates_sent(site: Site) -> None:
    site.deploy("signed", manifest(site))
    assert len(lines(site, FETCHED)) == 4, "two sources and a dependency by the machine that compiles, a package by the other"
    assert lines(site, CUT_OFF) == []
    told = {line.split()[1]: line for line in asked(site)}
    assert sorted(told) == ["fetch_blob", "write_file"], "the package, the templates"
    assert " <redacted> " in told["fetch_blob"]
    assert told["fetch_blob"].endswith(" ok")


def test_a_machine_that_cannot_is_sent_them(site: Site) -> None:
    site.director.stop()
    start(site, 1)
    site.director.run("-d", "signed", "recreate", "probe/0")
    assert lines(site, FETCHED) == []
    (line, *_) = lines(site, CUT_OFF)
    assert "ConnectionRefusedError: Connection refused (3 tries)" in line
    assert [row["process_state"] for row in site.director.instances("signed")] == ["running"]


def test_links_are_nowhere_in_plain(site: Site) -> None:
    of_machines = [path for part in ("vcap", "log") for path in site.cloud.glob(f"vms/*/upper/var/{part}/**/*")]
    of_director = [path for path in site.director.state.rglob("*") if not path.is_relative_to(site.cloud)]
    files = [path for path in (*of_machines, *of_director) if path.is_file() and not path.is_symlink()]
    assert {"debug", "director.log", "caisson.db", "current"} <= {path.name for path in files}
    assert [path for path in files if b"signature=" in path.read_bytes()] == []
