"""The CPI of AWS: the contract's methods over EC2, S3 and Elastic Load Balancing."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cpis.aws import credentials
from cpis.aws.api import Api
from cpis.aws.checks import Checks
from cpis.aws.disks import Disks
from cpis.aws.driver import Place, Sts
from cpis.aws.errors import explain
from cpis.aws.facts import Facts
from cpis.aws.instances import Instances
from cpis.aws.launch import Planner
from cpis.aws.regions import check_region
from cpis.aws.search import Search
from cpis.aws.sizes import Sizes
from cpis.aws.stemcells import Stemcells
from cpis.aws.surroundings import Surroundings
from cpis.aws.vms import Vms
from cpis.cloud.odd import explained
from cpis.cloud.schema import Schema
from cpis.contract import (
    Check,
    CpiError,
    CpiInfo,
    DiskHint,
    DiskRequest,
    Found,
    Invalid,
    NotFound,
    NotSupported,
    Properties,
    Uses,
    Vm,
    VmRequest,
    VmResources,
)

_PEM = "-----BEGIN"


@explained
class AwsCpi:
    """Machines on AWS. Implements `cpis.contract.Cpi` and `CloudChecker`; see there for what methods promise and raise.

    `config` has the keys of section `cpi` in `schema.yml`, and `director`, the mark on all that this director makes. Nothing is asked of
    the cloud before the first method that needs it. Raises Invalid for a configuration that is wrong.
    """

    name = "aws"

    def __init__(
        self, config: Mapping[str, Any], *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        found = Schema.of("aws").check("cpi", config)
        check_region(str(found["region"]), bool(found.get("ec2_endpoint")))
        self._ca = _CaFile(str((found.get("connection_options") or {}).get("ca_cert") or ""))
        director = str(config.get("director") or "caisson")
        self._place = Place(found, self._ca.path)
        source = credentials.of_config(found, self._assume, ca_file=self._ca.path, clock=clock)
        self._api = Api(self._place, source, found, clock, sleep)
        self._facts = Facts(self._api)
        self._instances = Instances(self._api)
        self._surroundings = Surroundings(self._api, self._instances)
        self._vms = Vms(
            self._api, self._instances, Planner(self._facts, found, director), self._surroundings,
            over_public=bool(found.get("ssh_over_public")))
        self._disks = Disks(self._api, self._facts, self._instances, found, director)
        told = {"progress": progress} if progress else {}
        self._stemcells = Stemcells(self._api, self._facts, self._disks, found, director, **told)
        self._sizes = Sizes(self._api, found)
        self._search = Search(self._api, self._instances, director)
        self._config = found
        self._director = director
        self._clock = clock

    def _assume(self, base: credentials.Source, role: str) -> credentials.Credentials:
        try:
            return Sts(base, self._place).assume(role)
        except CpiError:
            raise
        except Exception as error:
            raise explain("AssumeRole", error) from error

    def info(self) -> CpiInfo:
        return CpiInfo(("aws-light", "aws-raw"), 3)

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        """Light: `ami` by region. Heavy: a raw disk, or BOSH's archive with `root.img`; needs `stemcell_bucket`."""
        return self._stemcells.create(image_path, cloud_properties, token)

    def delete_stemcell(self, cid: str) -> None:
        self._stemcells.delete(cid)

    def create_vm(self, request: VmRequest) -> Vm:
        return self._vms.create(request)

    def delete_vm(self, cid: str) -> None:
        self._vms.delete(cid)

    def has_vm(self, cid: str) -> bool:
        return self._vms.exists(cid)

    def reboot_vm(self, cid: str) -> None:
        self._vms.reboot(cid)

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self._vms.set_metadata(cid, metadata)

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        return self._sizes.calculate(resources)

    def create_disk(self, request: DiskRequest) -> str:
        return self._disks.create(request)

    def delete_disk(self, cid: str) -> None:
        self._disks.delete(cid)

    def has_disk(self, cid: str) -> bool:
        return self._disks.get(cid) is not None

    def attach_disk(self, vm_cid: str, disk_cid: str) -> DiskHint:
        return self._disks.attach(vm_cid, disk_cid)

    def detach_disk(self, vm_cid: str, disk_cid: str) -> None:
        self._disks.detach(vm_cid, disk_cid)

    def resize_disk(self, cid: str, size_mib: int) -> None:
        self._disks.resize(cid, size_mib)

    def update_disk(self, cid: str, size_mib: int, cloud_properties: Properties) -> str:
        return self._disks.update(cid, size_mib, cloud_properties)

    def set_disk_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self._disks.set_metadata(cid, metadata)

    def get_disks(self, vm_cid: str) -> Sequence[str]:
        return self._disks.of_vm(vm_cid)

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        return self._disks.snapshot(cid, metadata, token)

    def delete_snapshot(self, cid: str) -> None:
        self._disks.delete_snapshot(cid)

    def find(self, token: str) -> Sequence[Found]:
        return self._search.find(token)

    def owned(self) -> Sequence[Found]:
        return self._search.owned()

    def remove(self, found: Found) -> None:
        """See `cpis.contract.Remover`: volumes and interfaces that were parts of machines and outlived them."""
        if found.kind == "volume":
            self._disks.delete(found.cid)
        elif found.kind == "network_interface":
            with contextlib.suppress(NotFound):
                self._api.ask("DeleteNetworkInterface", {"NetworkInterfaceId": found.cid})
        else:
            raise NotSupported(f"a {found.kind} is not deleted by itself", resource=found.cid, kind=found.kind)

    def checks(self, uses: Uses) -> Iterable[Check]:
        """See `cpis.contract.CloudChecker`."""
        return Checks(self._api, self._facts, self._search, self._config, self._director, self._clock).run(uses)

    def close(self) -> None:
        self._api.close()
        self._surroundings.close()
        self._ca.close()


class _CaFile:
    """The CA bundle as a file, as the HTTP library wants it; a text becomes one for as long as the CPI lives."""

    def __init__(self, given: str) -> None:
        self.path = given
        self._made = ""
        if _PEM in given:
            with tempfile.NamedTemporaryFile("w", prefix="caisson-ca-", suffix=".pem", delete=False) as file:
                file.write(given)
            self.path = self._made = file.name
        elif given and not Path(given).is_file():
            raise Invalid(
                f"connection_options.ca_cert: there is no file {given}", suggestion="Give certificates (PEM) or the path of a file.")

    def close(self) -> None:
        if self._made:
            Path(self._made).unlink(missing_ok=True)
