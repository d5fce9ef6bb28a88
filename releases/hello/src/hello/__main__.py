"""`python3 -m hello CONFIG`: `/` counts a visit, `/health` says that the program runs, `/metrics` is for Prometheus."""

from __future__ import annotations

import http.server
import json
import logging
import signal
import sys
import threading
from typing import Any, Dict, Optional

import pymysql

log = logging.getLogger("hello")


class Visits:
    """The table `visits`; one connection, made when needed and again after it broke. Safe for threads."""

    def __init__(self, config: Dict[str, Any], instance: str) -> None:
        self._config = config
        self._instance = instance
        self._lock = threading.Lock()
        self._connection: Optional[Any] = None

    def count(self) -> int:
        """One more visit; the sum over all instances. Raises pymysql.MySQLError when the database is away."""
        with self._lock:
            try:
                return self._count(self._connected())
            except pymysql.MySQLError:
                # A connection that idled through a restart of the database fails once; a new one tells the truth.
                self._forget()
                return self._count(self._connected())

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = pymysql.connect(
                host=self._config["host"],
                port=self._config["port"],
                user=self._config["user"],
                password=self._config["password"],
                database=self._config["name"],
                ssl={"ca": self._config["ca_file"]},
                connect_timeout=5,
                read_timeout=5,
                write_timeout=5,
                autocommit=True,
            )
            with self._connection.cursor() as cursor:
                cursor.execute("CREATE TABLE IF NOT EXISTS visits (instance VARCHAR(64) PRIMARY KEY, count BIGINT NOT NULL)")
        return self._connection

    def _count(self, connection: Any) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO visits (instance, count) VALUES (%s, 1) ON DUPLICATE KEY UPDATE count = count + 1", (self._instance,)
            )
            cursor.execute("SELECT SUM(count) FROM visits")
            return int(cursor.fetchone()[0])

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection._force_close()
        self._connection = None


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, config: Dict[str, Any]) -> None:
        self.who = config["instance"]
        self.greeting = config["greeting"]
        self.visits = Visits(config["database"], config["instance"])
        self.served = 0
        self.failed = 0
        super().__init__(("0.0.0.0", config["port"]), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/health":
            self._answer(200, "ok\n")
        elif path == "/metrics":
            self._answer(
                200,
                "# TYPE hello_visits_total counter\nhello_visits_total %d\n"
                "# TYPE hello_failures_total counter\nhello_failures_total %d\n" % (self.server.served, self.server.failed),
            )
        elif path == "/":
            self._visit()
        else:
            self._answer(404, "There is only /, /health and /metrics here.\n")

    def _visit(self) -> None:
        try:
            visits = self.server.visits.count()
        except (pymysql.MySQLError, OSError) as error:
            self.server.failed += 1
            log.warning("the visit could not be counted: %s", error)
            self._answer(503, "%s from %s, but the database is away.\n" % (self.server.greeting, self.server.who))
            return
        self.server.served += 1
        self._answer(200, "%s from %s, visit %d.\n" % (self.server.greeting, self.server.who, visits))

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        if self.path != "/metrics":
            log.info("%s %s", self.address_string(), format % args)


def main() -> int:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    with open(sys.argv[1], encoding="utf-8") as file:
        server = Server(json.load(file))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
