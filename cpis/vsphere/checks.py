"""What `caisson cloud check` looks at: reach, login, clock, privileges, and that everything named exists. Nothing is made or changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from pyVmomi import vim

from cpis.cloud.faults import unexplained
from cpis.contract import Check, CheckKind, CpiError, Properties, Uses
from cpis.vsphere import config as configuration
from cpis.vsphere.config import SCHEMA, Config
from cpis.vsphere.inventory import Inventory, Start, collect, read
from cpis.vsphere.session import Session
from cpis.vsphere.stemcells import LIGHT

_SKEW_SECONDS = 300.0
_FOR_MACHINES = (
    "VirtualMachine.Inventory.CreateFromExisting", "VirtualMachine.Inventory.Create", "VirtualMachine.Inventory.Delete",
    "VirtualMachine.Provisioning.Clone", "VirtualMachine.Provisioning.DeployTemplate", "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddExistingDisk", "VirtualMachine.Config.RemoveDisk", "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.EditDevice", "VirtualMachine.Config.AdvancedConfig", "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.Memory", "VirtualMachine.Config.DiskExtend", "VirtualMachine.Config.Settings", "VirtualMachine.Config.Resource",
    "VirtualMachine.Interact.PowerOn", "VirtualMachine.Interact.PowerOff", "VirtualMachine.Interact.Reset",
    "VirtualMachine.State.CreateSnapshot", "VApp.Import", "Folder.Create", "Resource.AssignVMToPool", "Network.Assign",
)
_FOR_DATASTORES = ("Datastore.AllocateSpace", "Datastore.Browse", "Datastore.FileManagement")
_GLOBAL = ("Global.ManageCustomFields", "Global.SetCustomField")
PRIVILEGES: Mapping[str, tuple[str, ...]] = {"datacenter": _FOR_MACHINES, "datastore": _FOR_DATASTORES, "vCenter": _GLOBAL}
"""All that the CPI needs, by where. docs/clouds/vsphere.md makes a role of them."""


class Checks:
    """The questions, in the order in which later ones need earlier ones."""

    def __init__(self, session: Session, inventory: Inventory, config: Config, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._inventory = inventory
        self._config = config
        self._clock = clock

    def run(self, uses: Uses) -> Iterator[Check]:
        """One check after the other."""
        first: tuple[tuple[str, CheckKind, Callable[[], object]], ...] = (
            ("vCenter answers", "reach", lambda: self._session.content.about.fullName), ("login", "authenticate", self._login),
            ("datacenter", "configuration", lambda: self._inventory.now(fresh=True) and self._config.datacenter),
        )
        for name, kind, question in first:
            check = _ask(name, kind, question)
            yield check
            if not check.ok:
                return
        yield self._clock_check()
        for place in self._config.places:
            yield _ask(f"cluster {place.cluster}", "configuration", lambda cluster=place.cluster: self._cluster(cluster))  # type: ignore[misc]
        yield _ask("datastores for machines", "storage", lambda: self._stores(self._config.stores))
        yield _ask("datastores for persistent disks", "storage", lambda: self._stores(self._config.disk_stores))
        yield from self._privileges()
        yield from self._used(uses)

    def _login(self) -> str:
        self._session.log_in()
        return f"as {self._config.values['user']}"

    def _clock_check(self) -> Check:
        try:
            theirs = self._session.driver.connection.CurrentTime().timestamp()
        except CpiError as error:
            return Check.failed("clock", "clock", error)
        skew = self._clock() - theirs
        well = abs(skew) <= _SKEW_SECONDS
        return Check(
            "clock", "clock", well, f"this computer's clock is {skew:+.0f} s from vCenter's",
            "" if well else "Set both by NTP: certificates and sessions depend on the time.")

    def _cluster(self, name: str) -> str:
        cluster = self._inventory.cluster(name)
        return f"{len(cluster.hosts)} hosts, {len(cluster.datastores)} datastores, {len(cluster.networks)} networks"

    def _stores(self, pattern: configuration.Pattern) -> str:
        found = [store for store in self._inventory.now().datastores if store.usable and pattern.takes(store.name, store.pod)]
        if not found:
            names = ", ".join(store.name for store in self._inventory.now().datastores)
            raise CpiError(f"no usable datastore matches {pattern}", suggestion=f"there are: {names or 'none'}")
        free = collect(self._session, [Start(store.ref) for store in found], {vim.Datastore: ["summary.freeSpace"]})
        return ", ".join(f"{store.name} ({free.get(store.ref, {}).get('summary.freeSpace', 0) // 2**30} GiB free)" for store in found)

    def _privileges(self) -> Iterator[Check]:
        now = self._inventory.now()
        where = {"datacenter": now.ref, "vCenter": self._session.content.rootFolder}
        store = next((store for store in now.datastores if self._config.stores.takes(store.name, store.pod)), None)
        if store is not None:
            where["datastore"] = store.ref
        try:
            current = read(self._session, self._session.content.sessionManager, "currentSession")["currentSession"]
            manager = self._session.content.authorizationManager
            answers = {name: manager.HasPrivilegeOnEntity(ref, current.key, list(PRIVILEGES[name])) for name, ref in where.items()}
        except (CpiError, KeyError) as error:
            why = error.message if isinstance(error, CpiError) else "vCenter does not tell the session"
            yield Check("privileges", "permission", None, f"vCenter does not tell them: {why}")
            return
        for name, answer in answers.items():
            for privilege, granted in zip(PRIVILEGES[name], answer, strict=True):
                yield Check(
                    privilege, "permission", bool(granted), f"on the {name}",
                    "" if granted else f"Add it to the role, and the role to the {name}: see docs/clouds/vsphere.md.")

    def _used(self, uses: Uses) -> Iterator[Check]:
        for name, properties in uses.azs.items():
            yield _ask(f"AZ {name}", "configuration", lambda given=properties: self._az(given))  # type: ignore[misc]
        for name, properties in uses.networks.items():
            yield _ask(f"network {name}", "network", lambda given=properties: self._network(given))  # type: ignore[misc]
        for name, properties in uses.vm_types.items():
            yield _ask(f"vm_type {name}", "configuration", lambda given=properties: self._vm_type(given))  # type: ignore[misc]
        for name, properties in uses.disk_types.items():
            yield _ask(f"disk_type {name}", "storage", lambda given=properties: self._disk_type(given))  # type: ignore[misc]
        for cid in uses.stemcell_cids:
            yield _ask(f"stemcell {cid}", "image", lambda known=cid: self._stemcell(known))  # type: ignore[misc]

    def _az(self, properties: Properties) -> str:
        return "; ".join(self._cluster(place.cluster) for place in self._config.places_of(SCHEMA.check("az", properties)))

    def _network(self, properties: Properties) -> str:
        return str(self._inventory.network(SCHEMA.check("network", properties)["name"]).path)

    def _vm_type(self, properties: Properties) -> str:
        values = configuration.machine(properties)
        return self._stores(configuration.stores(values, self._config.stores))

    def _disk_type(self, properties: Properties) -> str:
        return self._stores(configuration.stores(SCHEMA.check("disk_type", properties), self._config.disk_stores))

    def _stemcell(self, cid: str) -> str:
        path = cid.removesuffix(LIGHT) if cid.endswith(LIGHT) else f"{self._config.template_folder}/{cid}"
        if self._inventory.find(f"vm/{path}") is None:
            raise CpiError(f"there is no template '{path}'", suggestion="Upload the stemcell again, or name another template.")
        return path


def _ask(name: str, kind: CheckKind, question: Callable[[], object]) -> Check:
    try:
        return Check(name, kind, True, str(question()))
    except CpiError as error:
        return Check.failed(name, kind, error)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:  # an answer that is not as it should be
        return Check.failed(name, kind, unexplained(name, error))
