"""Virtual devices: what a machine has, and the changes that add disks and NICs. Source: CPI contract, section 10.2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyVmomi import vim

from cpis.cloud.faults import MALFORMED
from cpis.contract import Conflict, Invalid, Quota, Unavailable
from cpis.vsphere.inventory import Net

Device = vim.vm.device
PERSISTENT = "independent_persistent"
_CONTROLLERS = {
    "paravirtual": Device.ParaVirtualSCSIController, "lsilogic": Device.VirtualLsiLogicController,
    "buslogic": Device.VirtualBusLogicController,
}
_DRIVES = ((Device.VirtualIDEController, 2), (Device.VirtualAHCIController, 30))
_OWN_UNIT = 7
_UNITS = 16
_FIRST_KEY = -101


def layout(kind: str) -> dict[str, bool]:
    """How a disk of this type is laid out, as its backing says it."""
    return {"thinProvisioned": kind == "thin", "eagerlyScrub": kind == "eagerZeroedThick"}


def disks(devices: Iterable[Any]) -> list[Any]:
    """All disks."""
    return [device for device in devices if isinstance(device, Device.VirtualDisk)]


def nics(devices: Iterable[Any]) -> list[Any]:
    """All NICs in the order of the guest's."""
    return sorted((device for device in devices if isinstance(device, Device.VirtualEthernetCard)), key=lambda nic: nic.key)


