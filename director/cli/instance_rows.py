"""The table that `instances` and `vms` share. Source: director API contract, section 6.2."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from director.cli import follow
from director.cli.session import Session
from director.cli.tables import Cell, Table

VITALS = (
    "VM Created At",
    "Uptime",
    "Load\n(1m, 5m, 15m)",
    "CPU\nTotal",
    "CPU\nUser",
    "CPU\nSys",
    "CPU\nWait",
    "Memory\nUsage",
    "Swap\nUsage",
    "System\nDisk Usage",
    "Ephemeral\nDisk Usage",
    "Persistent\nDisk Usage",
)
DETAILS = ("State", "VM CID", "VM Type", "Disk CIDs", "Agent ID", "Index", "Bootstrap", "Ignore")

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is shown of each row."""

    details: bool = False
    vitals: bool = False
    processes: bool = False
    failing: bool = False


def fetch(session: Session, kind: str) -> list[tuple[str, list[Row]]]:
    """Rows per deployment, of the one named by -d or of all; `kind` is instances or vms."""
    if session.flags.deployment:
        return [(session.deployment(), _ask(session, session.flags.deployment, kind))]
    names = [str(row["name"]) for row in session.client.deployments()]
    if len(names) < 2:
        return [(name, _ask(session, name, kind)) for name in names]
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(max(1, session.flags.parallel)) as pool:
        return list(zip(names, pool.map(lambda name: _ask(session, name, kind), names), strict=True))


def _ask(session: Session, name: str, kind: str) -> list[Row]:
    result = session.follow(session.client.fetch_instances(name, kind), follow.SilentReporter())
    rows = [json.loads(line) for line in result.decode("utf-8").splitlines() if line.strip()]
    return sorted(
        rows,
        key=lambda row: (str(row.get("job_name") or ""), row.get("index") if row.get("index") is not None else 1 << 30, str(row.get("id"))),
    )


def shown_state(row: Row) -> str:
    """Blank when the machine says running but lists no process."""
    state = str(row.get("job_state") or "")
    return "" if state == "running" and not row.get("processes") else state


def healthy(row: Row) -> bool:
    return shown_state(row) == "running" and all(process.get("state") == "running" for process in row.get("processes") or [])


def name_of(row: Row) -> str:
    return "/".join(filter(None, (str(row.get("job_name") or "?"), str(row.get("id") or ""))))


def instances_table(name: str, rows: list[Row], choice: Choice) -> Table:
    """Every instance, with or without a machine."""
    header = [
        "Instance",
        *(["Process"] if choice.processes else []),
        "Process State",
        "AZ",
        "IPs",
        "Deployment",
        *(DETAILS if choice.details else ()),
        *(VITALS if choice.vitals else ()),
    ]
    cells: list[tuple[Any, ...]] = []
    for row in rows:
        if choice.failing and healthy(row):
            continue
        cells.append(_instance(name, row, choice))
        if choice.processes:
            cells.extend(
                _process(name, row, process, choice, len(header))
                for process in row.get("processes") or []
                if not (choice.failing and process.get("state") == "running")
            )
    return Table("instances", tuple(header), tuple(cells), title=f"Deployment '{name}'", fill_first=not choice.processes)


def _state_cell(state: str, good: bool) -> Cell:
    return Cell(state, "good" if good else "bad")


def _instance(name: str, row: Row, choice: Choice) -> tuple[Any, ...]:
    cells: list[Any] = [name_of(row), *([None] if choice.processes else []), _state_cell(shown_state(row), healthy(row))]
    cells += [row.get("az"), tuple(row.get("ips") or ()), name]
    if choice.details:
        cells += [
            row.get("state"),
            row.get("vm_cid"),
            row.get("vm_type") or row.get("resource_pool"),
            disks_of(row),
            row.get("agent_id"),
            row.get("index"),
            bool(row.get("bootstrap")),
            bool(row.get("ignore")),
        ]
    if choice.vitals:
        cells += vitals_of(row)
    return tuple(cells)


