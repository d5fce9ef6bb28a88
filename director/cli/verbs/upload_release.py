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
    from director.release.model import Release


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
        with tempfile.TemporaryDirectory(prefix="caisson-release-") as folder:
            upload_path(session, _made(session, directory or pathlib.Path("."), pathlib.Path(folder)), query, "")


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
    """Send an archive, or the archive of a directory; one that the director has is not sent."""
    if path.is_dir():
        with tempfile.TemporaryDirectory(prefix="caisson-release-") as folder:
            upload_path(session, _made(session, path, pathlib.Path(folder)), query, "")
        return
    if not path.is_file():
        raise UsageError(f"There is no release at '{path}'", suggestion="Give a .tgz, a release directory or an https:// address.")
    if sha1:
        uploads.check(path, sha1)
    if not query.get("fix") and not query.get("rebase"):
        from director.release import archive

        found = archive.read_release(path)
        if there(session, found.name, found.version):
            session.ui.line(f"Release '{found.name}/{found.version}' already exists.")
            _warn_of_other_content(session, found)
            return
    session.follow(uploads.send(session, "releases", path, query))


def _warn_of_other_content(session: Session, found: Release) -> None:
    """A version is uploaded once. That what is meant is not what the director has would be noticed late, or never."""
    known = session.client.release(found.name, found.version)
    pairs = (("job", found.jobs, known["jobs"]), ("package", found.packages, known["packages"]))
    other = []
    for kind, ours, theirs in pairs:
        fingerprints = {item["name"]: item["fingerprint"] for item in theirs}
        other += [f"{kind} '{item.name}'" for item in ours if fingerprints.get(item.name) != item.fingerprint]
    if other:
        session.ui.error(
            f"What the director has as '{found.name}/{found.version}' differs in {', '.join(other)}; nothing was uploaded\n"
            "  -> Upload it with --rebase, which gives it the next version, or give it another --version when it is made."
        )


def _made(session: Session, directory: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    from director.release import create

    if not (directory / "config").is_dir():
        raise UsageError(
            f"'{directory}' is no release directory: it has no 'config' folder",
            suggestion="Give a .tgz, a release directory or an https:// address.",
        )
    made = create.create_release(directory, force=True, tarball=folder / "release.tgz")
    session.ui.line(f"Release '{made.name}/{made.version}' {'is unchanged' if made.reused else 'made'} in '{directory}'")
    return made.path
