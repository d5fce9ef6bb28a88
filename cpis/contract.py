"""The contract of a CPI: types, methods with pre- and postconditions, errors.

    CpiError
    +-- NotFound      the resource does not exist (delete methods never raise it)
    +-- Conflict      a token, name or address is taken, or a disk is attached elsewhere
    +-- Quota         a limit of the account, or of the machine, is reached
    +-- Throttled     too many requests                        temporary
    +-- Denied        credentials missing, wrong or not enough
    +-- Unavailable   the cloud cannot be reached or is faulty temporary
    +-- NoCapacity    the zone has no such machine left now    temporary
    +-- Invalid       an argument is wrong
    +-- NotSupported  this cloud cannot do that; the caller takes another way

Sizes are MiB. CIDs are opaque strings chosen by the CPI. A *token* is chosen and written down by the caller before
the call; a create method called again with the same token and arguments answers with the resource it made before,
and `find(token)` tells what exists for it. Methods are safe to call from many threads.
Source of the method list: the CPI v2 contract.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

Properties = Mapping[str, Any]


class CpiError(Exception):
    """A CPI call failed."""

    temporary: ClassVar[bool] = False

    def __init__(
        self, message: str, *, resource: str = "", request_id: str = "", limit: str = "", used: str = "",
        suggestion: str = "", retry_after_seconds: float | None = None, code: str = "", kind: str = "",
    ) -> None:
        """`message` holds the cloud's own words, `code` its name for the error; `kind` is what `resource` is (vm, disk, network ...)."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.kind = kind
        self.resource = resource
        self.request_id = request_id
        self.limit = limit
        self.used = used
        self.suggestion = suggestion
        self.retry_after_seconds = retry_after_seconds


class NotFound(CpiError):
    """The resource does not exist."""


class Conflict(CpiError):
    """The resource is taken or in use."""


class Quota(CpiError):
    """A limit is reached."""


class Throttled(CpiError):
    """Too many requests."""

    temporary = True


class Denied(CpiError):
    """Not allowed."""


class Unavailable(CpiError):
    """The cloud does not answer as it should."""

    temporary = True


class NoCapacity(CpiError):
    """The cloud is well and the account may, but there is no such machine left in the zone now."""

    temporary = True


class Invalid(CpiError):
    """An argument is wrong."""


class NotSupported(CpiError):
    """This cloud cannot do that."""


@dataclasses.dataclass(frozen=True)
class CpiInfo:
    """`stemcell_formats` that `create_stemcell` takes, and the highest contract version."""

    stemcell_formats: tuple[str, ...]
    api_version: int = 2


@dataclasses.dataclass(frozen=True)
class Network:
    """One network of a machine. `type` is manual, dynamic or vip; `ip` is empty for a dynamic network before creation.

    `prefix_length` is that of the subnet (24 for a /24). `default` names what this network is the default for
    (`dns`, `gateway`). Networks with the same `nic_group` share an interface, as an IPv4 and an IPv6 one do.
    """

    name: str
    type: str = "manual"
    ip: str = ""
    prefix_length: int = 24
    gateway: str = ""
    dns: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    cloud_properties: Properties = dataclasses.field(default_factory=dict)
    nic_group: int | None = None


def by_interface(networks: Sequence[Network]) -> tuple[tuple[Network, ...], ...]:
    """The networks that are no vip, those of one interface together, in the order of the first of each."""
    found: dict[tuple[str, int], list[Network]] = {}
    for number, network in enumerate(networks):
        if network.type != "vip":
            found.setdefault(("own", number) if network.nic_group is None else ("group", network.nic_group), []).append(network)
    return tuple(map(tuple, found.values()))


def check_interfaces(cloud: str, networks: Sequence[Network]) -> None:
    """For clouds where each network has an interface of its own. Raises NotSupported for networks that are to share one."""
    for shared in by_interface(networks):
        if len(shared) > 1:
            names = " and ".join(f"'{network.name}'" for network in shared)
            raise NotSupported(
                f"the {cloud} CPI puts each network on an interface of its own; {names} are to share one (nic_group {shared[0].nic_group})",
                resource=shared[1].name, kind="network", suggestion="Leave nic_group out for these networks.")


def dialled(networks: Sequence[Network]) -> str:
    """The address under which a machine is reached: that of its default gateway's network, else of the first that is no vip."""
    inside = [network for network in networks if network.type != "vip"]
    return next((network.ip for network in inside if "gateway" in network.default), inside[0].ip if inside else "")


