"""What the director remembers. The only layer that speaks SQL; no other may import sqlalchemy or alembic.

It decides nothing: no planning, no clouds, no machines. Rows come out as frozen dataclasses, times are Unix seconds (float),
sizes MiB where a disk is meant and bytes where a blob is. Reading order:

    tables.py       every table and what its columns mean
    database.py     engine, transactions, errors
    store.py        `Store`: the repositories, one attribute each
    deployments.py instances.py vms.py disks.py addresses.py         what is deployed
    releases.py compiled_packages.py stemcells.py blobs.py           what it is made of
    configs.py variables.py rotations.py links.py ids.py dns.py      what it is configured with
    tasks.py locks.py journal.py events.py errands.py                what happens and happened
    users.py settings.py                                             the director itself
    migrations/     how old databases become new ones

How to use it:

    store = Store(state_dir / "caisson.db")
    store.instances.update(id, dirty=True)                  a transaction of its own
    with store.transaction():                               all of it or nothing
        store.vms.add(...)
        store.journal.done(row.id, {"cid": cid})
"""

from __future__ import annotations

from director.state.store import Store

__all__ = ["Store"]
