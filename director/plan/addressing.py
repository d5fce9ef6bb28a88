"""How instances and groups of a deployment are addressed: by IP, by long names or by numbered names. Source: DNS contract, 3.3."""

from __future__ import annotations

import dataclasses

from director.plan.model import NetworkSettings, NumericIds, Request
from director.plan.names import encode_group_query, encode_short_query, group_key, instance_name, link_key


@dataclasses.dataclass(frozen=True)
class Addressing:
    """The deployment's features, with the defaults filled in, and the numbers for short names (0 until they are assigned)."""

    deployment: str
    domain: str
    use_dns: bool
    use_short: bool
    use_link_names: bool
    ids: NumericIds

    def instance_address(self, group: str, instance_id: str, network: NetworkSettings) -> str:
        """`spec.address`: the IP unless names are wanted, or the cloud chooses the IP."""
        if self.use_dns or network.type == "dynamic":
            return self.instance_dns(group, instance_id, network.network)
        return network.ip

    def instance_dns(self, group: str, instance_id: str, network: str, link_group: str = "") -> str:
        """The name of one instance on one network; `link_group` is `NAME-TYPE` and counts with `use_link_dns_names`."""
        if not self.use_short:
            return instance_name(instance_id, group, network, self.deployment, self.domain)
        return encode_short_query(
            self.group_id(group, link_group), self.ids.networks.get(network, 0), self.domain,
            instance_num=self.ids.instances.get(instance_id, 0))

    def group_dns(self, group: str, network: str, link_group: str = "") -> str:
        """The query name of the whole group, default health."""
        if not self.use_short:
            return encode_group_query(group, network, self.deployment, self.domain)
        return encode_short_query(self.group_id(group, link_group), self.ids.networks.get(network, 0), self.domain)

    def group_id(self, group: str, link_group: str = "") -> int:
        """The number in `q-g`: the link's group when links have names of their own, else the instance group's."""
        if link_group and self.use_link_names:
            return self.link_group_id(link_group)
        return self.ids.groups.get(group_key(self.deployment, group), 0)

    def link_group_id(self, link_group: str) -> int:
        """The number of a link provider's group, which aliases and health refer to whatever the names look like."""
        return self.ids.groups.get(link_key(self.deployment, link_group), 0)


def addressing_of(request: Request) -> Addressing:
    """The features of the request's deployment. `use_link_dns_names` implies the two others unless they are given."""
    features = request.manifest.features
    link_names = bool(features.use_link_dns_names)
    default = True if link_names else request.director_use_dns_addresses
    use_dns = features.use_dns_addresses if features.use_dns_addresses is not None else default
    use_short = features.use_short_dns_addresses if features.use_short_dns_addresses is not None else link_names
    return Addressing(request.manifest.name, request.domain, use_dns, use_short, link_names, request.ids)
