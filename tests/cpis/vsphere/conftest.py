"""A vCenter simulator for the tests of this folder, one for each module, and a machine to make on it."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpis.conformance.clouds import vsphere
from cpis.conformance.standin import Skipped
from cpis.contract import VmRequest
from cpis.vsphere import VsphereCpi
from tests.cpis.vsphere.tools import HUSH


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vsphere.VsphereStandIn]:
    try:
        stand_in = vsphere.start(Path(tmp_path_factory.mktemp("vcenter")))
    except Skipped as reason:
        pytest.skip(str(reason))
    with stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def cpi(vcenter: vsphere.VsphereStandIn) -> Iterator[VsphereCpi]:
    made = VsphereCpi(vcenter.config)
    yield made
    made.close()


@pytest.fixture(scope="module")
def stemcell(vcenter: vsphere.VsphereStandIn, cpi: VsphereCpi) -> Iterator[str]:
    cid = cpi.create_stemcell(vcenter.site().image_path, {"name": "test", "version": "1"}, f"stemcell-{uuid.uuid4()}")
    yield cid
    cpi.delete_stemcell(cid)


@pytest.fixture
def disks(cpi: VsphereCpi) -> Iterator[list[str]]:
    tokens: list[str] = []
    yield tokens
    for token in tokens:
        cpi.delete_disk(token)


@pytest.fixture
def made(cpi: VsphereCpi, disks: list[str]) -> Iterator[list[str]]:
    cids: list[str] = []
    yield cids
    for cid in cids:
        cpi.delete_vm(cid)


@pytest.fixture
def request_(vcenter: vsphere.VsphereStandIn, stemcell: str, made: list[str]) -> VmRequest:
    site = vcenter.site()
    token = f"vm-{uuid.uuid4()}"
    made.append(token)
    login = dataclasses.replace(site.login, host_private_key=HUSH)
    metadata = {"director": "conformance", "deployment": "dep", "instance_group": "web", "name": "web/0"}
    return VmRequest(token, "agent", stemcell, site.vm_properties, site.networks(0), login, metadata=metadata)
