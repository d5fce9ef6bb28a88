"""A store and task queues that are stopped again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from director.state import Store
from director.tasks import Tasks

MakeTasks = Callable[..., Tasks]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "caisson.db"
    Store(path).close()
    return path


@pytest.fixture
def store(tmp_path: Path, empty_database: Path) -> Iterator[Store]:
    with Store(shutil.copy(empty_database, tmp_path / "caisson.db")) as opened:
        yield opened


@pytest.fixture
def make_tasks(store: Store, tmp_path: Path) -> Iterator[MakeTasks]:
    made: list[Tasks] = []

    def make(handlers: dict[str, Any], *, start: bool = True, **options: Any) -> Tasks:
        tasks = Tasks(store, tmp_path, handlers, **options)
        made.append(tasks)
        if start:
            tasks.start()
        return tasks

    yield make
    for tasks in made:
        assert tasks.stop(10), "every worker ends"
