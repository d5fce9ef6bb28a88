"""`portability --run`: which clouds are tried, and how what came out is told; the director is none."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from unittest import mock

import pytest
from cli_world import Cli

from cpis.contract import Invalid
from director.cli import rehearsal_report, rehearsing, templates
from director.cli.rehearsing import Came
from director.errors import TaskError

DATA = pathlib.Path(__file__).parents[1] / "portability/data"
INSTANCES = [
    {"instance": "web/1", "az": "z1", "process": "", "process_state": "running"},
    {"instance": "~", "az": "", "process": "web", "process_state": "running"},
    {"instance": "", "az": "", "process": "log", "process_state": "failing"},
]
RUN = ("portability", "app.yml", "--cloud-config", "gcp=gcp.yml", "--cloud-config", "fake.yml", "--run")


@pytest.fixture
def director(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """The only one, for all clouds."""
    cloud = (DATA / "cloud.yml").read_text()
    (tmp_path / "app.yml").write_text((DATA / "app.yml").read_text())
    (tmp_path / "fake.yml").write_text(cloud)
    (tmp_path / "gcp.yml").write_text(
        cloud.replace("{name: z1}", "{name: z1, cloud_properties: {zone: eu-west9-a}}")
        .replace("{name: z2}", "{name: z2, cloud_properties: {zone: eu-west9-b}}"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = mock.Mock(state=tmp_path)
    found.rows.side_effect = lambda *arguments: INSTANCES if "instances" in arguments else []
    found.run.return_value.returncode = 0

    @contextlib.contextmanager
    def made(state: pathlib.Path, stage: object) -> Iterator[mock.Mock]:
        yield found

    monkeypatch.setattr(rehearsing, "_director", made)
    return found


def test_each_cloud_gets_its_own_cloud_config(offline: Cli, director: mock.Mock) -> None:
    found = offline(*RUN, "--errand", "smoke", "--report", "r.json", "--json")
    assert found.code == 0, found.err
    tables = {table["Content"]: table["Rows"] for table in found.json["Tables"]}
    assert tables["rehearsal"] == [
        {"what": "web", "where": "z1", "came_out": "failing: log; running: web", "gcp": "1", "fake": "1"},
        {"what": "smoke", "where": "errand", "came_out": "exit code 0", "gcp": "1", "fake": "1"},
    ]
    assert [row["stage"] for row in tables["durations"]] == ["starting", "uploading", "deploying", "errands", "deleting", "in all"]
    given = [call.args for call in director.given.call_args_list]
    (gcp, fake) = [tree for verb, tree in given if verb == "update-cloud-config"]
    assert gcp["azs"][0] == {"name": "z1", "cpi": "elsewhere", "cloud_properties": {"zone": "eu-west9-a"}}
    assert fake["azs"][0] == {"name": "z1", "cpi": "elsewhere"}
    assert gcp["networks"][0]["subnets"][0]["range"] == "10.0.0.0/24"
    kinds = [tree["cpis"][0]["properties"]["cloud"] for verb, tree in given if verb == "update-cpi-config"]
    assert kinds == ["gcp", "fake"]
    assert [item["label"] for item in json.loads(pathlib.Path("r.json").read_text())["rehearsal"]] == ["gcp", "fake"]
    assert "The same came out on gcp, fake\n" in found.json["Blocks"]


@pytest.mark.usefixtures("director")
def test_files_are_read_once(offline: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    evaluate = templates.evaluate
    monkeypatch.setattr(templates, "evaluate", lambda path, sources: [read.append(path), evaluate(path, sources)][1])
    offline.ok(*RUN)
    assert sorted(read) == ["app.yml", "fake.yml", "gcp.yml"]


def test_a_cloud_that_fails_is_named_with_the_next_step(offline: Cli, director: mock.Mock) -> None:
    """The next one is tried all the same, and a pipe is told."""
    director.run.side_effect = _failing_once(director.run.return_value, TaskError("it ended with 1", suggestion="Look at it."))
    found = offline(*RUN)
    assert found.code == 1
    assert "gcp: failed while deploying: it ended with 1\n  Look at it." in found.err
    assert "fake: deployed, looked at and deleted" in found.out
    assert "came out on" not in found.out


def _failing_once(fine: object, error: Exception) -> object:
    errors = [error]

    def run(*arguments: str, **more: object) -> object:
        if "deploy" in arguments and errors:
            raise errors.pop()
        return fine

    return run


@pytest.mark.usefixtures("director")
def test_what_cannot_be_furnished_fails_that_cloud_alone(offline: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, wanted: object) -> None:
        raise Invalid("the zones are of two regions", suggestion="Make two cloud configs.")

    monkeypatch.setattr("cpis.conformance.clouds.gcp.GcpStandIn.furnish", refuse)
    found = offline(*RUN)
    assert found.code == 1
    assert "gcp: failed while starting: the zones are of two regions\n  Make two cloud configs." in found.err
    assert "fake: deployed, looked at and deleted" in found.out


@pytest.mark.usefixtures("director")
def test_only_root_makes_machines(offline: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = offline(*RUN)
    assert found.code == 1
    assert "--run needs root" in found.err


def test_when_all_is_well() -> None:
    fine = Came("a", (("web", "z1", "running: web"),), {"smoke": "exit code 0"})
    assert rehearsal_report.all_well([fine, Came("b", fine.instances, fine.errands)], strict=True)
    assert not rehearsal_report.all_well([fine, Came("b", (("web", "z2", "running: web"),), fine.errands)], strict=False)
    assert not rehearsal_report.all_well([fine, Came("b", failed="deploying: no")], strict=False)
    assert not rehearsal_report.all_well([fine, Came("b", fine.instances, fine.errands, left=("disk 1",))], strict=False)
    assert not rehearsal_report.all_well([Came("a", errands={"smoke": "failed"})], strict=False)
    absent = [fine, Came("b", absent="no root")]
    assert rehearsal_report.all_well(absent, strict=False)
    assert not rehearsal_report.all_well(absent, strict=True)