@dataclasses.dataclass(frozen=True)
class Login:
    """How the first SSH connection is made: the machine gets this user with this key, and shows this host key.

    `public_key` and `host_public_key` are OpenSSH lines without comment; `host_private_key` is an OpenSSH PEM text and secret.

    `agent_settings` is for machines whose image has a BOSH agent and that belong to a BOSH director: a JSON text, secret, which is then the
    user data as it is, in the place of our cloud-config (at the place where BOSH's CPI of that cloud puts it). The keys may be empty then.
    """

    user: str
    public_key: str
    host_public_key: str
    host_private_key: str = dataclasses.field(repr=False)
    agent_settings: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class VmRequest:
    """All that `create_vm` needs. `metadata` is put on the machine in the creating request itself."""

    token: str
    agent_id: str
    stemcell_cid: str
    cloud_properties: Properties
    networks: tuple[Network, ...]
    login: Login
    disk_cids: tuple[str, ...] = ()
    env: Properties = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DiskHint:
    """Where the guest finds an attached disk: a device path, or the ids by which it is looked up."""

    path: str = ""
    lun: str = ""
    id: str = ""


@dataclasses.dataclass(frozen=True)
class Vm:
    """A machine that runs. `networks` is the request's, with what the cloud assigned; `ssh_address` is where to dial.

    `ephemeral_disk` tells where the guest finds the disk for `/var/vcap/data`; None when that is on the root disk.

    A CPI that cannot hand over the request's login says so: `ssh_user` is then the image's own, and with `host_key_known` false the machine
    has a host key that nobody knows before the first contact.
    """

    cid: str
    networks: tuple[Network, ...]
    ssh_address: str
    ssh_port: int = 22
    ephemeral_disk: DiskHint | None = None
    ssh_user: str = ""
    host_key_known: bool = True


@dataclasses.dataclass(frozen=True)
class DiskRequest:
    """All that `create_disk` needs; `vm_cid` is where it will be attached, as a hint for placement."""

    token: str
    size_mib: int
    cloud_properties: Properties = dataclasses.field(default_factory=dict)
    vm_cid: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class VmResources:
    """What a machine must have at least: `cpu` cores, `ram_mib`, `ephemeral_disk_size_mib`."""

    cpu: int
    ram_mib: int
    ephemeral_disk_size_mib: int


@dataclasses.dataclass(frozen=True)
class Found:
    """A resource that carries a token or a director's mark. `kind` is vm, disk, stemcell, snapshot, network or a cloud's own word."""

    kind: str
    cid: str
    token: str
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created_at: float | None = None


@runtime_checkable
class Checked(Protocol):
    """A CPI that can tell before its first use whether all that it needs is there."""

    def check(self) -> None:
        """Raises Denied, Unavailable with everything that is missing and what to do about it."""


