"""DNS records and why a resolver answers as it does, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from director.cli.tables import Cell, Table

Tree = Mapping[str, Any]
MACHINES = ("Instance", "Deployment", "Network", "IP", "Health", "Named")
_ORDER = ("zone", "handler", "rule", "problem", "prepared", "records_version")


def behind(told: Tree) -> Table:
    """The machines that have not the newest version."""
    rows = tuple(
        (item["deployment"], item["instance"], item["version"] or "none", item["since"]) for item in told["behind"])
    return Table("behind", ("Deployment", "Instance", "Version", "Behind Since"), rows)


def status(told: Tree) -> Table:
    """The newest version, and on how many machines it is."""
    look = "" if told["behind"] or not told["version"] else "good"
    machines = Cell(f"{told['current']} of {told['machines']} machines", look)
    return Table("records", ("Version", "On", "Published At"), ((told["version"] or "none", machines, told["published_at"]),))


def answer(told: Tree) -> Table:
    """What made the answer, a line for each thing."""
    explanation, resolver = told["explanation"], told["status"]
    lines = [("Name", explanation["name"]), ("Type", explanation["type"]), ("Resolver of", told["instance"])]
    lines += [(name.replace("_", " ").capitalize(), explanation[name]) for name in _ORDER if name in explanation]
    lines += list(_more(explanation))
    records = resolver["records"]
    lines.append(("Records", f"version {records['version']}, {records['count']} of instances"))
    if records["problem"]:
        lines.append(("Newer records", Cell(records["problem"], "bad")))
    return Table("answer", tuple(name for name, _ in lines), (tuple(value for _, value in lines),), transpose=True)


def _more(explanation: Tree) -> Iterable[tuple[str, Any]]:
    if alias := explanation.get("alias"):
        yield "Alias of", tuple(alias["targets"])
        yield "Alias from", alias["from"]
    for selection in explanation.get("selections", ()):
        named = [item for item in selection["records"] if item["named"]]
        yield "Form", selection["form"]
        yield "Filter", f"{selection['filter']}: {len(named)} of {len(selection['records'])} named"
        yield "Health", selection["health"]
    if "names" in explanation:
        yield "Names", tuple(explanation["names"]) or None
    beyond = explanation.get("beyond") or explanation
    if "recursors" in beyond:
        yield "Recursors", tuple(
            f"{item['server']}, {item['failures_in_a_row']} failures in a row" for item in beyond["recursors"]) or None
        yield "Cache", ", ".join(f"{name} {value}" for name, value in beyond["cache"].items())


def machines(told: Tree) -> Table | None:
    """The records that the name stands for, with their health; None where it stands for none."""
    found = [item for selection in told["explanation"].get("selections", ()) for item in selection["records"]]
    if not found:
        return None
    looks = {"running": "good", "failing": "bad"}
    rows = tuple((
        item["instance"], item["deployment"], item["network"], item["ip"], Cell(item["state"], looks.get(item["state"], "")),
        item["named"]) for item in found)
    return Table("machines", MACHINES, rows)
