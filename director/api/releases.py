"""Releases. Source: director API contract, section 6.7."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from director.api import uploads
from director.api.calls import Call, answer, field
from director.errors import ManifestError, NotFoundError, ReleaseError, UsageError
from director.manifest.load import load_yaml
from director.plan.packages import ReleasePackages
from director.release import manifest, versions
from director.release.model import LinkSpec, Release

UNKNOWN, UNKNOWN_VERSION, BAD_MANIFEST = 30005, 30006, 440001


def index(call: Call) -> Response:
    """By name, versions ascending."""
    store = call.services.store
    used = {(name, version) for _deployment, name, version in store.deployments.releases()}
    jobs = store.releases.job_names()
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in store.releases.all():
        grouped.setdefault(row.name, []).append(
            {
                "version": row.version,
                "commit_hash": row.commit_hash,
                "uncommitted_changes": row.uncommitted_changes,
                "currently_deployed": (row.name, row.version) in used,
                "job_names": jobs.get((row.name, row.version), []),
            }
        )
    return answer(
        [
            {"name": name, "release_versions": sorted(found, key=lambda item: _order(str(item["version"])))}
            for name, found in sorted(grouped.items())
        ]
    )


def show(call: Call) -> Response:
    """One version in full, or all versions' names."""
    store, name, version = call.services.store, call.path["name"], call.query.get("version")
    known = store.releases.versions(name)
    if not known:
        raise NotFoundError(f"Release '{name}' doesn't exist", code=UNKNOWN)
    if version is None:
        return answer(_all_versions(store.releases.load((name, item) for item in known)))
    release = store.releases.get(name, version)
    compiled = _compiled(release)
    return answer(
        {
            "jobs": [
                {
                    "name": job.name,
                    "blobstore_id": job.blob_id,
                    "sha1": job.digest,
                    "fingerprint": job.fingerprint,
                    "consumes": [_link(link) for link in job.consumes] or None,
                    "provides": [_link(link) for link in job.provides] or None,
                }
                for job in sorted(release.jobs, key=lambda job: job.name)
            ],
            "packages": [
                {
                    "name": package.name,
                    "blobstore_id": package.blob_id or None,
                    "sha1": package.digest if package.blob_id else None,
                    "fingerprint": package.fingerprint,
                    "compiled_packages": compiled.get(package.name, []),
                }
                for package in sorted(release.packages, key=lambda package: package.name)
            ],
        }
    )


def upload(call: Call) -> Response:
    """An archive as the body."""
    return call.start("upload_release", uploads.arguments(call, "rebase", "fix"), "create release")


def fetch(call: Call) -> Response:
    """An archive at an address."""
    return call.start("upload_release", uploads.arguments(call, "rebase", "fix"), "create release")


def delete(call: Call) -> Response:
    name, version = call.path["name"], call.query.get("version") or ""
    known = call.services.store.releases.versions(name)
    if not known:
        raise NotFoundError(f"Release '{name}' doesn't exist", code=UNKNOWN)
    if version and version not in known:
        raise NotFoundError(f"Release version '{name}/{version}' doesn't exist", code=UNKNOWN_VERSION)
    arguments = {"name": name, "version": version, "force": call.flag("force")}
    return call.start("delete_release", arguments, f"delete release: {name}{'/' + version if version else ''}")


def export(call: Call) -> Response:
    """A compiled release of what a deployment uses; the task's result names the archive."""
    body = call.json()
    names = ("deployment_name", "release_name", "release_version", "stemcell_os", "stemcell_version")
    deployment, release, version, os, stemcell = (field(body, name, str) for name in names)
    call.services.store.deployments.get(deployment)
    store = call.services.store.releases
    if version not in store.versions(release):
        raise NotFoundError(
            f"Release version '{release}/{version}' doesn't exist" if store.versions(release) else f"Release '{release}' doesn't exist",
            code=UNKNOWN_VERSION if store.versions(release) else UNKNOWN)
    jobs = [field(item, "name", str) for item in field(body, "jobs", list, default=[]) if isinstance(item, dict)]
    arguments = {
        "release": release, "version": version, "stemcell_os": os, "stemcell_version": stemcell, "jobs": jobs,
        "sha2": field(body, "sha2", bool, default=False),
    }
    return call.start("export_release", arguments, f"export release: '{release}/{version}' for '{os}/{stemcell}'", deployment)


