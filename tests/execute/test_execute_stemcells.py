"""Stemcells arrive: on every CPI that takes their format, once. Source: release contract, section 12."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import Cloud, World

from cpis import contract
from director.errors import CaissonError, CloudError
from director.execute import context, fetch, upkeep, upload_stemcell
from director.execute.clouds import Clouds


class Formats(Cloud):
    """A cloud that takes one format."""

    format = "raw"

    def info(self) -> contract.CpiInfo:
        return dataclasses.replace(super().info(), stemcell_formats=(self.format,))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "world")
    yield world
    world.close()


def several(world: World, **formats: str) -> tuple[context.Context, dict[str, Formats]]:
    """A context with a CPI for each name, which takes the format."""
    clouds = {}
    for name, format in formats.items():
        clouds[name] = Formats(world.fleet, lambda effect: None)
        clouds[name].format = format
        clouds[name]._resources.clear()
    entries = {name: {"type": "fake"} for name in formats}
    made = Clouds(world.cloud, lambda name, entry: clouds[name], lambda: entries)
    return dataclasses.replace(world.context, clouds=made), clouds


def upload(ctx: context.Context, folder: Path, text: str, **flags: Any) -> str:
    path = folder / "upload.yml"
    path.write_text("name: debian\nversion: '1.5'\noperating_system: debian-12\napi_version: 2\n" + text)
    return upload_stemcell.upload_stemcell(ctx, fetch.Upload(path=str(path), **flags))


def test_each_cloud_that_takes_it_has_its_own_image(world: World, tmp_path: Path) -> None:
    ctx, clouds = several(world, east="raw", west="raw", other="vhd")
    assert upload(ctx, tmp_path, "stemcell_formats: [raw]\ncloud_properties: {image: x}\n") == "/stemcells/debian/1.5"
    rows = world.store.stemcells.on_all_cpis("debian", "1.5")
    assert [(row.cpi, row.os, row.api_version, row.cloud_properties) for row in rows] == [
        (name, "debian-12", 2, {"image": "x"}) for name in ("east", "west")]
    assert [[item.cid for item in clouds[row.cpi].owned()] for row in rows] == [[row.cid] for row in rows]
    assert not clouds["other"].owned()
    assert world.log.steps == [
        "Update stemcell: Extracting stemcell archive", "Update stemcell: Verifying stemcell manifest",
        *(f"Update stemcell: {what} (cpi: {name})" for name in ("east", "west") for what in (
            "Checking if this stemcell already exists", "Uploading stemcell debian/1.5 to the cloud"))]


def test_without_formats_every_cloud_gets_it(world: World, tmp_path: Path) -> None:
    ctx, _ = several(world, east="raw", other="vhd")
    upload(ctx, tmp_path, "")
    assert [row.cpi for row in world.store.stemcells.on_all_cpis("debian", "1.5")] == ["east", "other"]


def test_again_only_where_it_is_missing(world: World, tmp_path: Path) -> None:
    ctx, clouds = several(world, east="raw")
    upload(ctx, tmp_path, "")
    (first,) = world.store.stemcells.all()
    ctx, more = several(world, east="raw", west="raw")
    more["east"] = clouds["east"]
    upload(ctx, tmp_path, "")
    assert [row.cpi for row in world.store.stemcells.all()] == ["east", "west"]
    assert world.store.stemcells.get("debian", "1.5", "east") == first
    upload(ctx, tmp_path, "", fix=True)
    assert world.store.stemcells.get("debian", "1.5", "east").token != first.token


def test_a_cloud_that_fails_leaves_what_others_have(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, clouds = several(world, east="raw", west="raw")

    def failing(*_: Any) -> str:
        raise contract.Conflict("quota is used up")

    monkeypatch.setattr(clouds["west"], "create_stemcell", failing)
    with pytest.raises(CloudError, match=r"Uploading stemcell debian/1\.5: quota is used up"):
        upload(ctx, tmp_path, "")
    assert [row.cpi for row in world.store.stemcells.all()] == ["east"]
    monkeypatch.undo()
    upload(ctx, tmp_path, "")
    assert [row.cpi for row in world.store.stemcells.all()] == ["east", "west"]


def test_deleted_from_all_clouds(world: World, tmp_path: Path) -> None:
    ctx, clouds = several(world, east="raw", west="raw")
    upload(ctx, tmp_path, "")
    upkeep.delete_stemcell(ctx, "debian", "1.5")
    assert world.store.stemcells.all() == []
    assert not clouds["east"].owned()
    assert not clouds["west"].owned()


def test_no_cloud_takes_it(world: World, tmp_path: Path) -> None:
    ctx, _ = several(world, east="raw", west="vhd")
    with pytest.raises(CaissonError) as caught:
        upload(ctx, tmp_path, "stemcell_formats: [aws-light, ova]\n")
    assert (caught.value.code, caught.value.message) == (
        50008, 'uploaded stemcell with formats ["aws-light", "ova"] are not supported by available cpi formats: ["raw", "vhd"]')
