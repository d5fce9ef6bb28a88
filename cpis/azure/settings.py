"""What a CPI config says: which Azure, whose account, where things go, and which versions of its interfaces are spoken."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from libcloud.common.azure_arm import publicEnvironments

from cpis.cloud.schema import Schema
from cpis.contract import Invalid, Properties

STACK = "AzureStack"
_NAMES = ("AzureCloud", "AzureChinaCloud", "AzureUSGovernment", "AzureGermanCloud", STACK)
_LOGINS = {"AzureAD": "default", "AzureChinaCloudAD": "AzureChinaCloud"}

# Namespace and type, in lower case; types below another's names have the version of their parent. What has no provider is a matter of
# Resource Manager itself (""), and the subscription one of its own.
_VERSIONS = {
    "microsoft.compute/virtualmachines": "2024-07-01", "microsoft.compute/availabilitysets": "2024-07-01",
    "microsoft.compute/images": "2024-07-01", "microsoft.compute/disks": "2023-10-02", "microsoft.compute/snapshots": "2023-10-02",
    "microsoft.compute/diskencryptionsets": "2023-10-02", "microsoft.compute/galleries": "2023-07-03",
    "microsoft.compute/capacityreservationgroups": "2024-07-01", "microsoft.compute/locations": "2024-07-01",
    "microsoft.compute/skus": "2021-07-01", "microsoft.managedidentity/userassignedidentities": "2023-01-31",
    "microsoft.authorization/permissions": "2022-04-01", "microsoft.network": "2024-05-01", "subscriptions": "2022-12-01",
    "": "2021-04-01",
}
# The profile 2020-09-01-hybrid, which is the newest that an Azure Stack Hub speaks.
_STACK_VERSIONS = {
    "microsoft.compute": "2020-06-01", "microsoft.compute/disks": "2019-07-01", "microsoft.compute/snapshots": "2019-07-01",
    "microsoft.compute/diskencryptionsets": "2019-07-01",
    "microsoft.compute/skus": "2019-04-01", "microsoft.authorization/permissions": "2015-07-01", "microsoft.network": "2018-11-01",
    "subscriptions": "2016-06-01", "": "2019-10-01",
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Which Azure: its endpoints, what tokens are asked for, and who is trusted. `login` is the URL of tokens, without the tenant."""

    name: str
    arm: str
    login: str
    resource: str
    storage_suffix: str = ".core.windows.net"
    adfs: bool = False
    ca_cert: str = ""
    proxy_url: str = ""
    timeout: int = 60

    @property
    def libcloud(self) -> dict[str, str]:
        """The same as Libcloud wants it."""
        return {
            "resourceManagerEndpointUrl": self.arm, "activeDirectoryEndpointUrl": self.login, "activeDirectoryResourceId": self.resource,
            "storageEndpointSuffix": self.storage_suffix,
        }


@dataclasses.dataclass(frozen=True)
class Settings:
    """A CPI config that was looked through. `config` has its keys with defaults; `director` is the mark on everything made."""

    config: Mapping[str, Any] = dataclasses.field(repr=False)
    place: Place
    director: str
    environ: Mapping[str, str] = dataclasses.field(repr=False)

    @classmethod
    def read(cls, config: Properties, environ: Mapping[str, str] | None = None) -> Settings:
        """Raises Invalid with everything that is wrong. What is missing is missed at its first use, so that `info` works without."""
        checked = Schema.of("azure").check("cpi", config)
        timeout = checked.get("pip_idle_timeout_in_minutes", 4)
        if not 4 <= timeout <= 30:
            raise Invalid(f"pip_idle_timeout_in_minutes must be from 4 to 30, not {timeout}")
        director = str(config.get("director") or "caisson")
        return cls(checked, _place(checked), director, os.environ if environ is None else environ)

    def _needed(self, key: str, variable: str = "") -> str:
        value = str(self.config.get(key) or (self.environ.get(variable) if variable else "") or "")
        if not value:
            where = f" (or the environment variable {variable})" if variable else ""
            raise Invalid(f"the CPI config (azure) needs '{key}'{where}")
        return value

    @property
    def subscription(self) -> str:
        return self._needed("subscription_id", "AZURE_SUBSCRIPTION_ID")

    @property
    def group(self) -> str:
        """The resource group of what names no other."""
        return self._needed("resource_group_name")

    @property
    def stack(self) -> bool:
        """An Azure Stack Hub, which is some years behind."""
        return self.place.name == STACK

    def id_of(self, kind: str, name: str, group: str = "") -> str:
        """The id of a resource: `kind` with its namespace, as `Microsoft.Compute/disks`."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{group or self.group}/providers/{kind}/{name}"

    def version(self, path: str) -> str:
        """The version of the interface for a path."""
        parts = path.lower().split("?")[0].strip("/").split("/")
        kind = "subscriptions" if parts[0] == "subscriptions" and len(parts) == 2 else ""
        if "providers" in parts:
            at = len(parts) - 1 - parts[::-1].index("providers")
            kind = "/".join(parts[at + 1:at + 3])
        versions = _STACK_VERSIONS if self.stack else _VERSIONS
        for key in (kind, kind.split("/")[0], ""):
            if key in versions:
                return versions[key]
        return versions[""]


def _place(config: Mapping[str, Any]) -> Place:
    options = config.get("connection_options") or {}
    common: dict[str, Any] = {
        "ca_cert": str(options.get("ca_cert") or ""), "proxy_url": str(options.get("proxy_url") or ""),
        "timeout": int(options.get("timeout") or 60),
    }
    named = config["environment"]
    if named == STACK:
        return _stack(config.get("azure_stack") or {}, common)
    if isinstance(named, str):
        if named not in _NAMES:
            known = ", ".join(_NAMES)
            raise Invalid(f"the CPI config (azure): there is no environment '{named}'", suggestion=f"known: {known}, or a hash.")
        found = publicEnvironments["default" if named == "AzureCloud" else named]
    else:
        found = named
        named = "custom"
    for key in ("resourceManagerEndpointUrl", "activeDirectoryEndpointUrl"):
        url = urlsplit(found[key])
        if url.scheme not in ("http", "https") or not url.hostname:
            raise Invalid(f"the CPI config (azure): environment.{key} is no URL: '{found[key]}'")
    return Place(
        named, found["resourceManagerEndpointUrl"].rstrip("/"), found["activeDirectoryEndpointUrl"].rstrip("/"),
        found["activeDirectoryResourceId"], found.get("storageEndpointSuffix", ".core.windows.net"), **common)


def _stack(stack: Mapping[str, Any], common: Mapping[str, Any]) -> Place:
    domain = stack.get("domain")
    if not domain:
        raise Invalid("the CPI config (azure): environment AzureStack needs azure_stack.domain")
    arm = f"https://{stack.get('endpoint_prefix') or 'management'}.{domain}"
    kind = stack.get("authentication") or "AzureAD"
    adfs = kind == "ADFS"
    login = f"https://adfs.{domain}/adfs" if adfs else publicEnvironments[_LOGINS[kind]]["activeDirectoryEndpointUrl"].rstrip("/")
    options = {**common, "ca_cert": str(stack.get("ca_cert") or common["ca_cert"])}
    return Place(STACK, arm, login, stack.get("resource") or f"{arm}/", f".{domain}", adfs=adfs, **options)