def matches(call: Call) -> Response:
    """Fingerprints of packages whose source is here already, so that it need not be sent."""
    tree = _manifest(call, "packages")
    row = call.services.store.releases.find_version(str(tree.get("name")), str(tree.get("version")))
    if row is not None and not row.complete:
        return answer([])
    asked = [str(item["fingerprint"]) for item in tree["packages"] if isinstance(item, dict) and item.get("fingerprint")]
    found = call.services.store.releases.packages_with(asked)
    return answer([fingerprint for fingerprint in asked if fingerprint in found and call.services.blobs.exists(found[fingerprint].blob_id)])


def matches_compiled(call: Call) -> Response:
    """As `matches`, for packages that are here compiled for the same stemcell, with the same dependencies."""
    if not _manifest(call, "compiled_packages")["compiled_packages"]:
        return answer([])
    listing = manifest.parse(call.text())
    row = call.services.store.releases.find_version(listing.name, listing.version)
    if row is not None and not row.complete:
        return answer([])
    packages = ReleasePackages(Release(listing.name, listing.version, compiled_packages=listing.compiled_packages))
    keys = {packages.key(item.name, item.stemcell): item.fingerprint for item in listing.compiled_packages}
    found = call.services.store.compiled_packages.with_keys(keys)
    return answer([keys[key] for key in keys if key in found and call.services.blobs.exists(found[key].blob_id)])


def jobs(call: Call) -> Response:
    """Stored jobs that equal the described one."""
    query = call.query
    missing = [name for name in ("name", "release_name", "fingerprint") if not query.get(name)]
    if missing:
        raise UsageError(f"'{missing[0]}' is required", code=40001)
    found = call.services.store.releases.jobs_with(query["release_name"], query["name"], query["fingerprint"])
    if not found:
        raise NotFoundError(f"Job '{query['name']}' doesn't exist", code=70009)
    return answer(
        [
            {
                "name": job.name,
                "fingerprint": job.fingerprint,
                "spec": {
                    "name": job.name,
                    "templates": dict(job.templates),
                    "packages": list(job.packages),
                    "consumes": [_link(link) for link in job.consumes],
                    "provides": [_link(link) for link in job.provides],
                    "properties": {
                        item.name: {"description": item.description, **({"default": item.default} if item.has_default else {})}
                        for item in job.properties
                    },
                },
            }
            for job in found
        ]
    )


def _manifest(call: Call, key: str) -> dict[str, Any]:
    tree = load_yaml(call.text(), "release.MF").tree
    if not isinstance(tree, dict) or not isinstance(tree.get(key), list):
        raise ManifestError(f"Manifest doesn't include an array of '{key}'", code=BAD_MANIFEST)
    return tree


def _all_versions(releases: tuple[Release, ...]) -> dict[str, Any]:
    packages = {
        (item.name, item.version): {
            "name": item.name,
            "sha1": item.digest,
            "version": item.version,
            "dependencies": list(item.dependencies),
        }
        for release in releases
        for item in release.packages
    }
    jobs = {
        (item.name, item.version): {"name": item.name, "sha1": item.digest, "version": item.version, "packages": list(item.packages)}
        for release in releases
        for item in release.jobs
    }
    return {
        "jobs": [jobs[key] for key in sorted(jobs)],
        "packages": [packages[key] for key in sorted(packages)],
        "versions": sorted((release.version for release in releases), key=_order),
    }


def _compiled(release: Release) -> dict[str, list[dict[str, Any]]]:
    """Compiled forms by the package's name: those made with the dependencies that this version has."""
    found: dict[str, list[dict[str, Any]]] = {}
    for form in sorted(release.compiled_packages, key=lambda form: form.stemcell):
        found.setdefault(form.name, []).append({"stemcell": form.stemcell, "sha1": form.digest, "blobstore_id": form.blob_id})
    return found


def _link(link: LinkSpec) -> dict[str, Any]:
    return {"name": link.name, "type": link.type, **({"optional": True} if link.optional else {})}


def _order(text: str) -> Any:
    """Versions in their order; a text that is none comes first rather than hiding the list."""
    try:
        return (1, versions.parse(text).key)
    except ReleaseError:
        return (0, text)
