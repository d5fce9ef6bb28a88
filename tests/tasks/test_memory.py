"""Freed memory goes back."""

from __future__ import annotations

from director import memory


def test_cycles_are_collected() -> None:
    class Node:
        alive = 0

        def __init__(self) -> None:
            self.me = self
            Node.alive += 1

        def __del__(self) -> None:
            Node.alive -= 1

    Node()
    memory.give_back()
    assert Node.alive == 0
