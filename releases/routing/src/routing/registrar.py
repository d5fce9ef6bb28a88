"""The route registrar: announces this machine's routes while what they lead to answers, and takes them back before it goes.

Signals: USR1 takes all routes back and announces none any more (drain), TERM does so and ends.
Source: the foundation contract, section 8.1.
"""

from __future__ import annotations

import json
import logging
import random
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List

from .bus import Bus, BusError, tls_context

CHECK_EVERY = 1.0
RETRY_AFTER = 1.0

log = logging.getLogger("route-registrar")


class Route:
    """One entry of `route_registrar.routes`."""

    def __init__(self, config: Dict[str, Any], host: str) -> None:
        self.name = config["name"]
        self.interval = float(config["interval"])
        self.port = int(config["port"])
        self.host = host
        self._script = config.get("health_script")
        self._script_timeout = float(config.get("health_timeout") or self.interval / 2)
        body = {"host": host, "port": self.port, "uris": config["uris"], "tags": config.get("tags") or {}}
        self.message = json.dumps(body).encode()
        self.registered = False
        self.due = 0.0
        self.check_due = 0.0

    def healthy(self) -> bool:
        """The job's own script when there is one, else whether the port accepts connections: no route before readiness."""
        if self._script:
            try:
                return subprocess.run([self._script], timeout=self._script_timeout, stdout=subprocess.DEVNULL, check=False).returncode == 0
            except (OSError, subprocess.TimeoutExpired) as error:
                log.warning("health check of %s: %s", self.name, error)
                return False
        try:
            socket.create_connection((self.host, self.port), timeout=1.0).close()
        except OSError:
            return False
        return True


class Registrar:
    def __init__(
        self, bus: Bus, routes: List[Route], *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._bus = bus
        self._routes = routes
        self._next_connect = 0.0
        self.draining = False
        bus.subscribe("router.start")

    def turn(self) -> None:
        """One round of at most about a second."""
        now = self._clock()
        try:
            if not self._bus.connected:
                self._connect(now)
                return
            for message in self._bus.receive(0.2):
                if message.subject == "router.start":
                    log.info("a router started; announcing everything")
                    self._announce_all_soon()
            for route in self._routes:
                self._tend(route, now)
        except BusError as error:
            log.warning("%s", error)

    def _connect(self, now: float) -> None:
        if now < self._next_connect:
            self._sleep(min(0.2, self._next_connect - now))
            return
        # Spread out, so that a bus that comes back does not meet everybody at once.
        self._next_connect = now + RETRY_AFTER * (1 + random.random())
        self._bus.connect()
        log.info("connected to the bus")
        self._announce_all_soon()

    def _announce_all_soon(self) -> None:
        for route in self._routes:
            route.due = route.check_due = 0.0

    def _tend(self, route: Route, now: float) -> None:
        if now < route.check_due:
            return
        route.check_due = now + CHECK_EVERY
        if self.draining or not route.healthy():
            if route.registered:
                self._bus.publish("router.unregister", route.message)
                route.registered = False
                route.due = 0.0
                log.info("took back %s", route.name)
            return
        if now >= route.due:
            self._bus.publish("router.register", route.message)
            route.due = now + route.interval
            if not route.registered:
                log.info("announced %s", route.name)
            route.registered = True

    def take_back(self) -> None:
        """Unregisters all and waits until the bus has it."""
        self.draining = True
        for route in self._routes:
            route.check_due = 0.0
            self._tend(route, self._clock())
        if self._bus.connected:
            self._bus.flush()


def main() -> int:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    bus = Bus(
        [(server["host"], server["port"]) for server in config["nats"]["servers"]],
        config["nats"]["user"],
        config["nats"]["password"],
        tls_context(config["nats"]["ca_file"]),
        "route-registrar",
    )
    registrar = Registrar(bus, [Route(route, config["host"]) for route in config["routes"]])
    wishes: List[int] = []

    def wish(got: int, _frame: object) -> None:
        wishes.append(got)
        if got == signal.SIGTERM and not bus.connected:
            sys.exit(0)  # without a bus nothing can be taken back, and dialling one that is gone takes a while

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, wish)
    while signal.SIGTERM not in wishes:
        if wishes and not registrar.draining:
            _take_back(registrar)
        registrar.turn()
    _take_back(registrar)
    bus.close()
    return 0


def _take_back(registrar: Registrar) -> None:
    try:
        registrar.take_back()
    except BusError as error:
        log.warning("routes are not taken back, the routers will drop them after 120 s: %s", error)


if __name__ == "__main__":
    sys.exit(main())
