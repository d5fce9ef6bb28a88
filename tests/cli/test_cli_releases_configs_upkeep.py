from __future__ import annotations

import json
import pathlib
import shutil

from cli_world import Cli, Script

from director.release.model import JobSpec, PackageSpec, Release
from director.state.addresses import AddressRow
from director.state.blobs import BlobRow
from director.state.instances import InstanceRow
from director.state.stemcells import StemcellRow
from director.state.vms import VmRow


def test_configs(cli: Cli) -> None:
    path = cli.file("cloud.yml", "azs:\n- name: z1\n")
    assert "No cloud config" in cli("cloud-config").err
    result = cli.ok("-n", "update-cloud-config", path)
    assert "+ azs:" in result.out
    assert cli.ok("cloud-config").out == "azs:\n- name: z1\n"
    cli.ok("-n", "update-config", path, "--type", "runtime", "--name", "dns")
    assert cli.ok("runtime-config", "--name", "dns").out == "azs:\n- name: z1\n"
    assert [(row["type"], row["name"]) for row in cli.ok("configs", "--json").rows] == [("cloud", "default"), ("runtime", "dns")]
    assert cli.ok("config", "1", "--json").rows[0]["content"] == "azs:\n- name: z1\n"
    assert "Config update rejected" in cli("-n", "update-config", path, "--type=cloud", "--name=default", "--expected-latest-id=7").err
    cli.ok("-n", "update-cloud-config", cli.file("cloud2.yml", "azs:\n- name: z2\n"))
    assert cli.ok("diff-config", "--from-id=1", "--to-id=3").out == "  azs:\n+ - name: z2\n- - name: z1\n"
    cli.ok("-n", "delete-config", "--type=runtime", "--name=dns")
    cli.terminal = True
    assert "No configs to delete" in cli.ok("-n", "delete-config", "--type=runtime", "--name=dns").out
    assert "No config" in cli("config", "77").err


def test_bad_config_is_told_with_its_line(cli: Cli) -> None:
    result = cli("-n", "update-cloud-config", cli.file("cloud.yml", "azs:\n  a: [\n"))
    assert result.code == 1
    assert "cloud.yml:" in result.err


def test_releases_and_stemcells(cli: Cli) -> None:
    store = cli.world.store
    job = JobSpec("nats", "nats", "1", "f1", "d1", {}, blob_id="jb")
    for version in ("9", "10"):
        store.releases.save(Release("nats", version, "abc", True, jobs=(job,), packages=(PackageSpec("go", "1", "pf", "pd", blob_id="b"),)))
    store.deployments.ensure("app")
    store.deployments.set_uses("app", [("nats", "9")], [("debian", "12")])
    store.stemcells.add(StemcellRow("debian", "12", "debian-12", "img", "t"))
    assert cli.ok("releases", "--json").rows == [
        {"name": "nats", "version": "10", "commit_hash": "abc+"},
        {"name": "nats", "version": "9*", "commit_hash": "abc+"},
    ]
    assert cli.ok("stemcells", "--json").rows == [{"name": "debian", "version": "12*", "os": "debian-12", "cpi": "", "cid": "img"}]
    tables = cli.ok("inspect-release", "nats/9", "--json").json["Tables"]
    assert (tables[0]["Rows"][0]["job"], tables[1]["Rows"][0]["compiled_for"]) == ("nats/f1", "(source)")
    cli.ok("-n", "delete-release", "nats/10")
    assert cli.tasks.created[-1] == ("delete_release", {"name": "nats", "version": "10", "force": False})
    cli.ok("-n", "delete-stemcell", "debian/12")
    assert cli.ok("deployments", "--json").rows == [{"name": "app", "release_s": "nats/9", "stemcell_s": "debian/12", "team_s": ""}]
    assert cli.ok("-d", "app", "deployment", "--json").rows[0]["name"] == "app"
    assert "Did you mean 'app'?" in cli("-d", "ap", "deployment").err


def test_upload_of_a_light_stemcell(cli: Cli) -> None:
    path = cli.file(
        "stemcell.yml", "name: debian\nversion: '12'\noperating_system: debian-12\nstemcell_formats: []\ncloud_properties: {}\n"
    )
    uploaded: list[str] = []
    cli.tasks.effect = lambda _kind, arguments: uploaded.append(pathlib.Path(arguments["path"]).read_text())
    cli.ok("upload-stemcell", path)
    assert uploaded == [pathlib.Path(path).read_text()]
    cli.world.store.stemcells.add(StemcellRow("debian", "12", "debian-12", "img", "t"))
    cli.terminal = True
    assert "Stemcell 'debian/12' already exists." in cli.ok("upload-stemcell", path).out
    assert "There is no stemcell at" in cli("upload-stemcell", "/nope.tgz").err
    assert "to have digest" in cli("upload-stemcell", path, "--sha1", "00").err


