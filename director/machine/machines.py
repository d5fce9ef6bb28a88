"""A pool of agents, one connection per machine."""

from __future__ import annotations

import threading
from collections.abc import Callable

from director.machine.agent import Agent
from director.machine.endpoint import Endpoint


class Machines:
    """Agents by VM cid, connected when first asked for and kept. Safe to use from many threads.

    `connect` makes a session for an endpoint and opens its agent; it is called outside of the pool's lock, so that
    one slow machine does not hold up others. An agent whose connection died is replaced at the next `get`.
    """

    def __init__(self, connect: Callable[[Endpoint], Agent]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._agents: dict[str, Agent] = {}
        self._dialling: dict[str, threading.Lock] = {}

    def get(self, endpoint: Endpoint) -> Agent:
        """The machine's agent. Raises Unreachable, HostKeyChanged."""
        with self._lock:
            gate = self._dialling.setdefault(endpoint.cid, threading.Lock())
        with gate:
            with self._lock:
                agent = self._agents.get(endpoint.cid)
            if agent is not None and agent.is_alive:
                return agent
            if agent is not None:
                agent.close()
            made = self._connect(endpoint)
            with self._lock:
                self._agents[endpoint.cid] = made
            return made

    def forget(self, cid: str) -> None:
        """Close the machine's connection, for one that is deleted or dead. Unknown cids are fine."""
        with self._lock:
            agent = self._agents.pop(cid, None)
            self._dialling.pop(cid, None)
        if agent is not None:
            agent.close()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            agents, self._agents = list(self._agents.values()), {}
            self._dialling.clear()
        for agent in agents:
            agent.close()
