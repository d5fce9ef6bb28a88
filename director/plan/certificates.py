"""Options of certificate variables that consume links. Source: manifest contract, section 10."""

from __future__ import annotations

from director.manifest.model import Variable
from director.plan.model import Tree


def certificate_options(variable: Variable, links: Tree) -> Tree:
    """The variable's options with the addresses of its links: appended to `alternative_names`, and `common_name` where none is given.

    `links` is what `Blueprint.variable_links` has for the variable.
    """
    options = dict(variable.options)
    alternative, common = _address(links, "alternative_name"), _address(links, "common_name")
    if alternative:
        options["alternative_names"] = [*(options.get("alternative_names") or ()), alternative]
    if common and not options.get("common_name"):
        options["common_name"] = common
    return options


def _address(links: Tree, consumer: str) -> str:
    content = links.get(consumer) or {}
    address = str(content.get("address") or "")
    if address and content.get("wildcard"):
        return "*." + address.partition(".")[2]
    return address
