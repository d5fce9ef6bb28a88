"""The settings that the job `bosh-dns` writes are settings that the resolver takes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import foundation
import pytest
import yaml

from director.guest.dns import settings

JOB = foundation.RELEASES / "bosh-dns/jobs/bosh-dns"
SPEC: dict[str, Any] = yaml.safe_load((JOB / "spec").read_text("utf-8"))["properties"]
RUBY = "require 'erb'; require 'json'; given = JSON.parse(STDIN.read); define_method(:p) { |name| given.fetch(name) }; " \
    "define_method(:spec) { Struct.new(:ip).new('10.9.8.7') }; " \
    "print ERB.new(File.read(ARGV[0]), trim_mode: '-').result(binding)"

pytestmark = pytest.mark.skipif(shutil.which("ruby") is None, reason="there is no ruby here")


def rendered(**given: Any) -> subprocess.CompletedProcess[str]:
    properties = {name: about["default"] for name, about in SPEC.items()}
    properties.update({name.replace("__", "."): value for name, value in given.items()})
    template = str(JOB / "templates/bosh-dns.json.erb")
    return subprocess.run(["ruby", "-e", RUBY, template], input=json.dumps(properties), capture_output=True, text=True, check=False)


def test_the_defaults_are_those_of_the_resolver_where_both_have_one() -> None:
    found = settings.parse(json.loads(rendered().stdout))
    assert found.listen == (("169.254.0.2", 53),)
    assert found.control
    assert found.override_nameserver
    given = {
        "listen", "records", "override_nameserver", "control", "alias_files", "handler_files", "address_files", "aliases", "keys",
        "records_word", "host_state", "nameserver"}
    bare = settings.Settings(found.listen, found.records)
    assert {name for name in settings.Settings._fields if name not in given and getattr(found, name) != getattr(bare, name)} == set()


def test_every_setting_can_be_given() -> None:
    tree = json.loads(rendered(
        address="10.0.0.1", port=5353, metrics__enabled=True, recursors=["10.0.0.2"], recursor_timeout="500ms", cache__stale_for="2h",
        rate_limit=100, processes=2, access__networks=["own", "10.0.0.0/8"],
        handlers=[{"domain": "a.example", "source": {"type": "deny"}}]).stdout)
    fields = set(settings.Settings._fields)
    mine = fields - {"resolv_conf", "health_address", "health_speaks"}
    assert mine <= set(tree) <= fields
    found = settings.parse(tree)
    assert (found.metrics, found.recursor_timeout, found.cache_stale_seconds) == (("127.0.0.1", 53088), 0.5, 7200)


def test_containers_may_need_the_machines_own_address() -> None:
    tree = json.loads(rendered(reachable_from_containers=True).stdout)
    assert (tree["listen"], tree["nameserver"]) == (["169.254.0.2:53", "10.9.8.7:53"], "10.9.8.7")
    assert json.loads(rendered().stdout)["nameserver"] == "169.254.0.2"


def test_health_and_signatures_can_be_chosen() -> None:
    found = settings.parse(json.loads(rendered(health__enabled=True, health__server__port=9953, records_signed=False).stdout))
    assert (found.health, found.health_port, found.records_word) == (True, 9953, "")


@pytest.mark.parametrize(("given", "why"), [
    ({"recursor_timeout": "soon"}, "`recursor_timeout` is no duration"),
    ({"configure_systemd_resolved": True}, "exclude each other"),
    ({"recursor_selection": "quick"}, "`recursor_selection` is smart or serial"),
    ({"cache__stale_for": "1d"}, "`cache.stale_for` is no duration"),
])
def test_what_cannot_be_is_said_when_it_is_rendered(given: dict[str, str], why: str) -> None:
    done = rendered(**given)
    assert done.returncode
    assert why in done.stderr


def test_each_property_is_described() -> None:
    assert [name for name, about in SPEC.items() if not about.get("description")] == []
    assert Path(JOB / "templates/ctl.erb").read_text("utf-8").count("bosh_dns") >= 2
