"""Machines that are there: finding, looking, powering, metadata, deleting. Source: CPI contract, sections 10.1 and 10.2."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pyVmomi import vim

from cpis.cloud.faults import MALFORMED
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.tags import FORCED, Rules, clean
from cpis.contract import Conflict, CpiError, Found, NotFound, Unavailable
from cpis.vsphere import hardware
from cpis.vsphere.config import Config
from cpis.vsphere.inventory import Cluster, Inventory, Start, read, traverse
from cpis.vsphere.marks import Marks, collect_marked, disk_option, disks_of, instance_uuid, of_options, options
from cpis.vsphere.rules import Rules as DrsRules
from cpis.vsphere.session import Session
from cpis.vsphere.tasks import run

# extraConfig takes long values; vCenter's custom fields are for people, so that only BOSH's own keys become some.
RULES = Rules(max_count=100, max_key=128, max_value=255)
SETTINGS = "env.iso"
"""The CD image with the settings of a BOSH agent, among the machine's files."""
FIELDS = tuple(key for key in FORCED if not key.startswith("caisson-"))
_PATHS = ("config.hardware.device", "config.extraConfig", "runtime.powerState", "guest.toolsRunningStatus")

log = logging.getLogger("cpis")


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine at one moment. `persistent` are its persistent disks by CID."""

    cid: str
    ref: Any
    devices: tuple[Any, ...]
    persistent: Mapping[str, Any]
    marks: Marks
    running: bool
    tools: bool


class Machines:
    """Safe to use from many threads."""

    def __init__(self, session: Session, inventory: Inventory, config: Config) -> None:
        self._session = session
        self._inventory = inventory
        self._config = config
        self._rules = DrsRules(session, inventory)
        self.alone: Callable[[str], contextlib.AbstractContextManager[None]] = OnePerToken()
        self._fields_lock = threading.Lock()
        self._fields: dict[str, int] = {}

    def ref(self, cid: str, *, by_name: bool = True) -> Any:
        """The machine of this CID, or None: by the id that its token gave it, or else by its name."""
        if not cid:
            return None
        found = self._session.content.searchIndex.FindByUuid(None, instance_uuid(cid), True, True)
        if found is None and by_name:
            found = self._inventory.find(f"vm/{self._config.vm_folder}/{cid}")
        return found if isinstance(found, vim.VirtualMachine) else None

    def find(self, cid: str, *, by_name: bool = True) -> Machine | None:
        """The machine as it is now, or None."""
        ref = self.ref(cid, by_name=by_name)
        if ref is None:
            return None
        try:
            return self.look(cid, ref)
        except NotFound:
            return None

    def look(self, cid: str, ref: Any) -> Machine:
        """What this machine is now. Raises NotFound."""
        facts = read(self._session, ref, *_PATHS)
        if "runtime.powerState" not in facts:
            raise Unavailable(f"vCenter does not tell the state of {cid}", code=MALFORMED)
        devices = tuple(facts.get("config.hardware.device") or ())
        extra = list(facts.get("config.extraConfig") or ())
        return Machine(
            cid, ref, devices, hardware.persistent(devices, disks_of(extra)), of_options(extra),
            facts.get("runtime.powerState") == "poweredOn", facts.get("guest.toolsRunningStatus") == "guestToolsRunning")

    def get(self, cid: str) -> Machine:
        """The machine as it is now. Raises NotFound."""
        found = self.find(cid)
        if found is None:
            raise NotFound(f"there is no machine {cid}", resource=cid, kind="vm")
        return found

    def cluster_of(self, cid: str) -> Cluster | None:
        """The cluster that the machine runs in, as far as there is such a machine."""
        ref = self.ref(cid)
        host = read(self._session, ref, "runtime.host").get("runtime.host") if ref is not None else None
        return next((cluster for cluster in self._inventory.now().clusters if host in cluster.hosts), None)

    # Power

    def power_on(self, cid: str, ref: Any) -> None:
        """On already is fine. Raises NoCapacity when no host may take it."""
        with self._in_that_state("poweredOn"):
            run(self._session, f"start of {cid}", lambda: ref.PowerOnVM_Task(None))

    def power_off(self, cid: str, ref: Any) -> None:
        """Off already is fine."""
        with self._in_that_state("poweredOff"):
            run(self._session, f"stop of {cid}", ref.PowerOffVM_Task)

    @contextlib.contextmanager
    def _in_that_state(self, state: str) -> Any:
        try:
            yield
        except Conflict as error:
            if error.code != "InvalidPowerState" or f"it is {state}" not in error.message:
                raise

    def reboot(self, cid: str) -> None:
        """Through the guest when its tools run, so that it ends in order; hard otherwise; on when it was off."""
        with self.alone(cid):
            machine = self.get(cid)
            if not machine.running:
                self.power_on(cid, machine.ref)
                return
            if machine.tools:
                try:
                    machine.ref.RebootGuest()
                    return
                except CpiError as error:
                    log.info("%s does not reboot by itself (%s): it is reset", cid, error)
            run(self._session, f"reset of {cid}", machine.ref.ResetVM_Task)

    # Metadata

    def set_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        """Into the machine's options, all of it, where `find` and `owned` read it, and BOSH's keys into custom fields, for people."""
        values = clean(metadata, RULES)
        with self.alone(cid):
            machine = self.get(cid)
            spec = vim.vm.ConfigSpec(extraConfig=Marks(metadata=values).options() or options({"caisson.metadata": ""}))
            run(self._session, f"metadata of {cid}", lambda: machine.ref.ReconfigVM_Task(spec))
            self._show(machine, {key: values[key] for key in FIELDS if key in values})

    def _show(self, machine: Machine, values: Mapping[str, str]) -> None:
        facts = read(self._session, machine.ref, "customValue")
        present = {item.key: item.value for item in facts.get("customValue") or []}
        manager = self._session.content.customFieldsManager
        fields = self._field_keys(values)
        for name, value in values.items():
            if present.get(fields[name]) != value:
                manager.SetField(machine.ref, fields[name], value)
        for name in set(FIELDS) & set(fields) - set(values):
            if present.get(fields[name]):
                manager.SetField(machine.ref, fields[name], "")

    def _field_keys(self, names: Mapping[str, str]) -> dict[str, int]:
        """Keys of the custom fields of these names; those that are not there are made. Names are global to the vCenter."""
        manager = self._session.content.customFieldsManager
        with self._fields_lock:
            if not set(names) <= set(self._fields):
                known = read(self._session, manager, "field").get("field") or []
                self._fields = {field.name: field.key for field in known if field.managedObjectType in (None, vim.VirtualMachine)}
            for name in names:
                if name not in self._fields:
                    self._fields[name] = manager.AddCustomFieldDef(name, vim.VirtualMachine, None, None).key
            return dict(self._fields)

    # Deleting

    def detach(self, machine: Machine, disks: Mapping[str, Any]) -> None:
        """Take these persistent disks away from the machine, and nothing of them."""
        changes = [hardware.change(disk, "remove") for disk in disks.values()]
        forgotten = {key: "" for cid in disks for key in disk_option(cid, "")}
        spec = vim.vm.ConfigSpec(deviceChange=changes, extraConfig=options(forgotten))
        run(self._session, f"detaching {', '.join(disks)} from {machine.cid}", lambda: machine.ref.ReconfigVM_Task(spec))

    def delete(self, cid: str) -> Mapping[str, Any]:
        """The machine is certainly gone afterwards. Answers the persistent disks that it had, by CID."""
        with self.alone(cid):
            machine = self.find(cid)
            if machine is None:
                return {}
            try:
                self.destroy(machine)
            except NotFound:
                return {}
            return machine.persistent

    def destroy(self, machine: Machine) -> None:
        """Stop it, let go of its persistent disks, delete it and what is left of its DRS rules. Raises NotFound when it is gone."""
        if machine.running:
            self.power_off(machine.cid, machine.ref)
        if machine.persistent:  # before all else: deleting a machine deletes the files of its disks
            self.detach(machine, machine.persistent)
        for path in hardware.images(machine.devices):
            if path.endswith(f"/{SETTINGS}"):  # vCenter does not count it among the machine's files
                manager, datacenter = self._session.content.fileManager, self._inventory.now().ref
                with contextlib.suppress(NotFound):
                    run(self._session, f"deletion of {path}", partial(manager.DeleteDatastoreFile_Task, path, datacenter))
        with contextlib.suppress(NotFound):
            run(self._session, f"deletion of {machine.cid}", machine.ref.Destroy_Task)
        if machine.marks.rules:
            self._rules.leave(machine.marks.rules)

    # Looking

    def found(self, token: str) -> list[Found]:
        """The machine of this token, whole or half."""
        ref = self.ref(token)
        if ref is None:
            return []
        marked = collect_marked(self._session, [Start(ref)], "name").get(ref)
        if marked is None or marked[1].token != token:
            return []
        return [marked[1].found("vm", token)]

    def owned(self) -> list[Found]:
        """The machines of this director."""
        found = self.marked("name").values()
        return [marks.found("vm", marks.token) for _, marks in found if marks.token and marks.director == self._config.director]

    def marked(self, *paths: str, more: tuple[Start, ...] = ()) -> dict[Any, tuple[dict[str, Any], Marks]]:
        """All machines in the folder for them, and those that `more` leads to. One request when the folder is known."""
        folder = self._inventory.folder(self._config.vm_folder)
        below = traverse("in", vim.Folder, "childEntity", "in")
        return collect_marked(self._session, [Start(folder, [below], True), *more], *paths)
