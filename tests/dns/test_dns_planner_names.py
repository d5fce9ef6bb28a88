"""What the planner writes into templates is what the resolver reads: every name that links can give resolves to the right instances."""

from __future__ import annotations

import dnskit
from dnskit import ask, records_text, resolver
from hypothesis import given, settings
from hypothesis import strategies as st

from director.plan import names

GROUPS = ("web", "Data_Base", "x-1", "q-like", "g7")
NETWORKS = {"default": 3, "Second_Net": 4}
STATES = ("running", "failing", "unknown", "unchecked")


@st.composite
def worlds(draw: st.DrawFn) -> list[dict[str, object]]:
    """Instances of some groups over zones and networks; group ids as the director numbers them: the group's own, then a link's."""
    found = []
    for number in range(draw(st.integers(1, 8))):
        group = draw(st.sampled_from(GROUPS))
        found.append({
            "id": f"uuid-{number}", "num": number + 40, "ip": f"10.0.0.{number + 1}", "group": group, "az": draw(st.integers(1, 3)),
            "network": draw(st.sampled_from(sorted(NETWORKS))), "deployment": draw(st.sampled_from(["app", "My_App"])),
            "link": draw(st.booleans()), "state": draw(st.sampled_from(STATES)),
        })
    return found


def group_id(group: object, deployment: object) -> int:
    return GROUPS.index(str(group)) * 2 + (deployment == "app") + 1


def expected(world: list[dict[str, object]], status: int) -> set[object]:
    """The contract's table of filters, once more and by other means."""
    wanted = {1: {"failing"}, 3: {"running"}, 4: set(STATES)}.get(status, {"running", "unchecked"})
    found = {item["ip"] for item in world if item["state"] in wanted}
    return found or ({item["ip"] for item in world} if status in (0, 2) else set())


@settings(max_examples=25, deadline=None)
@given(worlds(), st.sampled_from(sorted(names.STATUSES)), st.sets(st.integers(1, 3)), st.sampled_from(["", "asynchronous"]), st.data())
def test_names_of_links_resolve(
    world: list[dict[str, object]], status: str, zones: set[int], check: str, data: st.DataObject,
) -> None:
    rows = [
        dnskit.row(
            str(item["id"]), str(item["num"]), str(item["ip"]), str(item["az"]), 0, instance_group=names.canonical(str(item["group"])),
            group_ids=[str(group_id(item["group"], item["deployment"])), *(["100"] if item["link"] else [])],
            network=names.canonical(str(item["network"])), network_id=str(NETWORKS[str(item["network"])]),
            deployment=names.canonical(str(item["deployment"])))
        for item in world
    ]
    known = dnskit.FakeHealth(states={str(item["id"]): str(item["state"]) for item in world})
    server = resolver(records_text(rows), known=known)
    one = data.draw(st.sampled_from(world))
    group, network, deployment = str(one["group"]), str(one["network"]), str(one["deployment"])
    options: dict[str, object] = {"az_ids": sorted(zones), "status": status, "initial_health_check": check}

    def matching(*, linked: bool = False) -> list[dict[str, object]]:
        return [
            item for item in world
            if item["network"] == network and (not zones or item["az"] in zones)
            and (item["link"] if linked else (item["group"], item["deployment"]) == (group, deployment))
        ]

    def resolves(name: str, among: list[dict[str, object]]) -> None:
        reply = ask(server, name)
        assert set(reply.answers) == expected(among, names.STATUSES[status]), name
        assert reply.code == ("NOERROR" if among else "NXDOMAIN")

    resolves(names.encode_group_query(group, network, deployment, "bosh", **options), matching())  # type: ignore[arg-type]
    short = {"network_id": NETWORKS[network], "domain": "bosh", **options}
    resolves(names.encode_short_query(group_id(group, deployment), **short), matching())  # type: ignore[arg-type]
    resolves(names.encode_short_query(100, **short), matching(linked=True))  # type: ignore[arg-type]
    number = one["num"]
    resolves(
        names.encode_short_query(group_id(group, deployment), instance_num=number, **short),  # type: ignore[arg-type]
        [item for item in matching() if item["num"] == number])
    long = names.instance_name(str(one["id"]), group, network, deployment, "bosh")
    assert ask(server, long).answers == (one["ip"],), "an instance's own name does not depend on its health"
