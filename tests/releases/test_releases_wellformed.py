"""The release directories as data: what every job must have, so that an operator finds it in each."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import foundation
import pytest
import yaml

from director.release import job

JOBS = [(release, name) for release in foundation.NAMES for name in sorted(foundation.jobs_of(release))]
ERRANDS = {"smoke-tests"}
_USES = re.compile(r"\bp\(\s*\[?\s*['\"]([a-z0-9_.]+)['\"]")
_LINKS = re.compile(r"\b(?:if_)?link\(['\"]([a-z0-9_-]+)['\"]\)")


def source_of(release: str, name: str) -> job.JobSource:
    return foundation.jobs_of(release)[name]


def texts(release: str, name: str) -> Iterator[tuple[str, str]]:
    source = source_of(release, name)
    yield "monit", source.monit
    yield from source.templates.items()


@pytest.mark.parametrize(("release", "name"), JOBS)
def test_properties_are_described_and_all_that_templates_use(release: str, name: str) -> None:
    declared = {item.name: item for item in source_of(release, name).spec.properties}
    assert [item.name for item in declared.values() if len(item.description) < 10] == []
    used = set()
    for _, text in texts(release, name):
        # Those of a link belong to the job that provides it.
        used |= set(_USES.findall(re.sub(r"\w+(?:\([^()]*\))?\.p\([^()]*\)", "", text)))
    assert used <= set(declared), "undeclared properties never reach a template"


@pytest.mark.parametrize(("release", "name"), JOBS)
def test_links_that_templates_use_are_consumed(release: str, name: str) -> None:
    consumed = {item.name for item in source_of(release, name).spec.consumes}
    used = {link for _, text in texts(release, name) for link in _LINKS.findall(text)}
    assert used <= consumed


@pytest.mark.parametrize(("release", "name"), JOBS)
def test_link_properties_are_declared(release: str, name: str) -> None:
    spec = source_of(release, name).spec
    declared = {item.name for item in spec.properties}
    assert {item for link in spec.provides for item in link.properties} <= declared


@pytest.mark.parametrize(("release", "name"), [item for item in JOBS if item[1] not in ERRANDS])
def test_daemons_are_watched_started_and_logged_alike(release: str, name: str) -> None:
    source = source_of(release, name)
    checks = re.findall(r"^check process (\S+)", source.monit, re.MULTILINE)
    assert checks
    assert source.monit.count("group vcap") == len(checks), "the agent sees services of that group alone"
    for word in (f"/var/vcap/sys/run/{name}/", f"/var/vcap/jobs/{name}/bin/ctl start", f"/var/vcap/jobs/{name}/bin/ctl stop"):
        assert source.monit.count(word) == len(checks)
    control = next(text for template, text in source.templates.items() if template.startswith("ctl"))
    assert f"/var/vcap/sys/log/{name}" in control
    assert f"/var/vcap/sys/run/{name}" in control


@pytest.mark.parametrize(("release", "name"), [item for item in JOBS if item[1] not in {*ERRANDS, "bosh-dns", "route-registrar"}])
def test_what_serves_others_says_whether_it_is_healthy(release: str, name: str) -> None:
    assert "bin/dns/healthy" in source_of(release, name).spec.templates.values()


@pytest.mark.parametrize("release", foundation.NAMES)
def test_packages_exist_and_take_debian_folders_that_are_named(release: str) -> None:
    folder = foundation.RELEASES / release
    packages = {path.name for path in (folder / "packages").iterdir()}
    wanted = {package for source in foundation.jobs_of(release).values() for package in source.spec.packages}
    assert wanted == packages
    debian = folder / "config" / "debian.yml"
    folders = set(yaml.safe_load(debian.read_text("utf-8"))) if debian.exists() else set()
    patterns = [
        pattern for name in packages for pattern in yaml.safe_load((folder / "packages" / name / "spec").read_text("utf-8"))["files"]
    ]
    assert {pattern.split("/")[0] for pattern in patterns if pattern.endswith(".deb")} == folders


@pytest.mark.parametrize("release", foundation.NAMES)
def test_scripts_are_valid_shell(release: str) -> None:
    for path in (foundation.RELEASES / release).glob("packages/*/packaging"):
        assert subprocess.run(["bash", "-n", str(path)], capture_output=True, check=False).returncode == 0, path


@pytest.mark.parametrize("release", foundation.NAMES)
def test_each_release_has_a_readme_that_names_its_jobs(release: str) -> None:
    text = (foundation.RELEASES / release / "README.md").read_text("utf-8")
    for name in foundation.jobs_of(release):
        assert f"`{name}`" in text
    for heading in ("## Jobs", "## Try it"):
        assert heading in text