CheckKind = Literal["configuration", "reach", "authenticate", "permission", "quota", "image", "network", "storage", "clock"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that `caisson cloud check` looked at. `name` says what (`ec2:RunInstances`, `subnet subnet-1`).

    `ok` is None when it cannot be told without making something; `detail` then says why, else what was found, in the
    cloud's own words. `suggestion` is the next step when it is not well. `asked` is false for what nobody looked at, since the
    cloud did not answer or the time was over: `detail` says which, and `ok` is None.
    """

    name: str
    kind: CheckKind
    ok: bool | None
    detail: str = ""
    suggestion: str = ""
    asked: bool = True

    @classmethod
    def failed(cls, name: str, kind: CheckKind, error: CpiError) -> Check:
        """The check whose question was answered with this error."""
        words = f"{error.message} (request {error.request_id})" if error.request_id else error.message
        return cls(name, kind, False, words, error.suggestion)

    @classmethod
    def not_entered(cls, name: str, account: str, error: CpiError) -> tuple[Check, ...]:
        """The checks of a first question that was answered with this error: `name` was not reached, or it was and `account` is refused.
        A certificate that does not verify (code `tls`) may be anyone's, so that nothing was reached."""
        if isinstance(error, Denied) and error.code != "tls":
            return cls(name, "reach", True, "answers"), cls.failed(account, "authenticate", error)
        return (cls.failed(name, "reach", error),)


@dataclasses.dataclass(frozen=True)
class Uses:
    """What a cloud config and the stemcells name of this cloud, for a check: cloud_properties of each kind, and images' CIDs.

    Keys of the mappings are the names in the cloud config (`default`; a subnet's is `NETWORK/CIDR`). All empty: only the
    CPI's own configuration is looked at.
    """

    azs: Mapping[str, Properties] = dataclasses.field(default_factory=dict)
    networks: Mapping[str, Properties] = dataclasses.field(default_factory=dict)
    vm_types: Mapping[str, Properties] = dataclasses.field(default_factory=dict)
    disk_types: Mapping[str, Properties] = dataclasses.field(default_factory=dict)
    stemcell_cids: tuple[str, ...] = ()


@runtime_checkable
class CloudChecker(Protocol):
    """A CPI that can look, for `caisson cloud check`, whether all is there that it will need."""

    def checks(self, uses: Uses) -> Iterable[Check]:
        """One check after the other, each as soon as it is known: reach and authenticate first, and nothing after these failed.

        Makes, changes and deletes nothing (dry runs, reads and policy questions only). A `CpiError` becomes a failed check
        (`Check.failed`), it is never raised.
        """


@dataclasses.dataclass(frozen=True)
class NetworkRequest:
    """A subnet to make: with `range` (and `gateway`), or, when that is empty, with one of `netmask_bits` that the cloud chooses."""

    token: str
    cloud_properties: Properties = dataclasses.field(default_factory=dict)
    range: str = ""
    gateway: str = ""
    netmask_bits: int | None = None
    type: str = "manual"


@dataclasses.dataclass(frozen=True)
class MadeNetwork:
    """`cloud_properties` are what machines on it are created with; `reserved` are addresses that the cloud keeps for itself."""

    cid: str
    range: str
    gateway: str
    reserved: tuple[str, ...] = ()
    cloud_properties: Properties = dataclasses.field(default_factory=dict)


@runtime_checkable
class NetworkMaker(Protocol):
    """A CPI that can make networks. Others have no such methods."""

    def create_network(self, request: NetworkRequest) -> MadeNetwork:
        """Post: machines can be created on it, or nothing is left. Raises Conflict when the range is in use, Invalid."""

    def delete_network(self, cid: str) -> None:
        """Post: gone; gone before is success. Raises Conflict while machines are on it."""


@runtime_checkable
class Remover(Protocol):
    """A CPI whose `owned` lists things that no other method deletes: parts of machines that never came up, addresses, half-made images."""

    def remove(self, found: Found) -> None:
        """Post: gone, and gone before is success; of something without a CID, of which only a token is known, it is forgotten. Raises
        Conflict while something that is there uses it, NotSupported."""


class Cpi(Protocol):
    """What every cloud does for the director. All methods may raise any `CpiError`."""

    name: str

    def info(self) -> CpiInfo:
        """Formats and version; works with no cloud reachable."""

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        """Make an image of the file (empty for a light stemcell) and answer its CID. Post: usable by `create_vm`, or nothing is left."""

    def delete_stemcell(self, cid: str) -> None:
        """Post: the image is gone (light: nothing happens); it having been gone is success."""

    def create_vm(self, request: VmRequest) -> Vm:
        """Post: the machine is powered on with all its networks, or everything made is deleted. Need not wait for sshd.

        Raises Conflict when an address is in use, Quota, Invalid for unknown cloud properties.
        """

    def delete_vm(self, cid: str) -> None:
        """Post: the machine and all made for it are certainly gone, its persistent disks detached and whole; gone before is success."""

    def has_vm(self, cid: str) -> bool:
        """False only when it certainly does not exist."""

    def reboot_vm(self, cid: str) -> None:
        """Works on a machine that is powered off. Raises NotFound."""

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        """Replace the metadata; values are sanitised or cut, never refused. Raises NotFound."""

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        """Cloud properties of the smallest machine that satisfies all. Raises Invalid when none does."""

    def create_disk(self, request: DiskRequest) -> str:
        """Post: a blank disk of at least that size, attachable to `vm_cid`."""

    def delete_disk(self, cid: str) -> None:
        """Post: gone, its snapshots too. Raises Conflict while attached; gone before is success."""

    def has_disk(self, cid: str) -> bool:
        """False only when it certainly does not exist."""

    def attach_disk(self, vm_cid: str, disk_cid: str) -> DiskHint:
        """Attached already to this machine: the same hint. Raises Conflict when attached to another, NotFound."""

    def detach_disk(self, vm_cid: str, disk_cid: str) -> None:
        """Post: not attached to this machine; machine or disk gone is success."""

    def resize_disk(self, cid: str, size_mib: int) -> None:
        """Pre: detached. Smaller raises NotSupported, equal does nothing."""

    def update_disk(self, cid: str, size_mib: int, cloud_properties: Properties) -> str:
        """Change in place or copy; answers the CID from now on. Raises NotSupported."""

    def set_disk_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        """Replace the metadata. Raises NotFound."""

    def get_disks(self, vm_cid: str) -> Sequence[str]:
        """CIDs of the persistent disks attached. Raises NotFound."""

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        """Post: the snapshot is usable. Raises NotFound."""

    def delete_snapshot(self, cid: str) -> None:
        """Post: gone; gone before is success."""

    def find(self, token: str) -> Sequence[Found]:
        """Everything that carries this token, whole or half made."""

    def owned(self) -> Sequence[Found]:
        """Everything in the cloud that carries this director's mark."""

    def close(self) -> None:
        """Release connections; machines go on."""
