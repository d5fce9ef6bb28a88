"""Compilation: the agent contract, section 4.7."""

from __future__ import annotations

import os
import tarfile
import threading

import pytest

from director.guest.agent.actions import compile_package
from director.guest.agent.errors import ActionError, Cancelled, ScriptFailed

from .conftest import Machine


def made(machine: Machine, path: str) -> dict[str, bytes]:
    with tarfile.open(machine.root / path[1:]) as archive:
        return {item.name: archive.extractfile(item).read() for item in archive if item.isfile()}  # type: ignore[union-attr]


def clean(machine: Machine) -> bool:
    layout = machine.host.layout
    return not list(layout.compile.iterdir()) and not (layout.packages / "p").exists() and not (layout.data_packages / "p/x").exists()


def test_the_script_sees_exactly_what_the_reference_promises(machine: Machine) -> None:
    layout = machine.host.layout
    dependency = machine.blob({"./bin/tool": "dep"})
    source = machine.blob({
        "./packaging": 'env | sort > "$BOSH_INSTALL_TARGET/env"; pwd > "$BOSH_INSTALL_TARGET/pwd"; cp -r src "$BOSH_INSTALL_TARGET/"\n'
        f'ls {layout.packages} > "$BOSH_INSTALL_TARGET/packages"\n',
        "./src/file": "text",
    })
    stale = layout.packages / "stale"
    stale.mkdir(parents=True)
    result = compile_package.run(
        machine.call(), "p", "1.1", "sha256:" + source, [{"name": "dep", "version": "2.1", "digest": "sha256:" + dependency}],
    )
    assert result["size"] > 0
    content = made(machine, result["path"])
    assert content["./src/file"] == b"text"
    assert content["./packages"].split() == [b"dep", b"p"]
    assert content["./pwd"].decode().strip() == str(layout.compile / "p")
    env = dict(line.split("=", 1) for line in content["./env"].decode().splitlines())
    assert env["BOSH_COMPILE_TARGET"] == str(layout.compile / "p")
    assert env["BOSH_INSTALL_TARGET"].startswith(str(layout.data_packages / "p"))  # the link in its place on a real machine
    assert (env["BOSH_PACKAGE_NAME"], env["BOSH_PACKAGE_VERSION"]) == ("p", "1.1")
    assert clean(machine)


def test_a_package_without_script_is_empty(machine: Machine) -> None:
    result = compile_package.run(machine.call(), "p", "1.1", machine.blob({"./a": "b"}), [])
    assert made(machine, result["path"]) == {}


def test_a_failing_script_tells_its_last_words(machine: Machine) -> None:
    source = machine.blob({"./packaging": "seq 1 100000; echo no compiler >&2; exit 4"})
    with pytest.raises(ScriptFailed) as caught:
        compile_package.run(machine.call(), "p", "1.1", source, [])
    assert caught.value.message == "Compiling package p: 'bash -x packaging' failed with exit code 4"
    assert "no compiler" in caught.value.output
    assert "100000" in caught.value.output
    assert len(caught.value.output) <= 20000
    assert clean(machine)


def test_a_hanging_script_is_ended(machine: Machine) -> None:
    source = machine.blob({"./packaging": "echo waiting; sleep 600"})
    with pytest.raises(ScriptFailed, match="did not end within 0 seconds") as caught:
        compile_package.run(machine.call(), "p", "1.1", source, [], 0.3)
    assert "waiting" in caught.value.output
    assert clean(machine)


def test_cancelled(machine: Machine) -> None:
    source = machine.blob({"./packaging": "sleep 600"})
    cancelled = threading.Event()
    threading.Timer(0.2, cancelled.set).start()
    with pytest.raises(Cancelled, match="Compiling package p was cancelled"):
        compile_package.run(machine.call(cancelled), "p", "1.1", source, [])
    assert clean(machine)


def test_a_missing_source_blob(machine: Machine) -> None:
    with pytest.raises(ActionError, match="of package 'p' is not on the machine"):
        compile_package.run(machine.call(), "p", "1.1", "ab" * 32, [])


def test_streaming(machine: Machine) -> None:
    source = machine.blob({"./packaging": "echo hello"})
    compile_package.run(machine.call(), "p", "1.1", source, [], stream=True)
    assert {"stream": "stdout", "text": "hello\n"} in machine.progress
    assert os.listdir(machine.host.layout.compile) == []
