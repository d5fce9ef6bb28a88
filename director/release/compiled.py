"""Names under which compiled packages are found again. Source: release contract, section 9."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from director.release import manifest
from director.release.model import PackageSpec


def dependency_key(package: PackageSpec, packages: Mapping[str, PackageSpec]) -> str:
    """Compact JSON of the direct dependencies: `[NAME, VERSION]`, with a third element for those that have some themselves.

    Raises ReleaseError for a dependency that is missing, or a circle.
    """
    manifest.dependency_order(packages, [package.name])
    return json.dumps(_nested(package, packages), separators=(",", ":"))


def cache_key(package: PackageSpec, packages: Mapping[str, PackageSpec], stemcell_sha1: str) -> str:
    """The key of the legacy global cache: 40 hex digits."""
    others = sorted(item.name for item in manifest.dependency_order(packages, [package.name]) if item.name != package.name)
    text = package.fingerprint + stemcell_sha1 + "".join(packages[name].fingerprint for name in others)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def compiled_key(package: PackageSpec, packages: Mapping[str, PackageSpec], *, stemcell_os: str, stemcell_version: str) -> str:
    """What a compiled package is: 40 hex digits of name, fingerprint, stemcell and dependency key. Equal in all releases that share it."""
    text = json.dumps([package.name, package.fingerprint, stemcell_os, stemcell_version, dependency_key(package, packages)])
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _nested(package: PackageSpec, packages: Mapping[str, PackageSpec]) -> list[Any]:
    found: list[Any] = []
    for name in sorted(package.dependencies):
        dependency = packages[name]
        below = _nested(dependency, packages)
        found.append([name, dependency.version, below] if below else [name, dependency.version])
    return found
