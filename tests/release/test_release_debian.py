"""Debian packages as blobs, with an apt that answers from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from director import errors
from director.release import blobs, debian

PACKAGES = {"libc6": "2.36", "nats-server": "2.9", "nginx": "1:1.22", "nginx-common": "1.22"}
NEEDS = {"nats-server": ["nats-server"], "nginx": ["nginx", "nginx-common"], "base": ["libc6"]}


class Apt:
    """Stands for apt-get and apt-cache; counts calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def content(self, name: str) -> bytes:
        return f"deb of {name} {PACKAGES[name]}".encode()

    def __call__(self, command: Sequence[str], environment: Mapping[str, str]) -> str:
        root = Path(environment["APT_CONFIG"]).parent
        if command[0] == "apt-cache":
            return "\n".join(self.show(item.split("=")[0]) for item in command[2:])
        verb, arguments = command[4], command[5:]
        self.calls.append(verb + (" fetch" if "--download-only" in arguments else ""))
        names = [item for argument in arguments if not argument.startswith("-") for item in NEEDS.get(argument, [argument])]
        if "--download-only" in arguments:
            for name in names:
                (root / "cache/archives" / f"{name}_{PACKAGES[name].replace(':', '%3a')}_amd64.deb").write_bytes(self.content(name))
        for name in names:
            if name not in PACKAGES:
                raise errors.ReleaseError(f"E: Unable to locate package {name}")
        return "".join(f"Inst {name} ({PACKAGES[name]} Debian:12 [amd64])\nConf {name} ({PACKAGES[name]} x)\n" for name in names)

    def show(self, name: str) -> str:
        data = self.content(name)
        return (
            f"Package: {name}\nVersion: {PACKAGES[name]}\nArchitecture: amd64\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\nDescription: x\n"
        )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "release/config").mkdir(parents=True)
    (tmp_path / "release/config/debian.yml").write_text("bus: {packages: [nats-server]}\nweb: [nginx]\n")
    return tmp_path / "release"


def vendor(directory: Path, apt: Apt) -> list[str]:
    return debian.vendor_debian(directory, base=["base"], run=apt, cache=directory.parent / "cache")


def test_packages_become_recorded_blobs(directory: Path) -> None:
    apt = Apt()
    paths = vendor(directory, apt)
    assert paths == ["bus/nats-server_2.9_amd64.deb", "web/nginx-common_1.22_amd64.deb", "web/nginx_1%3a1.22_amd64.deb"]
    assert all(blobs.is_current(directory, blob) for blob in blobs.read_index(directory).values())
    assert "# Debian nginx 1:1.22 amd64\n" in (directory / "config/blobs.yml").read_text()


def test_again_runs_nothing(directory: Path) -> None:
    vendor(directory, Apt())
    before = (directory / "config/blobs.yml").stat().st_mtime_ns
    apt = Apt()
    assert len(vendor(directory, apt)) == 3
    assert apt.calls == []
    assert (directory / "config/blobs.yml").stat().st_mtime_ns == before


def test_a_damaged_file_is_put_back_without_a_download(directory: Path) -> None:
    vendor(directory, Apt())
    (directory / "blobs/bus/nats-server_2.9_amd64.deb").write_bytes(b"damaged")
    apt = Apt()
    vendor(directory, apt)
    assert not any("fetch" in call or call == "update" for call in apt.calls)
    assert (directory / "blobs/bus/nats-server_2.9_amd64.deb").read_bytes() == apt.content("nats-server")


def test_a_change_of_the_list_removes_what_went(directory: Path) -> None:
    vendor(directory, Apt())
    own = {"size": 3, "sha": "sha256:" + hashlib.sha256(b"own").hexdigest(), "object_id": "x"}
    (directory / "blobs/own.bin").write_bytes(b"own")
    entries = {path: {"size": blob.size, "sha": blob.digest} for path, blob in blobs.read_index(directory).items()}
    blobs.write_index(directory, {**entries, "own.bin": own})
    (directory / "config/debian.yml").write_text("bus: {packages: [nats-server]}\nweb: {packages: [nginx], without: [nginx-common]}\n")
    assert vendor(directory, Apt()) == ["bus/nats-server_2.9_amd64.deb", "web/nginx_1%3a1.22_amd64.deb"]
    assert sorted(path.name for path in (directory / "blobs/web").iterdir()) == ["nginx_1%3a1.22_amd64.deb"]
    assert "own.bin" in blobs.read_index(directory)


def test_an_unknown_package_is_named(directory: Path) -> None:
    (directory / "config/debian.yml").write_text("bus: {packages: [nats-sorver]}\n")
    with pytest.raises(errors.ReleaseError, match="nats-sorver"):
        vendor(directory, Apt())
    assert not (directory / "blobs").exists()


@pytest.mark.parametrize("content", ["bus: {}", "bus: {packages: [], x: 1}", "../up: [a]", "bus: ['-o=evil']", "- a"])
def test_a_bad_file(directory: Path, content: str) -> None:
    (directory / "config/debian.yml").write_text(content)
    with pytest.raises(errors.ReleaseError):
        vendor(directory, Apt())


def test_the_base_names_what_scripts_need() -> None:
    assert {"bash", "libc6", "systemd", "dpkg"} <= set(debian.base_packages())