def _process(name: str, row: Row, process: Row, choice: Choice, width: int) -> tuple[Any, ...]:
    state = str(process.get("state") or "")
    cells: list[Any] = [name_of(row), process.get("name"), _state_cell(state, state == "running"), None, None, name]
    cells += [None] * (width - len(cells) - (len(VITALS) if choice.vitals else 0))
    if choice.vitals:
        memory, cpu = process.get("mem") or {}, process.get("cpu") or {}
        total = f"{cpu['total']:.1f}%" if cpu.get("total") is not None else None
        used = f"{memory['percent']:.1f}% ({size(memory.get('kb'))})" if memory.get("percent") is not None else None
        cells += [None, uptime((process.get("uptime") or {}).get("secs")), None, total, None, None, None, used, None, None, None, None]
    return tuple(cells)


def vms_table(name: str, rows: list[Row], *, vitals: bool, cloud_properties: bool) -> Table:
    """Every machine."""
    header = ["Instance", "Process State", "AZ", "IPs", "VM CID", "VM Type", "Active", "Stemcell"]
    header += [*(["Cloud Properties"] if cloud_properties else []), *(VITALS if vitals else ())]
    cells = []
    for row in rows:
        active = "-" if row.get("active") is None else bool(row["active"])
        stemcell = row.get("stemcell") or {}
        line: list[Any] = [
            name_of(row),
            _state_cell(shown_state(row), healthy(row)),
            row.get("az"),
            tuple(row.get("ips") or ()),
            row.get("vm_cid"),
            row.get("vm_type") or row.get("resource_pool"),
            active,
            "/".join(filter(None, (stemcell.get("name"), stemcell.get("version")))),
        ]
        if cloud_properties:
            line.append(json.dumps(row.get("cloud_properties") or {}, sort_keys=True))
        cells.append((*line, *(vitals_of(row) if vitals else ())))
    return Table("vms", tuple(header), tuple(cells), title=f"Deployment '{name}'")


def disks_of(row: Row) -> tuple[str, ...]:
    found = row.get("disk_cids") or ([row["disk_cid"]] if row.get("disk_cid") else [])
    return tuple(str(cid) for cid in found)


def vitals_of(row: Row) -> list[Any]:
    vitals = row.get("vitals") or {}
    cpu, disk = vitals.get("cpu") or {}, vitals.get("disk") or {}

    def percent(value: Any) -> str | None:
        return f"{value}%" if value not in (None, "") else None

    def memory(key: str) -> str | None:
        part = vitals.get(key) or {}
        return f"{part['percent']}% ({size(part.get('kb'))})" if part.get("percent") not in (None, "") else None

    def usage(key: str) -> str | None:
        part = disk.get(key) or {}
        return f"{part['percent']}% ({part.get('inode_percent', '?')}i%)" if part.get("percent") not in (None, "") else None

    return [
        row.get("vm_created_at"),
        uptime((vitals.get("uptime") or {}).get("secs")),
        ", ".join(vitals.get("load") or []),
        None,
        percent(cpu.get("user")),
        percent(cpu.get("sys")),
        percent(cpu.get("wait")),
        memory("mem"),
        memory("swap"),
        usage("system"),
        usage("ephemeral"),
        usage("persistent"),
    ]


def uptime(seconds: Any) -> str | None:
    """`1d 2h 3m 4s`."""
    if seconds is None:
        return None
    whole = int(seconds)
    return f"{whole // 86400}d {whole // 3600 % 24}h {whole // 60 % 60}m {whole % 60}s"


def size(kib: Any) -> str:
    """Kilobytes as people read them, powers of ten: `391 MB`."""
    try:
        amount = float(kib or 0) * 1000
    except ValueError:
        return "?"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            return f"{amount:.1f} {unit}" if amount < 10 and unit != "B" else f"{amount:.0f} {unit}"
        amount /= 1000
    return "?"
