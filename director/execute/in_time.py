"""Rows of somebody who may never answer, each as soon as it is there, and an end in any case."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from cpis.hurry import Hurry, within

Row = TypeVar("Row")

_LOOK_SECONDS = 0.2  # how often whoever waits is asked whether it still wants to
_ENDING_SECONDS = 5.0


class TimeOver(Exception):
    """The time ended before the rows did. `doing` is what was being asked, '' when nobody knows."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing)
        self.doing = doing


class _Asking(Generic[Row]):
    """One thread that asks. Left behind when its time is over: a request under way cannot be called back, and ends by its own limit."""

    def __init__(self, rows: Callable[[], Iterable[Row]], hurry: Hurry, ended: Callable[[], object]) -> None:
        self._rows, self._hurry, self._ended = rows, hurry, ended
        self.told: queue.SimpleQueue[tuple[str, Row | BaseException | None]] = queue.SimpleQueue()
        context = contextvars.copy_context()
        self.thread = threading.Thread(target=lambda: context.run(self._run), name="checks", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with within(self._hurry):
                for row in self._rows():
                    self.told.put(("row", row))
                    if not self._hurry.left():
                        break
            self.told.put(("end", None))
        except BaseException as error:  # it belongs to whoever waits
            self.told.put(("error", error))
        finally:
            self._ended()


def in_time(
    rows: Callable[[], Iterable[Row]], hurry: Hurry, watch: Callable[[], None] = lambda: None, ended: Callable[[], object] = lambda: None,
) -> Iterator[Row]:
    """What `rows()` yields, asked in another thread in this hurry. `watch` is called while nothing comes, and may raise to end it all;
    `ended` is called once in that thread, when it has ended. Raises TimeOver, and what `rows` raised.
    """
    asking = _Asking(rows, hurry, ended)
    try:
        while True:
            watch()
            try:
                kind, value = asking.told.get(timeout=max(0.01, min(_LOOK_SECONDS, hurry.left())))
            except queue.Empty:
                if not hurry.left():
                    raise TimeOver(hurry.doing) from None
                continue
            if kind == "end":
                asking.thread.join(_ENDING_SECONDS)
                return
            if isinstance(value, BaseException):
                raise value
            yield value  # type: ignore[misc]
    finally:
        hurry.give_up()
