"""Storage policies: by name, with the datastores that satisfy them. Source: CPI contract, section 10.1 (`storage_policy`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from pyVmomi import pbm, vim

from cpis.contract import Invalid
from cpis.vsphere.session import Session


class Policies:
    """vCenter's storage policies, each looked up once. Safe to use from many threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._ids: dict[str, str] = {}

    def find(self, name: str) -> str:
        """The id of the policy of this name; empty without a name. Raises Invalid listing what there is."""
        if not name:
            return ""
        with self._lock:
            if name not in self._ids:
                self._ids = self._all()
            if name not in self._ids:
                raise Invalid(f"there is no storage policy '{name}'", suggestion=f"there are: {', '.join(sorted(self._ids)) or 'none'}")
            return self._ids[name]

    def _all(self) -> dict[str, str]:
        manager = self._session.storage.profileManager
        kind = pbm.profile.ResourceType(resourceType="STORAGE")
        ids = manager.PbmQueryProfile(kind, "REQUIREMENT")
        return {profile.name: profile.profileId.uniqueId for profile in (manager.PbmRetrieveContent(ids) if ids else [])}

    def datastores(self, policy: str) -> list[str]:
        """The ids of datastores that satisfy a policy."""
        wanted = pbm.placement.CapabilityProfileRequirement(profileId=pbm.profile.ProfileId(uniqueId=policy))
        results = self._session.storage.placementSolver.PbmCheckRequirements(None, None, [wanted])
        return [result.hub.hubId for result in results or [] if result.hub.hubType == "Datastore" and not result.error]

    def spec(self, policy: str) -> Sequence[Any]:
        """The policy as a request takes it; nothing without one."""
        return [vim.vm.DefinedProfileSpec(profileId=policy)] if policy else []
