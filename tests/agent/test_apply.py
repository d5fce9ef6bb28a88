"""Jobs and packages put in place: the releases contract, section 13; the agent contract, section 8, row 6."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from typing import Any

import pytest

from director.guest.agent import files, monit
from director.guest.agent.actions import apply, missing_blobs, prepare, remove_file, start, store_file, write_file
from director.guest.agent.errors import ActionError, InvalidArguments

from .conftest import Machine


def rendered(machine: Machine, **jobs: dict[str, str]) -> str:
    return machine.blob({f"./{job}/{name}": text for job, names in jobs.items() for name, text in names.items()})


def spec(archive: str, *jobs: str, packages: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "deployment": "d", "name": "g", "id": "i-1", "index": 0, "az": "z1", "configuration_hash": "h1", "networks": {},
        "job": {"name": "g", "templates": [{"name": job, "version": "1"} for job in jobs]},
        "packages": {name: {"name": name, "version": "1.1", "sha1": "sha256:" + digest} for name, digest in (packages or {}).items()},
        "rendered_templates_archive": {"sha256": archive}, **more,
    }


MONIT = "check process a\n  with pidfile /x\n  group vcap\n"
JOB = {"monit": MONIT, "bin/ctl": "#!/bin/sh\n", "bin/sub/tool": "x", "config/a.conf": "text"}


def test_a_job_lands_with_the_references_owners_and_modes(machine: Machine) -> None:
    archive = rendered(machine, a=JOB)
    apply.run(machine.call(), spec(archive, "a"))
    layout = machine.host.layout
    link = os.readlink(layout.jobs / "a")
    assert link.startswith("/var/vcap/data/jobs/a/")
    folder = layout.root / link[1:]
    modes = {str(path.relative_to(folder)): path.stat().st_mode & 0o7777 for path in folder.rglob("*")}
    assert modes == {
        "monit": 0o640, "bin": 0o750, "bin/ctl": 0o750, "bin/sub": 0o750, "bin/sub/tool": 0o750, "packages": 0o750,
        "config": 0o750, "config/a.conf": 0o640,
    }
    assert folder.stat().st_mode & 0o7777 == 0o750
    for place in (layout.data / "a", layout.log / "a", layout.run / "a"):
        assert place.stat().st_mode & 0o7777 == 0o770
    assert [(layout.instance / name).read_text() for name in ("id", "az", "name", "deployment")] == ["i-1", "z1", "g", "d"]
    assert json.loads(layout.spec.read_text())["id"] == "i-1"


def test_packages_are_linked_for_the_machine_and_for_each_job(machine: Machine) -> None:
    package = machine.blob({"./bin/tool": "x"})
    apply.run(machine.call(), spec(rendered(machine, a=JOB), "a", packages={"p": package}))
    layout = machine.host.layout
    target = f"/var/vcap/data/packages/p/{package}"
    assert os.readlink(layout.packages / "p") == target
    folder = layout.root / os.readlink(layout.jobs / "a")[1:]
    assert os.readlink(folder / "packages/p") == target
    assert (layout.root / target[1:] / "bin/tool").read_text() == "x"


def test_old_versions_go_and_what_did_not_change_stays_untouched(machine: Machine) -> None:
    layout = machine.host.layout
    one, two, kept = machine.blob({"./v": "1"}), machine.blob({"./v": "2"}), machine.blob({"./v": "kept"})
    apply.run(machine.call(), spec(rendered(machine, a=JOB, b=JOB), "a", "b", packages={"p": one, "kept": kept, "gone": one}))
    same = layout.data_packages / "kept" / kept / "v"
    before = same.stat().st_ino, os.readlink(layout.jobs / "a")
    machine.blob({"./v": "2"})
    apply.run(machine.call(), spec(rendered(machine, a=JOB, c=JOB), "a", "c", packages={"p": two, "kept": kept}))
    assert (same.stat().st_ino, os.readlink(layout.jobs / "a")) == before
    assert sorted(os.listdir(layout.jobs)) == ["a", "c"]
    assert sorted(os.listdir(layout.data_jobs)) == ["a", "c"]
    assert sorted(os.listdir(layout.packages)) == ["kept", "p"]
    assert sorted(os.listdir(layout.data_packages)) == ["kept", "p"]
    assert os.listdir(layout.data_packages / "p") == [two]


def test_without_configuration_hash_the_spec_is_only_stored(machine: Machine) -> None:
    network = {"ip": "10.0.0.5", "type": "manual", "odd": [1]}
    tree = {"deployment": "d", "job": {"name": "g"}, "index": 0, "id": "i-1", "networks": {"n": network}}
    assert apply.run(machine.call(), tree) == "applied"
    layout = machine.host.layout
    assert json.loads(layout.spec.read_text()) == tree
    assert (layout.instance / "id").read_text() == "i-1"
    assert not layout.jobs.exists()


def test_dynamic_networks_are_filled_in(machine: Machine) -> None:
    machine.shell.answers["ip -4 -j route"] = (0, '[{"dst": "default", "gateway": "10.0.0.1", "dev": "eth0"}]')
    machine.shell.answers["ip -4 -j addr"] = (0, '[{"addr_info": [{"local": "10.0.0.9", "prefixlen": 24, "scope": "global"}]}]')
    apply.run(machine.call(), {"networks": {"n": {"type": "dynamic"}}})
    kept = json.loads(machine.host.layout.spec.read_text())["networks"]["n"]
    assert kept == {"type": "dynamic", "ip": "10.0.0.9", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda machine: spec("ab" * 32, "a"), "of the rendered templates is not on the machine"),
        (lambda machine: spec(rendered(machine, b=JOB), "a"), "hold no job 'a'"),
        (lambda machine: spec(rendered(machine, a=JOB), "a", packages={"p": "cd" * 32}), "of package 'p' is not on the machine"),
        (lambda machine: spec("", "a"), "names jobs but no rendered templates"),
        (lambda machine: spec(rendered(machine, a=JOB), "../a"), "cannot be a name"),
    ],
)
def test_a_bad_spec_changes_nothing(machine: Machine, broken: Any, sentence: str) -> None:
    apply.run(machine.call(), spec(rendered(machine, a=JOB), "a"))
    before = sorted((str(path), path.is_symlink() and os.readlink(path)) for path in machine.host.layout.jobs.iterdir())
    stored = machine.host.layout.spec.read_text()
    with pytest.raises(ActionError, match=sentence):
        apply.run(machine.call(), broken(machine))
    assert sorted((str(path), path.is_symlink() and os.readlink(path)) for path in machine.host.layout.jobs.iterdir()) == before
    assert machine.host.layout.spec.read_text() == stored


def test_rendered_templates_may_hold_no_links(machine: Machine) -> None:
    link = tarfile.TarInfo("a/bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with pytest.raises(ActionError, match="no file or folder"):
        apply.run(machine.call(), spec(machine.blob({"a/": "", "link": link}), "a"))
    assert os.listdir(machine.host.layout.tmp) == []


def test_monit_learns_of_jobs_at_start_and_forgets_them_at_apply(machine: Machine) -> None:
    extra = {**JOB, "side.monit": "check process side\n  group vcap\n"}
    archive = rendered(machine, a=JOB, b=extra, errand={"monit": "\n", "bin/run": "x"})
    layout = machine.host.layout
    apply.run(machine.call(), spec(archive, "a", "errand", "b"))
    assert list(layout.monit_jobs.iterdir()) == []
    machine.monit.add("a")
    layout.stopped.write_text("")
    start.run(machine.call())
    assert sorted(os.listdir(layout.monit_jobs)) == ["0000_b.monitrc", "0000_b_side.monitrc", "0002_a.monitrc"]
    assert machine.monit.acts == [("start", ["a"])]
    assert not layout.stopped.exists()
    assert json.loads(layout.health.read_text()) == {"state": "running"}
    apply.run(machine.call(), spec(archive, "a"))
    assert list(layout.monit_jobs.iterdir()) == []


def test_prepare_enables_nothing_and_apply_then_needs_no_package_blob(machine: Machine) -> None:
    package = machine.blob({"./v": "1"})
    tree = spec(rendered(machine, a=JOB), "a", packages={"p": package})
    assert prepare.run(machine.call(), tree) == "prepared"
    assert not machine.host.layout.jobs.exists()
    (machine.host.layout.blobs / package).unlink()
    apply.run(machine.call(), tree)


def test_missing_blobs_are_neither_stored_nor_unpacked(machine: Machine) -> None:
    unpacked, stored = machine.blob({"./v": "1"}), machine.blob({"./v": "2"})
    apply.run(machine.call(), spec(rendered(machine, a=JOB), "a", packages={"p": unpacked}))
    stored = machine.blob({"./v": "2"})
    asked = ["sha256:" + unpacked, stored, "sha256:" + "0" * 64]
    assert missing_blobs.run(machine.call(), asked) == ["sha256:" + "0" * 64]


def test_store_file_verifies_and_moves(machine: Machine) -> None:
    layout = machine.host.layout
    upload = layout.tmp / "upload-1"
    upload.write_text("text")
    digest = files.sha256(upload)
    with pytest.raises(ActionError, match="Checksum mismatch"):
        store_file.run(machine.call(), layout.inner(upload), "/var/vcap/data/blobs/x", "0" * 64, 0o600)
    assert not upload.exists()
    upload.write_text("text")
    store_file.run(machine.call(), layout.inner(upload), "/var/vcap/data/blobs/x", digest, 0o600)
    assert (layout.blobs / "x").read_text() == "text"
    assert store_file.run(machine.call(), layout.inner(upload), "/var/vcap/data/blobs/x", digest, 0o600) == "present"


def test_small_files_come_with_the_request(machine: Machine) -> None:
    digest = hashlib.sha256(b"text").hexdigest()
    with pytest.raises(ActionError, match="Checksum mismatch"):
        write_file.run(machine.call(), "dGV4dA==", "/var/vcap/data/blobs/x", "0" * 64, 0o600)
    with pytest.raises(InvalidArguments, match="no base64"):
        write_file.run(machine.call(), "dGV4d", "/var/vcap/data/blobs/x", digest, 0o600)
    assert list(machine.host.layout.blobs.iterdir()) == []
    assert write_file.run(machine.call(), "dGV4dA==", "/var/vcap/data/blobs/x", digest, 0o640) == "stored"
    assert (machine.host.layout.blobs / "x").read_text() == "text"
    assert (machine.host.layout.blobs / "x").stat().st_mode & 0o777 == 0o640
    assert list(machine.host.layout.tmp.iterdir()) == []


def test_what_comes_with_a_request_is_not_logged() -> None:
    assert not write_file.ACTION.loggable


@pytest.mark.parametrize("target", ["/etc/passwd", "/var/vcap/../../etc/passwd"])
def test_files_stay_below_vcap(machine: Machine, target: str) -> None:
    upload = machine.host.layout.tmp / "upload-1"
    upload.write_text("text")
    with pytest.raises(InvalidArguments):
        store_file.run(machine.call(), machine.host.layout.inner(upload), target, files.sha256(upload), 0o600)
    with pytest.raises(InvalidArguments):
        write_file.run(machine.call(), "", target, hashlib.sha256(b"").hexdigest(), 0o600)
    with pytest.raises(InvalidArguments):
        remove_file.run(machine.call(), target)


def test_snippets_are_numbered_from_the_end(tmp_path: Any) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "monit").write_text("check process " + name)
    assert list(monit.snippets([(name, tmp_path / name) for name in ("a", "b", "c")])) == [
        "0000_c.monitrc", "0001_b.monitrc", "0002_a.monitrc",
    ]
