"""The route agent: what instances announce on the bus becomes what HAProxy routes.

It keeps one table and brings HAProxy to it, whatever stopped in between: a new HAProxy gets all routes again, a new agent reads
them back from the running HAProxy, and while the bus is silent nothing is taken away.
Source: the foundation contract, section 8.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from typing import Any, Callable, Dict, Set

from .bus import Bus, BusError, Message, tls_context
from .proxy import Full, Proxy, ProxyError
from .table import PRUNE_AFTER, BadRoute, Table, endpoint_of, keys_of

PRUNE_EVERY = 30.0
LOOK_EVERY = 1.0
RETRY_AFTER = 1.0

log = logging.getLogger("route-agent")


class Agent:
    def __init__(
        self, bus: Bus, proxy: Proxy, start_message: Dict[str, Any], *, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._bus = bus
        self._proxy = proxy
        self._start = json.dumps(start_message).encode()
        self._table = Table()
        self._changed: Set[str] = set()
        self._process = ""
        self._adopted = False
        self._looked = 0.0
        self._pruned = self._deaf_since = clock()
        self._next_connect = 0.0
        bus.subscribe("router.register")
        bus.subscribe("router.unregister")
        bus.subscribe("router.greet")

    def turn(self) -> None:
        """One round: listen for up to a second, then bring HAProxy to the table."""
        now = self._clock()
        if not self._bus.connected:
            self._connect(now)
        try:
            if self._bus.connected:
                for message in self._bus.receive(LOOK_EVERY):
                    self._handle(message, now)
                if now - self._pruned > PRUNE_EVERY:
                    self._pruned = now
                    self._changed |= self._table.prune(now)
        except BusError as error:
            log.warning("%s; routes stay as they are", error)
            self._deaf_since = now
        self._apply(now)

    def _connect(self, now: float) -> None:
        if now < self._next_connect:
            self._sleep(min(LOOK_EVERY, self._next_connect - now))
            return
        self._next_connect = now + RETRY_AFTER
        try:
            self._bus.connect()
            self._bus.publish("router.start", self._start)
        except BusError as error:
            log.warning("%s", error)
            return
        log.info("connected to the bus")
        self._table.postpone(now - self._deaf_since)

    def _handle(self, message: Message, now: float) -> None:
        if message.subject == "router.greet":
            if message.reply:
                self._bus.publish(message.reply, self._start)
            return
        try:
            body = json.loads(message.data)
            if not isinstance(body, dict):
                raise BadRoute("the message is no JSON object")
            endpoint, keys = endpoint_of(body), keys_of(body)
        except (ValueError, BadRoute) as error:
            log.warning("message on %s left out: %s", message.subject, error)
            return
        for key in keys:
            if message.subject == "router.register":
                changed = self._table.register(key, endpoint, now, self._keep(body))
            else:
                changed = self._table.unregister(key, endpoint)
            if changed:
                log.info("%s %s %s:%d", message.subject, key, endpoint.host, endpoint.port)
                self._changed.add(key)

    @staticmethod
    def _keep(body: Dict[str, Any]) -> float:
        stale = body.get("stale_threshold_in_seconds")
        return float(stale) if isinstance(stale, int) and 0 < stale < PRUNE_AFTER else PRUNE_AFTER

    def _apply(self, now: float) -> None:
        try:
            if now - self._looked >= LOOK_EVERY:
                self._looked = now
                self._look(now)
            if not self._process:
                return
            for key in list(self._changed):
                try:
                    self._proxy.route(key, self._table.endpoints(key))
                except Full as error:
                    log.error("%s", error)
                self._changed.discard(key)
        except ProxyError as error:
            log.warning("%s", error)
            self._process = ""

    def _look(self, now: float) -> None:
        process = self._proxy.process()
        if process == self._process:
            self._proxy.sweep()
            return
        for key, endpoints in self._proxy.read().items():
            # Routes found in HAProxy are believed once, when the agent starts; later the table knows better.
            if not self._adopted:
                for endpoint in endpoints:
                    self._table.register(key, endpoint, now)
            self._changed.add(key)
        self._adopted = True
        self._process = process
        self._changed.update(self._table.keys())
        log.info("HAProxy has a new process; %d routes to bring to it", len(self._changed))


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    bus = Bus(
        [(server["host"], server["port"]) for server in config["nats"]["servers"]],
        config["nats"]["user"],
        config["nats"]["password"],
        tls_context(config["nats"]["ca_file"]),
        "route-agent",
    )
    agent = Agent(bus, Proxy(config["socket"], config["map"], config["max_routes"]), config["start"])
    # Ends at once, also in the middle of dialling a bus that is gone: whatever is half done, the next agent completes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        agent.turn()


if __name__ == "__main__":
    main()
