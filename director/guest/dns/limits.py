"""How many answers one network gets in a second, so that nobody can aim the resolver at somebody else."""

from __future__ import annotations

from collections import OrderedDict
from typing import Callable, List

from .records import packed_of

ANSWER, CUT, SILENCE = "answer", "cut", "silence"
MOST_NETWORKS = 10000
SLIP = 2
BURST_SECONDS = 2.0


class Limiter:
    """`per_second` answers for each /24 or /56, saved up for at most BURST_SECONDS. Of those too many, every SLIPth gets an empty answer
    with TC: a real asker comes back over TCP, where its address is proven; the others get silence."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._networks: "OrderedDict[bytes, List[float]]" = OrderedDict()
        self.limited = 0

    def judge(self, address: str) -> str:
        packed = packed_of(address.partition("%")[0])
        network = packed[:3] if len(packed) == 4 else packed[:7]
        now = self._clock()
        most = self._per_second * BURST_SECONDS
        state = self._networks.get(network)
        if state is None:
            if len(self._networks) >= MOST_NETWORKS:
                self._networks.popitem(last=False)
            state = self._networks[network] = [most, now, 0.0]
        self._networks.move_to_end(network)
        state[0] = min(most, state[0] + (now - state[1]) * self._per_second)
        state[1] = now
        if state[0] >= 1.0:
            state[0] -= 1.0
            return ANSWER
        self.limited += 1
        state[2] += 1.0
        return CUT if state[2] % SLIP == 0 else SILENCE
