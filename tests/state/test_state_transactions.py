"""All or nothing, per thread; readers never wait; nothing half done survives the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from director import errors
from director.state import Store
from director.state.instances import InstanceRow


def _fail_after(store: Store, work: Callable[[], None]) -> None:
    def block() -> None:
        with store.transaction():
            work()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        block()


def test_block_that_raises_leaves_nothing(store: Store) -> None:
    _fail_after(store, lambda: store.settings.set("a", "1"))
    assert store.settings.get("a") is None


def test_inner_block_takes_back_only_its_own(store: Store) -> None:
    with store.transaction():
        store.settings.set("outer", "1")
        _fail_after(store, lambda: store.settings.set("inner", "1"))
        store.settings.set("after", "1")
    assert [store.settings.get(key) for key in ("outer", "inner", "after")] == ["1", None, "1"]


def test_refused_row_inside_a_transaction_does_not_spoil_it(store: Store) -> None:
    store.deployments.ensure("d")
    with store.transaction():
        store.instances.add(InstanceRow("a", "d", "web", 0))
        with pytest.raises(errors.ConflictError):
            store.instances.add(InstanceRow("b", "d", "web", 0))
        store.instances.add(InstanceRow("c", "d", "web", 1))
    assert [row.id for row in store.instances.of("d")] == ["a", "c"]


def test_transaction_belongs_to_its_thread(store: Store) -> None:
    seen: list[str | None] = []
    with store.transaction():
        store.settings.set("a", "1")
        reader = threading.Thread(target=lambda: seen.append(store.settings.get("a")))
        reader.start()
        reader.join(5)
        assert seen == [None], "another thread reads what was committed, without waiting"
    assert store.settings.get("a") == "1"


def test_readers_of_another_process_do_not_wait_for_a_writer(store: Store, path: Path) -> None:
    store.settings.set("a", "old")
    with Store(path) as other, store.transaction():
        store.settings.set("a", "new")
        assert other.settings.get("a") == "old"


def test_writers_wait_for_each_other(store: Store, path: Path) -> None:
    """Both read before they write: without an exclusive begin one of them would fail with 'database is locked'."""
    def count(own: Store) -> None:
        for _ in range(25):
            with own.transaction():
                own.settings.set("n", str(int(own.settings.get("n") or 0) + 1))

    with Store(path) as other:
        threads = [threading.Thread(target=count, args=(own,)) for own in (store, store, other, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert store.settings.get("n") == "100"


def test_killed_process_leaves_what_it_committed_and_nothing_else(path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from director.state import Store\n"
        "store = Store(sys.argv[1])\n"
        "store.journal.begin('create_vm', 'token-1', deployment='d')\n"
        "with store.transaction():\n"
        "    store.deployments.ensure('d')\n"
        "    store.journal.done(1, {'cid': 'vm-1'})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with Store(path) as store:
        assert [row.token for row in store.journal.open()] == ["token-1"]
        assert store.deployments.find("d") is None


def test_errors_tell_no_values(store: Store) -> None:
    with pytest.raises(errors.ConflictError) as caught:
        store.instances.add(InstanceRow("a", "no-such-deployment", "web", 0, applied={"password": "hunter2"}))
    assert "hunter2" not in str(caught.value)
