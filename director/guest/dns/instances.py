"""The health of instances as the resolver finds it out: this machine's from the program beside it, others' from themselves."""

from __future__ import annotations

from typing import Callable

from .local import watched
from .loop import Loop
from .peers.exchange import Peers
from .peers.keys import Ring
from .records import Records
from .settings import Settings


class Instances(Peers):
    """`start` and `close` go with the resolver's. Only the first of several processes speaks for the machine."""

    def __init__(self, settings: Settings, loop: Loop, records: Callable[[], Records]) -> None:
        super().__init__(
            loop, Ring(settings.keys), records, address=settings.health_address, port=settings.health_port,
            most_names=settings.health_names, speaks=settings.health_speaks)
        self._watched = watched.Watched(
            loop, self.local, self.changed_here, watched.command(settings.health_interval, settings.health_timeout))

    def start(self) -> None:
        super().start()
        if self.speaker is not None:
            self._watched.start()

    def close(self) -> None:
        self._watched.close()
