"""A package compiled. Source: the agent contract, section 4.7; the releases contract, section 10."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Dict, List

from .. import archive, files, install, scripts
from ..errors import Cancelled, ScriptFailed
from ..host import Call
from ..shell import Script
from ..spec import Package
from .base import Action

KEPT_BYTES = 10000


def run(
    call: Call, name: str, version: str, digest: str, dependencies: List[Dict[str, str]], seconds: float = 7200.0, stream: bool = False,
) -> Dict[str, Any]:
    """The result's path, digest and size. Exactly the direct dependencies are enabled meanwhile."""
    layout = call.host.layout
    packages = [Package(item["name"], item["version"], files.bare(item["digest"])) for item in dependencies]
    target = layout.data_packages / name / hashlib.sha256(version.encode()).hexdigest()[:32]
    source = layout.compile / name
    try:
        _enable(call, packages)
        files.remove(source)
        archive.unpack(install.blob(call, files.bare(digest), "package '%s'" % name), source, check=call.check)
        files.remove(target)
        target.mkdir(parents=True)
        files.link(layout.packages / name, layout.inner(target))
        if (source / "packaging").is_file():
            _package(call, name, version, target, seconds, stream)
        made = layout.tmp / ("compiled-%s-%s.tgz" % (name, files.unique()))
        layout.tmp.mkdir(parents=True, exist_ok=True)
        try:
            archive.pack(target, made, call.check)
        except BaseException:
            files.remove(made)
            raise
        return {"path": layout.inner(made), "digest": "sha256:" + files.sha256(made), "size": made.stat().st_size}
    finally:
        files.remove(source)
        files.remove(target)
        files.remove(layout.packages / name)
        files.remove(layout.blobs / files.bare(digest))


def _enable(call: Call, packages: List[Package]) -> None:
    layout = call.host.layout
    layout.packages.mkdir(parents=True, exist_ok=True)
    for path in layout.packages.iterdir():
        files.remove(path)
    for package in packages:
        files.link(layout.packages / package.name, layout.inner(install.install_package(call, package)))
        files.remove(layout.blobs / package.digest)


def _package(call: Call, name: str, version: str, target: Path, seconds: float, stream: bool) -> None:
    layout = call.host.layout
    source = layout.compile / name
    env = {
        "BOSH_COMPILE_TARGET": str(source), "BOSH_INSTALL_TARGET": str(layout.packages / name if call.host.is_real else target),
        "BOSH_PACKAGE_NAME": name, "BOSH_PACKAGE_VERSION": version, "HOME": os.environ.get("HOME", "/root"),
    }
    capture = scripts.Capture(call, KEPT_BYTES, stream)

    def output() -> str:
        return ("stdout:\n%s\nstderr:\n%s" % (capture.tails["stdout"].text, capture.tails["stderr"].text))[-2 * KEPT_BYTES:]

    try:
        code = Script(["bash", "-x", "packaging"], env, cwd=source).run(call.cancelled, on_output=capture, timeout=seconds)
    except TimeoutError:
        raise ScriptFailed("Compiling package %s did not end within %d seconds" % (name, seconds), output()) from None
    except Cancelled as error:
        raise Cancelled("Compiling package %s was cancelled" % name, output()) from error
    if code != 0:
        raise ScriptFailed("Compiling package %s: 'bash -x packaging' failed with exit code %d" % (name, code), output())


ACTION = Action(run, asynchronous=True, cancellable=True)