def test_upload_release_by_address(cli: Cli) -> None:
    cli.ok("upload-release", "https://example.org/r.tgz", "--sha1", "ab", "--rebase")
    assert cli.tasks.created == [
        ("upload_release", {"path": "", "url": "https://example.org/r.tgz", "sha1": "ab", "rebase": True, "fix": False})
    ]


def release_directory(cli: Cli) -> pathlib.Path:
    root = cli.folder / "hello"
    for folder in ("config", "jobs/hello/templates", "packages", "src"):
        (root / folder).mkdir(parents=True)
    (root / "config/final.yml").write_text("name: hello\n")
    (root / "jobs/hello/spec").write_text("name: hello\ntemplates: {run: bin/run}\npackages: []\nproperties: {}\n")
    (root / "jobs/hello/monit").write_text("")
    (root / "jobs/hello/templates/run").write_text("#!/bin/sh\n")
    return root


def test_create_and_upload_a_release(cli: Cli) -> None:
    root = release_directory(cli)
    tarball = cli.folder / "hello.tgz"
    row = cli.ok("create-release", "--dir", str(root), "--tarball", str(tarball), "--force", "--json").rows[0]
    assert (row["name"], row["version"], row["archive"]) == ("hello", "0+dev.1", str(tarball))
    sizes: list[int] = []
    cli.tasks.effect = lambda _kind, arguments: sizes.append(pathlib.Path(arguments["path"]).stat().st_size)
    cli.ok("upload-release", str(tarball))
    assert sizes == [tarball.stat().st_size]
    cli.ok("upload-release", "--dir", str(root))
    assert [kind for kind, _ in cli.tasks.created] == ["upload_release"] * 2
    assert "is no release directory" in cli("upload-release", "--dir", str(cli.folder)).err
    from director.release import archive

    cli.world.store.releases.save(archive.read_release(tarball))
    cli.terminal = True
    again = cli.ok("upload-release", str(tarball))
    assert "Release 'hello/0+dev.1' already exists." in again.out
    assert again.err == ""


def test_another_release_of_the_same_version_is_told(cli: Cli) -> None:
    """As happens when dev_releases/ was deleted: the version begins anew, with other content."""
    from director.release import archive

    root, tarball = release_directory(cli), cli.folder / "hello.tgz"
    cli.ok("create-release", "--dir", str(root), "--tarball", str(tarball), "--force")
    cli.world.store.releases.save(archive.read_release(tarball))
    (root / "jobs/hello/templates/run").write_text("#!/bin/sh\necho other\n")
    shutil.rmtree(root / "dev_releases")
    cli.ok("create-release", "--dir", str(root), "--tarball", str(tarball), "--force")
    told = cli.ok("upload-release", str(tarball)).err
    assert "What the director has as 'hello/0+dev.1' differs in job 'hello'; nothing was uploaded" in told
    assert "--rebase" in told


def test_deploy_makes_releases_that_the_manifest_asks_for(cli: Cli) -> None:
    root = release_directory(cli)
    text = f"name: app\nreleases: [{{name: hello, version: create, url: 'file://{root}'}}]\n"
    cli.ok("-n", "-d", "app", "deploy", cli.file("app.yml", text))
    (first, _), (second, arguments) = cli.tasks.created
    assert (first, second) == ("upload_release", "update_deployment")
    from director.manifest.load import load_yaml

    assert load_yaml(arguments["manifest"], "m").tree["releases"] == [{"name": "hello", "version": "0+dev.1"}]


def test_events_and_locks(cli: Cli) -> None:
    first = cli.world.store.events.add("create", "deployment", "app", user="admin", task=3)
    cli.world.store.events.add("create", "deployment", "app", parent_id=first, context={"az": "z1"})
    found = cli.ok("events", "--json").rows
    assert [row["id"] for row in found] == [f"2 <- {first}", "1"]
    assert found[0]["context"] == "az: z1"
    assert cli.ok("event", "1", "--json").rows[0]["object_name"] == "app"
    cli.world.store.locks.acquire("lock:deployment:app", "uid", 12, 240)
    row = cli.ok("locks", "--json").rows[0]
    assert (row["type"], row["resource"], row["task_id"]) == ("deployment", "app", "12")


