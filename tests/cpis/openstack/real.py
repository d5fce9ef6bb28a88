"""For tests against the REAL services: a CPI of theirs, and machines for it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from cpis.conformance.clouds.openstack import Lab
from cpis.contract import CpiError, VmRequest
from cpis.openstack import OpenStackCpi


def ours(lab: Lab) -> OpenStackCpi:
    return OpenStackCpi({**lab.config, "director": "tests"})


def wish(lab: Lab, number: int = 0, **changes: Any) -> VmRequest:
    site = lab.site()
    fields: dict[str, Any] = {
        "cloud_properties": site.vm_properties, "networks": site.networks(number), "login": site.login,
        "stemcell_cid": f"{lab.seeded.image} light", "metadata": {"name": f"router/{number}"}}
    return VmRequest(f"vm-{uuid.uuid4()}", "agent", **{**fields, **changes})


def with_properties(lab: Lab, **properties: Any) -> VmRequest:
    return wish(lab, cloud_properties={**lab.site().vm_properties, **properties})


def refused(cpi: OpenStackCpi, request: VmRequest, kind: type[CpiError], words: str) -> CpiError:
    with pytest.raises(kind, match=words) as caught:
        cpi.create_vm(request)
    assert not cpi.find(request.token)
    return caught.value


def until(ready: Callable[[], bool]) -> None:
    """Wait for the services, two minutes at most: they tell nobody when something has happened."""
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline, "not within two minutes"
        time.sleep(0.5)
