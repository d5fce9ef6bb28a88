"""What is wrong is refused with the right error, and leaves nothing."""

from __future__ import annotations

import dataclasses
import secrets

from cpis.conformance.bench import Bench, needed, raises
from cpis.conformance.cases.machines import UNKNOWN_DISK
from cpis.conformance.keys import login
from cpis.contract import Conflict, CpiError, Invalid, Network, NotFound, NotSupported, Quota, VmRequest

# An address that belongs to nobody. Source: RFC 5737.
NOWHERE = "203.0.113.77"


def _refused(bench: Bench, request: VmRequest, *kinds: type[CpiError]) -> CpiError:
    """The request is refused with one of these errors and nothing of it is left."""
    error = raises(kinds, lambda: bench.cpi.create_vm(request))
    left = [f"{found.kind} {found.cid}" for found in bench.cpi.find(request.token)]
    assert not left, f"the refused machine left {left}"
    return error


def address_conflict_leaves_nothing(bench: Bench) -> None:
    """A second machine with an address in use is refused, the address named, and leaves nothing."""
    bench.vm(0)
    error = _refused(bench, bench.request(0), Conflict)
    ip = bench.site.networks(0)[0].ip
    assert ip in f"{error} {error.resource}"


def address_outside_its_subnet(bench: Bench) -> None:
    """A machine with an address outside its subnet is refused and leaves nothing."""
    first, *others = bench.site.networks(0)
    networks = (dataclasses.replace(first, ip=NOWHERE), *others)
    _refused(bench, bench.request(0, networks=networks), Invalid, Conflict)


def unknown_property_leaves_nothing(bench: Bench) -> None:
    """An unknown cloud property is Invalid, named, and leaves nothing."""
    error = _refused(bench, bench.request(0, cloud_properties={**bench.site.vm_properties, "no_such_property": 1}), Invalid)
    assert "no_such_property" in str(error)


def properties_of_wrong_types(bench: Bench) -> None:
    """A cloud property of a wrong type is Invalid, named, and leaves nothing."""
    for key in bench.site.vm_properties:
        properties = {**bench.site.vm_properties, key: {"a": [object.__name__, 1]}}
        error = _refused(bench, bench.request(0, cloud_properties=properties), Invalid)
        assert key in str(error), f"'{error}' does not name {key}"


def unknown_stemcell_is_refused(bench: Bench) -> None:
    """A machine of an unknown stemcell is refused and leaves nothing."""
    _refused(bench, bench.request(0, stemcell_cid="stemcell-000000000000"), NotFound, Invalid)


def unknown_disk_is_refused(bench: Bench) -> None:
    """A machine that is to have an unknown disk is refused and leaves nothing."""
    _refused(bench, bench.request(0, disk_cids=(UNKNOWN_DISK,)), NotFound, Invalid)


def vip_alone_is_refused(bench: Bench) -> None:
    """Row 18: a machine needs a manual or dynamic network."""
    networks = tuple(Network(network.name, "vip", network.ip) for network in bench.site.networks(0))
    _refused(bench, bench.request(0, networks=networks), Invalid, NotSupported)


def no_network_is_refused(bench: Bench) -> None:
    """A machine without any network is refused and leaves nothing."""
    _refused(bench, bench.request(0, networks=()), Invalid)


def disk_of_another_zone_is_refused(bench: Bench) -> None:
    """Row 31: a machine that is to have a disk of another zone is refused before anything is made, both zones named."""
    zone = needed(bench.site.other_zone, "second availability zone")
    vm = bench.vm(0)
    disk = bench.disk(vm_cid=vm.cid)
    request = bench.request(1, cloud_properties=zone.vm_properties, networks=zone.networks(1), disk_cids=(disk,))
    error = _refused(bench, request, Invalid, Conflict, NotSupported)
    missing = [name for name in (zone.here, zone.there) if name not in str(error)]
    assert not missing, f"'{error}' does not name {missing}"


def disk_is_made_where_its_machine_is(bench: Bench) -> None:
    """A disk for a machine in the second zone can be attached there."""
    zone = needed(bench.site.other_zone, "second availability zone")
    vm = bench.vm(0, cloud_properties=zone.vm_properties, networks=zone.networks(0))
    request = dataclasses.replace(bench.disk_request(vm_cid=vm.cid), cloud_properties={})
    disk = bench.cpi.create_disk(request)
    bench.cpi.attach_disk(vm.cid, disk)
    assert list(bench.cpi.get_disks(vm.cid)) == [disk]


def long_keys_are_taken(bench: Bench) -> None:
    """A login with the longest keys in use (RSA 4096) fits into user data."""
    vm = bench.vm(0, login=login("rsa", bench.site.login.user)[0])
    assert bench.cpi.has_vm(vm.cid)
    bench.wait_until_up(vm)


def too_much_user_data_is_refused(bench: Bench) -> None:
    """Row 26: more user data than the cloud takes is refused before anything is made, with the limit in the error."""
    limit = needed(bench.site.user_data_limit, "limit for user data")
    secret = secrets.token_hex(2 * limit)  # such that packing it does not make it small
    error = _refused(bench, bench.request(0, login=dataclasses.replace(bench.site.login, host_private_key=secret)), Invalid, Quota)
    text = f"{error} {error.limit} {error.suggestion}".replace(",", "").replace(" ", "")
    assert str(limit) in text or f"{limit // 1024}KiB" in text, f"'{error}' does not tell the limit of {limit} bytes"
    assert secret[:64] not in repr(error) + text, "the error shows the host key"


CASES = (
    address_conflict_leaves_nothing, address_outside_its_subnet, unknown_property_leaves_nothing, properties_of_wrong_types,
    unknown_stemcell_is_refused, unknown_disk_is_refused, vip_alone_is_refused, no_network_is_refused, disk_of_another_zone_is_refused,
    disk_is_made_where_its_machine_is, long_keys_are_taken, too_much_user_data_is_refused,
)
