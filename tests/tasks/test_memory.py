"""Freed memory goes back, and the work that was done with it is left as it was."""

from __future__ import annotations

import pytest

from director import memory


def test_the_answer_and_the_error_pass_through() -> None:
    def halve(number: int) -> int:
        if number % 2:
            raise ValueError(number)
        return number // 2

    wrapped = memory.giving_back(halve)
    assert wrapped(4) == 2
    with pytest.raises(ValueError, match="3"):
        wrapped(3)


def test_cycles_are_collected() -> None:
    class Node:
        alive = 0

        def __init__(self) -> None:
            self.me = self
            Node.alive += 1

        def __del__(self) -> None:
            Node.alive -= 1

    memory.giving_back(Node)()
    memory.give_back()
    assert Node.alive == 0
