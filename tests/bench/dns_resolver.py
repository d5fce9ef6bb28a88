"""The resolver as on machines, with health on: `python -m tests.bench.dns_resolver RECORDS PORT [PROCESSES]`.

Who is healthy is made up here, since what is measured is the answering: one instance in seven fails.
"""

from __future__ import annotations

import sys

from director.guest.dns import health
from director.guest.dns.listening import Sockets
from director.guest.dns.processes import serve_all
from director.guest.dns.records import Record
from director.guest.dns.service import Service
from director.guest.dns.settings import Settings


class MadeUp(health.Off):
    enabled = True

    def state(self, record: Record, group_id: str) -> str:
        return health.FAILING if int(record.num_id) % 7 == 3 else health.RUNNING


def serve(service: Service, sockets: list[Sockets] | None = None) -> int:
    service.start(sockets)
    while True:
        service.turn()


def main() -> int:
    processes = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    settings = Settings((("127.0.0.1", int(sys.argv[2])),), sys.argv[1], disable_recursors=True, processes=processes)
    if processes > 1:
        return serve_all(settings, serve, lambda sockets: None, health=MadeUp)
    return serve(Service(settings, health=MadeUp()))


if __name__ == "__main__":
    sys.exit(main())
