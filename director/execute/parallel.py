"""Many things at once, with a bound. The first error stops what has not begun; what has begun ends; then the error is raised."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(items: Iterable[Item], work: Callable[[Item], Result], limit: int, check: Callable[[], None] = lambda: None) -> list[Result]:
    """Results in the order of `items`. `check` runs before each start and may raise (cancellation).

    Raises the error of the first item that failed; later errors are attached as its notes.
    """
    todo: Sequence[Item] = list(items)
    if not todo:
        return []
    if len(todo) == 1:
        check()
        return [work(todo[0])]
    errors: list[BaseException] = []
    futures: list[Future[Result]] = []
    with ThreadPoolExecutor(max_workers=max(1, min(limit, len(todo))), thread_name_prefix="each") as pool:
        running: set[Future[Result]] = set()
        for item in todo:
            while len(running) >= limit and not errors:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                errors.extend(error for future in done if (error := future.exception()) is not None)
            if errors or not _may_start(check, errors):
                break
            future = pool.submit(contextvars.copy_context().run, work, item)
            futures.append(future)
            running.add(future)
        done, _ = wait(running)
        errors.extend(error for future in done if (error := future.exception()) is not None)
    if errors:
        first = errors[0]
        for other in errors[1:]:
            first.add_note(f"also: {other}")
        raise first
    return [future.result() for future in futures]


def _may_start(check: Callable[[], None], errors: list[BaseException]) -> bool:
    try:
        check()
    except Exception as error:
        errors.append(error)
        return False
    return True
