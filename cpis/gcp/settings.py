"""The CPI config, read once."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from cpis.cloud.schema import Schema
from cpis.contract import Invalid, Properties
from cpis.gcp.driver import Place

GOOGLE = "https://www.googleapis.com"
_STORAGE = "https://storage.googleapis.com"
_RESOURCES = "https://cloudresourcemanager.googleapis.com"


@dataclasses.dataclass(frozen=True)
class Settings:
    """`compute`, `storage` and `resources` are where the three APIs are; `zone` is '' without a default one."""

    project: str
    director: str
    zone: str
    root_disk_size_gb: int
    root_disk_type: str
    user_agent: str
    ssh_over_public: bool
    bucket_location: str
    compute: Place
    storage: Place
    resources: Place
    ca_file: str | None = None
    own_ca_file: bool = False

    def close(self) -> None:
        """Take the CA file away when it is ours."""
        if self.own_ca_file and self.ca_file and os.path.exists(self.ca_file):
            os.unlink(self.ca_file)


def settings_of(config: Properties) -> Settings:
    """Raises Invalid with everything that is wrong."""
    checked = Schema.of("gcp").check("cpi", config)
    ca_file, own = _ca_file((checked.get("connection_options") or {}).get("ca_cert"))
    private = checked["endpoint"] if checked["endpoint"].rstrip("/") != GOOGLE else ""
    return Settings(
        project=checked["project"], director=str(config.get("director") or "caisson"), zone=checked.get("zone") or "",
        root_disk_size_gb=checked["default_root_disk_size_gb"], root_disk_type=checked["default_root_disk_type"],
        user_agent=checked.get("user_agent_prefix") or "", ssh_over_public=checked["ssh_over_public"],
        bucket_location=checked.get("image_bucket_location") or "",
        compute=_place("endpoint", checked["endpoint"], ca_file),
        storage=_place("storage_endpoint", checked.get("storage_endpoint") or private or _STORAGE, ca_file),
        resources=_place("endpoint", private or _RESOURCES, ca_file), ca_file=ca_file, own_ca_file=own)


def _place(key: str, url: str, ca_file: str | None) -> Place:
    try:
        return Place.of(url, ca_file)
    except ValueError as error:
        raise Invalid(f"the CPI config (gcp): '{key}': {error}") from error


def _ca_file(given: str | None) -> tuple[str | None, bool]:
    """The path of the CA certificates, and whether it is a file of ours: TLS takes them from a file only."""
    if not given:
        return None, False
    if "-----BEGIN" not in given:
        if not os.path.isfile(given):
            raise Invalid(f"the CPI config (gcp): 'connection_options.ca_cert': there is no file '{given}'")
        return given, False
    handle, path = tempfile.mkstemp(prefix="caisson-gcp-", suffix=".pem")
    with os.fdopen(handle, "w") as file:
        file.write(given)
    return path, True


def of_network(properties: Properties) -> Mapping[str, Any]:
    """The checked properties of one network. Raises Invalid."""
    return Schema.of("gcp").check("network", properties)
