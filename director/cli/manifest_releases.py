"""Uploading the releases that a manifest or runtime config names by address. Source: director API contract, section 7."""

from __future__ import annotations

import pathlib
from typing import Any

from director.cli import templates
from director.cli.session import Session
from director.cli.verbs import upload_release
from director.diagnostics import Diagnostic
from director.errors import ManifestError


def upload(session: Session, document: templates.Evaluated, *, fix: bool) -> templates.Evaluated:
    """Upload what the director lacks. `version: create` becomes the version made here; everything else stays as written."""
    releases = document.tree.get("releases") if isinstance(document.tree, dict) else None
    changed: list[Any] = []
    for place, release in enumerate(releases if isinstance(releases, list) else []):
        changed.append(_one(session, document, place, release, fix) if isinstance(release, dict) and release.get("url") else release)
    if not isinstance(releases, list) or changed == releases:
        return document
    return document.replaced({**document.tree, "releases": changed})


def _one(session: Session, document: templates.Evaluated, place: int, release: dict[str, Any], fix: bool) -> dict[str, Any]:
    name, version, url = str(release.get("name") or ""), str(release.get("version") or ""), str(release["url"])
    if version == "create":
        return _create(session, document, place, release, name, url)
    stemcell = release.get("stemcell") or next(iter(release.get("exported_from") or []), None) or {}
    slug = f"{stemcell['os']}/{stemcell['version']}" if stemcell else ""
    if not fix and upload_release.there(session, name, version, slug):
        session.ui.line(f"Release '{name}/{version}' already exists.")
    elif url.startswith(("http://", "https://")):
        session.follow(session.client.upload_url("releases", url, str(release.get("sha1") or ""), {"fix": fix}))
    else:
        upload_release.upload_path(session, _path(url), {"fix": fix}, str(release.get("sha1") or ""))
    return release


def _create(session: Session, document: templates.Evaluated, place: int, release: dict[str, Any], name: str, url: str) -> dict[str, Any]:
    from director.release import create

    directory = _path(url)
    if not directory.is_dir():
        where = document.where(("releases", place, "url"))
        raise ManifestError(Diagnostic(f"Release '{name}' is to be made of '{url}', which is no directory", where=where))
    made = create.create_release(directory, name=name, force=True)
    if not upload_release.there(session, made.name, made.version):
        upload_release.upload_path(session, made.manifest_path, {}, "")
    return {key: value for key, value in release.items() if key != "url"} | {"version": made.version}


def _path(url: str) -> pathlib.Path:
    return pathlib.Path(url.removeprefix("file://")).expanduser()
