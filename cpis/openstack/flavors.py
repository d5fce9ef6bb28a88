"""Flavors by name, remembered for a while."""

from __future__ import annotations

import difflib
import math
import threading
import time
from collections.abc import Callable, Mapping

from cpis.cloud.sizes import MachineType, smallest
from cpis.contract import Invalid, VmResources
from cpis.openstack.answers import Flavor
from cpis.openstack.api import Api

_CACHED_SECONDS = 600.0


class Flavors:
    """Of the account. `clock` gives Unix time."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.time) -> None:
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Mapping[str, Flavor] = {}
        self._until = 0.0

    def named(self, name: str) -> Flavor:
        """Raises Invalid, with what exists, for an unknown name, and for an ephemeral disk that is too small.

        The least size of an ephemeral disk is the BOSH CPI's, which makes swap space of the memory's size on it.
        """
        flavor = self._all(fresh=False).get(name) or self._all(fresh=True).get(name)
        if flavor is None:
            near = difflib.get_close_matches(name, self._known, n=1)
            hint = f"Did you mean '{near[0]}'? " if near else ""
            raise Invalid(f"there is no flavor '{name}'", suggestion=f"{hint}known: {', '.join(sorted(self._known))}")
        least = math.ceil(2 * flavor.ram / 1024)
        if 0 < flavor.ephemeral < least:
            raise Invalid(
                f"flavor '{name}' has an ephemeral disk of {flavor.ephemeral} GiB, and needs {least} GiB: twice its memory",
                suggestion="Take a flavor with a larger ephemeral disk, or with none.")
        return flavor

    def names(self) -> Mapping[str, Flavor]:
        """All, asked for now."""
        return self._all(fresh=True)

    def smallest(self, resources: VmResources, any_root: bool) -> str:
        """The name of the smallest one that has all this. Raises Invalid. Without an ephemeral disk the root disk counts; with `any_root`
        that is a volume of any size."""
        kinds = [
            MachineType(item.name, item.cores, item.ram, 0 if any_root and not item.ephemeral else (item.ephemeral or item.disk) * 1024)
            for item in self._all(fresh=True).values()
            if not 0 < item.ephemeral < math.ceil(2 * item.ram / 1024) and (any_root or item.ephemeral or item.disk)]
        return smallest(kinds, resources).name

    def _all(self, fresh: bool) -> Mapping[str, Flavor]:
        with self._lock:
            known, until = self._known, self._until
        if fresh or self._clock() >= until:
            known = {item.name: item for item in self._api.pages("compute", "/flavors/detail", "flavors", Flavor.read, {"limit": 500})}
            with self._lock:
                self._known, self._until = known, self._clock() + _CACHED_SECONDS
        return known