def persistent(devices: Iterable[Any], known: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The persistent disks by CID: `known` names those whose files vCenter has renamed (CIDs by the disks' own ids). Raises Unavailable
    when an answer does not tell what each is: one that is overlooked would be deleted with its machine.
    """
    found = {}
    for disk in disks(devices):
        mode, file = getattr(disk.backing, "diskMode", ""), getattr(disk.backing, "fileName", "")
        if not mode or (mode == PERSISTENT and not file):
            raise Unavailable(
                "vCenter's answer does not tell the files of all disks of the machine", code=MALFORMED,
                suggestion="Try again. May the user see all datastores (System.Read)?")
        if mode == PERSISTENT:
            found[(known or {}).get(disk_id(disk.backing.uuid or ""), "") or stem(file)] = disk
    return found


def stem(path: str) -> str:
    """`disk-1` of `[store] folder/disk-1.vmdk`."""
    return path.rpartition("/")[2].removesuffix(".vmdk")


def disk_id(text: str) -> str:
    """vCenter's id of a disk, which it writes in several ways, as a UUID in lower case; empty for none."""
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    if len(digits) != 32:
        return ""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def change(device: Any, operation: str = "add", file: str | None = None, profile: Sequence[Any] = ()) -> Any:
    """A change of one device. `file` is what happens to the file behind it: `create`, `destroy`, or nothing."""
    return Device.VirtualDeviceSpec(device=device, operation=operation, fileOperation=file, profile=list(profile))


class Slots:
    """Free places on the SCSI controllers of a machine; a controller is added when there is none, or none has room."""

    def __init__(self, devices: Iterable[Any], controller: str = "paravirtual") -> None:
        known = list(devices)
        self._kind = _CONTROLLERS[controller]
        self._controllers = [device for device in known if isinstance(device, Device.VirtualSCSIController)]
        self._taken = {(device.controllerKey, device.unitNumber) for device in known}
        self._next_key = _FIRST_KEY
        self.added: list[Any] = []

    def take(self) -> tuple[int, int]:
        """(controller's key, unit). Raises Quota when no more disks go into a machine."""
        for controller in self._controllers:
            for unit in range(_UNITS):
                if unit != _OWN_UNIT and (controller.key, unit) not in self._taken:
                    self._taken.add((controller.key, unit))
                    return controller.key, unit
        buses = {controller.busNumber for controller in self._controllers}
        bus = next((number for number in range(4) if number not in buses), None)
        if bus is None:
            raise Quota("a machine takes 60 disks, 15 on each of four controllers", limit="60", used=str(len(self._taken)))
        added = self._kind(key=self.key(), busNumber=bus, sharedBus="noSharing")
        self._controllers.append(added)
        self.added.append(change(added))
        self._taken.add((added.key, 0))
        return added.key, 0

    def key(self) -> int:
        """A temporary key for a device of one request."""
        self._next_key -= 1
        return self._next_key


def new_disk(slots: Slots, store: Any, path: str, size_mib: int, kind: str, profile: Sequence[Any]) -> Any:
    """A disk of the machine's own, with a new file beside its others (`path` is the datastore alone), that goes with it."""
    controller, unit = slots.take()
    backing = Device.VirtualDisk.FlatVer2BackingInfo(fileName=path, datastore=store, diskMode="persistent", **layout(kind))
    disk = Device.VirtualDisk(key=slots.key(), controllerKey=controller, unitNumber=unit, capacityInKB=size_mib * 1024, backing=backing)
    return change(disk, file="create", profile=profile)


def persistent_disk(slots: Slots, path: str, size_mib: int) -> Any:
    """An existing file as persistent disk: independent, so that no snapshot of the machine touches it."""
    controller, unit = slots.take()
    backing = Device.VirtualDisk.FlatVer2BackingInfo(fileName=path, diskMode=PERSISTENT)
    disk = Device.VirtualDisk(key=slots.key(), controllerKey=controller, unitNumber=unit, capacityInKB=size_mib * 1024, backing=backing)
    return change(disk)


def grown(disk: Any, size_gib: int) -> Any:
    """The root disk, larger. Raises Invalid when it is to be smaller than the stemcell's."""
    wanted = size_gib * 1024 * 1024
    if wanted < disk.capacityInKB:
        raise Invalid(
            f"root_disk_size_gb is {size_gib}, the stemcell's disk has {-(-disk.capacityInKB // (1024 * 1024))} GiB",
            suggestion="Disks do not shrink: give it at least as much.")
    larger = Device.VirtualDisk(
        key=disk.key, controllerKey=disk.controllerKey, unitNumber=disk.unitNumber, capacityInKB=wanted, backing=disk.backing,
        deviceInfo=disk.deviceInfo)
    return change(larger, "edit")


def new_nics(slots: Slots, networks: Sequence[Net]) -> list[Any]:
    """A NIC on each network, in their order."""
    connected = Device.VirtualDevice.ConnectInfo(startConnected=True, connected=True, allowGuestControl=True)
    return [
        change(Device.VirtualVmxnet3(key=slots.key(), backing=net.backing, addressType="generated", connectable=connected))
        for net in networks
    ]


def disc(devices: Iterable[Any], path: str) -> list[Any]:
    """The changes that put this image into the machine's CD-ROM drive, which is added when there is none."""
    known = list(devices)
    connected = Device.VirtualDevice.ConnectInfo(startConnected=True, connected=True, allowGuestControl=True)
    backing = Device.VirtualCdrom.IsoBackingInfo(fileName=path)
    drive = next((device for device in known if isinstance(device, Device.VirtualCdrom)), None)
    if drive is not None:
        return [change(Device.VirtualCdrom(
            key=drive.key, controllerKey=drive.controllerKey, unitNumber=drive.unitNumber, backing=backing, connectable=connected,
            deviceInfo=drive.deviceInfo), "edit")]
    taken = {(device.controllerKey, device.unitNumber) for device in known}
    for controller in known:
        for unit in range(next((units for kind, units in _DRIVES if isinstance(controller, kind)), 0)):
            if (controller.key, unit) not in taken:
                return [change(_drive(controller.key, unit, backing, connected))]
    added = Device.VirtualAHCIController(key=_FIRST_KEY, busNumber=0)
    return [change(added), change(_drive(added.key, 0, backing, connected))]


def _drive(controller: int, unit: int, backing: Any, connected: Any) -> Any:
    return Device.VirtualCdrom(key=_FIRST_KEY - 1, controllerKey=controller, unitNumber=unit, backing=backing, connectable=connected)


def images(devices: Iterable[Any]) -> list[str]:
    """The datastore paths of images in the machine's CD-ROM drives."""
    backings = [device.backing for device in devices if isinstance(device, Device.VirtualCdrom)]
    return [backing.fileName for backing in backings if isinstance(backing, Device.VirtualCdrom.IsoBackingInfo)]


def macs(devices: Iterable[Any], count: int) -> list[str]:
    """The addresses of the machine's NICs in the order in which they were asked for. Raises Conflict when they are not as many."""
    found = [nic.macAddress or "" for nic in nics(devices)]
    if len(found) != count or not all(found):
        raise Conflict(f"the machine has {len(found)} NICs with addresses {found}, not {count}")
    return found


def passthroughs(slots: Slots, values: Mapping[str, Any]) -> list[Any]:
    """Devices of the host: PCI devices by vendor and device id, and shared graphics devices by profile."""
    kind = Device.VirtualPCIPassthrough
    backings: list[Any] = [
        kind.DynamicBackingInfo(deviceName="", allowedDevice=[kind.AllowedDevice(
            vendorId=_number(item["vendor_id"]), deviceId=_number(item["device_id"]))])
        for item in values.get("pci_passthroughs") or []
    ]
    backings += [kind.VmiopBackingInfo(vgpu=name) for name in values.get("vgpus") or []]
    return [change(kind(key=slots.key(), backing=backing)) for backing in backings]


def _number(value: Any) -> int:
    return int(value, 0) if isinstance(value, str) else int(value)
