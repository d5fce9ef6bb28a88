"""`portability`: offline, with the texts of files."""

from __future__ import annotations

import json
import pathlib

import pytest
from cli_world import Cli

DATA = pathlib.Path(__file__).parents[1] / "portability/data"
MANIFEST = (DATA / "app.yml").read_text()
CLOUD = (DATA / "cloud.yml").read_text()


@pytest.fixture
def files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    (tmp_path / "app.yml").write_text(MANIFEST)
    (tmp_path / "fake.yml").write_text(CLOUD)
    (tmp_path / "lab.yml").write_text(CLOUD.replace("[{name: z1}, {name: z2}]", "[{name: z1}]"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("files")
def test_a_deployment_that_runs_everywhere(offline: Cli) -> None:
    found = offline.ok("portability", "app.yml", "--cloud-config", "fake.yml", "--tty")
    assert "3 machines, 6 cores, 12 GiB, disks 10 GiB" in found.out


def test_what_is_missing_fails_and_is_written_down(offline: Cli, files: pathlib.Path) -> None:
    found = offline(
        "portability", "app.yml", "--cloud-config", "fake.yml", "--cloud-config", "gcp=lab.yml", "--json",
        "--html", "r.html", "--report", "r.json")
    assert found.code == 1
    tables = {table["Content"]: table for table in found.json["Tables"]}
    assert tables["portability"]["Header"]["gcp"] == "gcp"
    assert any(row["state"] == "missing" and row["cloud"] == "gcp" for row in tables["findings"]["Rows"])
    assert (files / "r.html").read_text().startswith("<!doctype html>")
    assert json.loads((files / "r.json").read_text())["state"] == "missing"


def test_strict_counts_differences(offline: Cli, files: pathlib.Path) -> None:
    (files / "wide.yml").write_text(CLOUD.replace("ram: 4096", "ram: 8192"))
    arguments = ["portability", "app.yml", "--cloud-config", "fake.yml", "--cloud-config", "fake=wide.yml"]
    assert offline(*arguments).code == 0
    assert offline(*arguments, "--strict").code == 1


def test_variables_fill_cloud_configs_too(offline: Cli, files: pathlib.Path) -> None:
    (files / "fake.yml").write_text(CLOUD.replace("disk_size: 10240", "disk_size: ((size))"))
    assert "disks 2 GiB" in offline.ok("portability", "app.yml", "--cloud-config", "fake.yml", "-v", "size=2048", "--tty").out


def test_live_asks_the_clouds(offline: Cli, files: pathlib.Path) -> None:
    (files / "cpis.yml").write_text(f"cpis: [{{name: here, type: fake, properties: {{state_file: {files}/cloud.json}}}}]\n")
    arguments = ["portability", "app.yml", "--cloud-config", "fake.yml"]
    found = offline(*arguments, "--live", "cpis.yml", "--json")
    assert found.code == 0
    rows = [row for row in found.json["Tables"][0]["Rows"] if row["topic"].startswith("live")]
    assert rows
    assert {row["fake"] for row in rows} <= {"ok", "?"}
    (files / "cpis.yml").write_text("cpis: [{name: here, type: aws, properties: {}}]\n")
    refused = offline(*arguments, "--live", "cpis.yml")
    assert refused.code == 1
    assert "no entries of type 'fake'" in refused.err


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cloud-config", "lab.yml"], "does not tell which CPI"),
        (["--cloud-config", "azur=lab.yml"], "Did you mean 'azure'?"),
        (["--cloud-config", "fake=nowhere.yml"], "cannot be read"),
        (["--cloud-config", "fake=fake.yml", "--html", "no/such/r"], "cannot be written"),
        ([], "--cloud-config"),
    ],
)
def test_bad_arguments(offline: Cli, arguments: list[str], message: str) -> None:
    found = offline("portability", "app.yml", *arguments)
    assert found.code == 1
    assert message in found.err
