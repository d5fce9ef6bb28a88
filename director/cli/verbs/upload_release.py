"""`upload-release`: an archive, a folder or an address. Source: director API contract, section 7."""

from __future__ import annotations

import pathlib
import tempfile
from typing import TYPE_CHECKING, Any

import click

from director.cli import uploads
from director.cli.session import Session
from director.cli.verb import pair_of, verb
from director.errors import UsageError

if TYPE_CHECKING:
    from director.release.archive import ReleaseArchive
    from director.release.model import CompiledPackageSpec, PackageSpec, Release


@verb(
    examples=(
        "caisson upload-release nats.tgz",
        "caisson upload-release --dir releases/nats",
        "caisson upload-release https://... --sha1 ...",
    )
)
@click.argument("url", metavar="[URL]", default="")
@click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=pathlib.Path), help="Make a release of this directory first [.]"
)
@click.option("--rebase", is_flag=True, help="Give it the next dev version of the director")
@click.option("--fix", is_flag=True, help="Replace what the director has")
@click.option("--name", default="", help="Do nothing when this release ...")
@click.option("--version", default="", help="... in this version is there")
@click.option("--sha1", default="", help="Digest of the archive")
@click.option("--stemcell", default="", metavar="OS/VERSION", help="Stemcell that a compiled release was made for")
def command(
    session: Session, url: str, directory: pathlib.Path | None, rebase: bool, fix: bool, name: str, version: str, sha1: str, stemcell: str
) -> None:
    """Upload a release; without URL one made of the release directory."""
    if stemcell:
        pair_of(stemcell, "OS/VERSION")
    query = {"rebase": rebase, "fix": fix}
    if url and directory is not None and (directory / url).exists():
        url = str(directory / url)
    if not fix and name and version and there(session, name, version, stemcell):
        session.ui.line(f"Release '{name}/{version}' already exists.")
    elif url.startswith(("http://", "https://")):
        session.follow(session.client.upload_url("releases", url, sha1, query))
    elif url:
        upload_path(session, pathlib.Path(url.removeprefix("file://")), query, sha1)
    else:
        upload_path(session, directory or pathlib.Path("."), query, "")


def there(session: Session, name: str, version: str, stemcell: str = "") -> bool:
    """Whether the director has that version whole: with sources, or compiled for `stemcell`."""
    found = next((row for row in session.client.releases() if row["name"] == name), None)
    if found is None or version not in {item["version"] for item in found["release_versions"]}:
        return False
    packages = session.client.release(name, version)["packages"]
    if not stemcell:
        return all(package.get("blobstore_id") for package in packages)
    return all(any(item["stemcell"] == stemcell for item in package.get("compiled_packages") or []) for package in packages)


def upload_path(session: Session, path: pathlib.Path, query: dict[str, Any], sha1: str) -> None:
    """Send an archive, or a release of a directory: only what the director lacks, and nothing when it has it all."""
    from director.release import archive, create

    if path.is_dir():
        path = _made(session, path)
    elif not path.is_file():
        raise UsageError(f"There is no release at '{path}'", suggestion="Give a .tgz, a release directory or an https:// address.")
    if sha1:
        uploads.check(path, sha1)
    if path.suffix in (".yml", ".yaml"):
        create.fetch_archives(path)
    with archive.open_release(path) as found:
        if not query.get("fix") and not query.get("rebase") and _has(session, found.release):
            session.ui.line(f"Release '{found.release.name}/{found.release.version}' already exists.")
            _warn_of_other_content(session, found.release)
            return
        _send(session, path, found, query)


def _send(session: Session, path: pathlib.Path, found: ReleaseArchive, query: dict[str, Any]) -> None:
    packages: list[PackageSpec | CompiledPackageSpec] = [*found.release.packages, *found.release.compiled_packages]
    known: set[str] = set()
    if packages and not query.get("fix"):
        compiled = bool(found.release.compiled_packages)
        known = session.client.package_matches(found.manifest_path.read_text("utf-8"), compiled=compiled)
    skipped = [item for item in packages if item.fingerprint in known]
    if skipped:
        session.ui.line(f"{len(skipped)} of {len(packages)} package(s) are known to the director and not sent")
    with tempfile.TemporaryDirectory(prefix="caisson-release-") as folder:
        if skipped or path.suffix in (".yml", ".MF"):
            path = pathlib.Path(folder) / f"{found.release.name}-{found.release.version}.tgz"
            found.write(path, without=known)
        session.follow(uploads.send(session, "releases", path, query))


def _has(session: Session, release: Release) -> bool:
    """Whether the director has all of it: its jobs, and its packages in the form that it brings."""
    row = next((row for row in session.client.releases() if row["name"] == release.name), None)
    if row is None or release.version not in {item["version"] for item in row["release_versions"]}:
        return False
    found = session.client.release(release.name, release.version)
    theirs = {package["name"]: package for package in found["packages"]}
    forms = {name: {item["stemcell"] for item in package.get("compiled_packages") or []} for name, package in theirs.items()}
    return (
        {job.name for job in release.jobs} <= {job["name"] for job in found["jobs"]}
        and all(theirs.get(package.name, {}).get("blobstore_id") for package in release.packages)
        and all(package.stemcell in forms.get(package.name, set()) for package in release.compiled_packages)
    )


def _warn_of_other_content(session: Session, found: Release) -> None:
    """A version is uploaded once. That what is meant is not what the director has would be noticed late, or never."""
    known = session.client.release(found.name, found.version)
    packages: list[PackageSpec | CompiledPackageSpec] = [*found.packages, *found.compiled_packages]
    pairs = (
        ("job", [(item.name, item.fingerprint) for item in found.jobs], known["jobs"]),
        ("package", [(item.name, item.fingerprint) for item in packages], known["packages"]),
    )
    other = []
    for kind, ours, theirs in pairs:
        fingerprints = {item["name"]: item["fingerprint"] for item in theirs}
        other += [f"{kind} '{name}'" for name, mark in ours if fingerprints.get(name) != mark]
    if other:
        session.ui.error(
            f"What the director has as '{found.name}/{found.version}' differs in {', '.join(other)}; nothing was uploaded\n"
            "  -> Upload it with --rebase, which gives it the next version, or give it another --version when it is made."
        )


def _made(session: Session, directory: pathlib.Path) -> pathlib.Path:
    """The manifest of a release that was made of the directory."""
    from director.release import create

    if not (directory / "config").is_dir():
        raise UsageError(
            f"'{directory}' is no release directory: it has no 'config' folder",
            suggestion="Give a .tgz, a release directory or an https:// address.",
        )
    made = create.create_release(directory, force=True)
    session.ui.line(f"Release '{made.name}/{made.version}' {'is unchanged' if made.reused else 'made'} in '{directory}'")
    return made.manifest_path