def test_delete_deployment(cli: Cli) -> None:
    cli.terminal = True
    assert "nothing to delete" in cli.ok("-n", "-d", "app", "delete-deployment").out
    cli.world.store.deployments.ensure("app")
    cli.ok("-n", "-d", "app", "delete-deployment", "--force")
    assert cli.tasks.created[-1][0] == "delete_deployment"
    cli.tasks.scripts["delete_deployment"] = Script(state="error")
    assert cli("-n", "-d", "app", "delete-deployment").code == 1
    cli.tasks.effect = lambda _kind, _arguments: cli.world.store.deployments.delete("app")
    cli.ok("-n", "-d", "app", "delete-deployment")


def test_disks_and_clean_up(cli: Cli) -> None:
    assert cli.ok("disks", "--orphaned", "--json").rows == []
    cli.ok("-n", "clean-up", "--all")
    assert cli.tasks.created[-1] == ("cleanup", {"remove_all": True, "keep_orphaned_disks": False})
    cli.terminal = True
    assert "There is nothing to delete" in cli.ok("clean-up", "--dry-run").out
    cli.terminal = False
    for version in ("1", "2", "3"):
        cli.world.store.stemcells.add(StemcellRow("debian", version, "debian-12", f"img-{version}", f"t{version}"))
    cli.world.store.blobs.add(BlobRow("b1", "exported-release", "00", 1))
    stemcells, exports = cli.ok("clean-up", "--dry-run", "--json").json["Tables"]
    assert [(row["name"], row["version"], row["cid"]) for row in stemcells["Rows"]] == [("debian", "1", "img-1")]
    assert exports["Rows"] == [{"blobstore_id": "b1"}]
    assert len(cli.ok("clean-up", "--dry-run", "--all", "--json").rows) == 3
    assert "doesn't exist" in cli("-n", "delete-disk", "none").err


def test_orphaned_machines_are_listed_with_their_addresses(cli: Cli) -> None:
    store = cli.world.store
    assert cli.ok("orphaned-vms", "--json").rows == []
    store.deployments.ensure("app")
    store.instances.add(InstanceRow("i-1", "app", "web", 0, az="z1"))
    store.vms.add(VmRow("vm-1", "token", "app", "agent", "i-1", active=True, az="z1"))
    store.addresses.reserve([AddressRow("10.0.0.2", "default", "dynamic", "app", "i-1")])
    store.vms.orphan("vm-1", "web/i-1", ("10.0.0.2",))
    (row,) = cli.ok("orphaned-vms", "--json").rows
    assert (row["vm_cid"], row["deployment"], row["instance"], row["az"], row["ips"]) == ("vm-1", "app", "web/i-1", "z1", "10.0.0.2")


def test_orphaned_networks_are_listed_and_deleted(cli: Cli) -> None:
    store = cli.world.store
    assert "Only --orphaned is supported" in cli("networks").err
    store.networks.ensure("made")
    assert cli.ok("networks", "--orphaned", "--json").rows == []
    store.deployments.ensure("app")
    store.networks.use("app", ["made"])
    assert "is in use" in cli("-n", "delete-network", "made").err
    store.networks.keep_only("app", [])
    assert store.networks.orphan_unused() == ["made"]
    (row,) = cli.ok("networks", "--orphaned", "--json").rows
    assert (row["name"], row["type"]) == ("made", "manual")
    cli.ok("-n", "delete-network", "made")
    assert cli.tasks.created[-1] == ("delete_network", {"name": "made"})
    assert "doesn't exist" in cli("-n", "delete-network", "other").err


def test_curl(cli: Cli) -> None:
    assert json.loads(cli.ok("curl", "/info").out)["name"] == "caisson"
    assert "Endpoint '/nope' not found." in cli("curl", "/nope").err


def test_manifest_is_shown_as_it_was(cli: Cli) -> None:
    cli.world.store.deployments.ensure("app")
    cli.world.store.deployments.update("app", manifest="name: app # mine\n")
    assert cli.ok("-d", "app", "manifest").out == "name: app # mine\n"


def test_secrets_are_nowhere(cli: Cli) -> None:
    from director.cli.session import Flags

    assert "hunter2" not in repr(Flags(client_secret="hunter2"))
    assert "secret" not in repr(cli.world.listening.endpoint())
