"""What tests of machines on Azure ask for, and what came of it in the fake."""

from __future__ import annotations

import dataclasses
from typing import Any

from cpis.conformance.clouds.azure import AzureStandIn
from cpis.conformance.clouds.azure.store import Tree
from cpis.contract import VmRequest

IMAGE = "image:Debian:debian-12:12-gen2:0.20251006.2257"
GROUP = "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/caisson/providers"


def request(azure: AzureStandIn, token: str = "vm-1", **more: Any) -> VmRequest:
    site = azure.site()
    properties = {"instance_type": "Standard_D2s_v5", **more.pop("properties", {})}
    base = VmRequest(token, "agent-1", IMAGE, properties, site.networks(0), site.login, metadata={"deployment": "d", "name": "web/0"})
    return dataclasses.replace(base, **more)


def machine(azure: AzureStandIn, token: str = "vm-1") -> Tree:
    return azure.store.get(f"{GROUP}/Microsoft.Compute/virtualMachines/{token}")


def nic(azure: AzureStandIn, token: str = "vm-1", number: int = 0) -> Tree:
    return azure.store.get(f"{GROUP}/Microsoft.Network/networkInterfaces/{token}-nic-{number}")
