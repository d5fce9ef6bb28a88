"""Addresses and networks of machines."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from cpis.conformance.bench import Bench, NotApplicable, needed
from cpis.contract import Network, NetworkMaker, NetworkRequest


def address_can_be_used_again(bench: Bench) -> None:
    """Row 21: the address of a machine just deleted is free."""
    first = bench.vm(0)
    bench.cpi.delete_vm(first.cid)
    second = bench.vm(0)
    assert second.networks[0].ip == first.networks[0].ip or not bench.site.networks(0)[0].ip
    bench.wait_until_up(second)


def dynamic_network_gives_an_address(bench: Bench) -> None:
    """A machine on a dynamic network gets an address from the cloud, another one for each machine, and it stays over a reboot."""
    networks = needed(bench.site.dynamic, "network with dynamic addresses")
    first, second = bench.request(0, networks=networks(0)), bench.request(1, networks=networks(1))
    made = [bench.cpi.create_vm(first), bench.cpi.create_vm(second)]
    ips = [_only(vm.networks).ip for vm in made]
    assert all(ip_address(ip) for ip in ips)
    assert len(set(ips)) == 2, f"one address for two machines: {ips}"
    assert all(vm.ssh_address for vm in made)
    bench.cpi.reboot_vm(made[0].cid)
    assert bench.cpi.create_vm(first) == made[0]
    bench.wait_until_up(made[0])


def _only(networks: tuple[Network, ...]) -> Network:
    (network,) = (network for network in networks if network.type != "vip")
    return network


def several_networks(bench: Bench) -> None:
    """Row 17: a machine on several networks has all its addresses, in the order asked for, and is reached over its gateway's network."""
    networks = needed(bench.site.several, "second network for one machine")(0)
    vm = bench.cpi.create_vm(bench.request(0, networks=networks))
    assert [network.name for network in vm.networks] == [network.name for network in networks]
    assert all(made.ip == asked.ip for made, asked in zip(vm.networks, networks, strict=True) if asked.ip)
    assert len({network.ip for network in vm.networks}) == len(networks)
    gateway = next((made.ip for made in vm.networks if "gateway" in made.default), vm.networks[0].ip)
    assert vm.ssh_address == gateway
    bench.wait_until_up(vm)


def vip_follows_its_machine(bench: Bench) -> None:
    """A floating address is with its machine, leaves with it, and goes to the next machine that asks for it."""
    networks = needed(bench.site.vip, "floating address")
    for number in (0, 1):
        asked = networks(number)
        vm = bench.cpi.create_vm(bench.request(number, networks=asked))
        assert [network.ip for network in vm.networks if network.type == "vip"] == [net.ip for net in asked if net.type == "vip"]
        bench.cpi.delete_vm(vm.cid)
        assert not bench.cpi.has_vm(vm.cid)


def network_lives_and_dies(bench: Bench) -> None:
    """A network that the cloud makes is there once for its token, chooses its range when none is given, and is gone after its deletion."""
    if not isinstance(bench.cpi, NetworkMaker):
        raise NotApplicable("this CPI makes no networks")
    request = NetworkRequest(bench.token(), netmask_bits=28)
    made = bench.cpi.create_network(request)
    assert bench.cpi.create_network(request) == made
    subnet = ip_network(made.range)
    assert subnet.prefixlen == 28
    assert ip_address(made.gateway) in subnet
    assert [found.cid for found in bench.cpi.find(request.token)] == [made.cid]
    bench.cpi.delete_network(made.cid)
    bench.cpi.delete_network(made.cid)
    assert not bench.cpi.find(request.token)


CASES = (address_can_be_used_again, dynamic_network_gives_an_address, several_networks, vip_follows_its_machine, network_lives_and_dies)
