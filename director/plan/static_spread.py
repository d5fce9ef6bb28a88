"""One AZ for each address that could be in several, equally many per AZ on all networks. Source: planning contract, section 4, step 6.

The reference tries all combinations. Here the number per AZ is chosen first, most even first; whether the addresses can meet it is
Hall's condition over the few distinct sets of AZs, so the work does not explode with the number of addresses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

_MOST_TRIES: Final = 50_000

Choices = Sequence[Sequence[tuple[str, ...]]]
"""Per network, per address: the AZs it could be in."""


def spread(choices: Choices, placed: Mapping[str, int]) -> list[list[str]] | None:
    """An AZ per address and network, or None when no choice gives all networks the same counts. `placed` counts instances already there.

    With one network each address goes to the AZ that has fewest so far.
    """
    if len(choices) == 1:
        return [_greedy(choices[0], placed)]
    if len({len(network) for network in choices}) > 1:
        return None
    azs = sorted({az for network in choices for options in network for az in options})
    for counts in _targets(choices, azs, placed):
        if all(_feasible(network, counts, azs) for network in choices):
            return [_assign(network, counts, azs) for network in choices]
    return None


def _greedy(network: Sequence[tuple[str, ...]], placed: Mapping[str, int]) -> list[str]:
    counts = Counter(placed)
    counts.update(options[0] for options in network if len(options) == 1)
    chosen = []
    for options in network:
        az = options[0] if len(options) == 1 else min(options, key=lambda one: (counts[one], one))
        counts[az] += len(options) > 1
        chosen.append(az)
    return chosen


def _targets(choices: Choices, azs: Sequence[str], placed: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Numbers per AZ that could be met, the most even ones first."""
    total = len(choices[0])
    low = {az: max(sum(options == (az,) for options in network) for network in choices) for az in azs}
    high = {az: min(sum(az in options for options in network) for network in choices) for az in azs}
    found: list[dict[str, int]] = []

    def walk(position: int, left: int, counts: dict[str, int]) -> None:
        if len(found) >= _MOST_TRIES:
            return
        if position == len(azs):
            if left == 0:
                found.append(dict(counts))
            return
        az = azs[position]
        later = azs[position + 1:]
        least, most = sum(low[one] for one in later), sum(high[one] for one in later)
        for number in range(max(low[az], left - most), min(high[az], left - least) + 1):
            counts[az] = number
            walk(position + 1, left - number, counts)

    walk(0, total, {})
    found.sort(key=lambda counts: sum((count + placed.get(az, 0)) ** 2 for az, count in counts.items()))
    yield from found


def _feasible(network: Sequence[tuple[str, ...]], counts: Mapping[str, int], azs: Sequence[str]) -> bool:
    """Whether the addresses can be dealt out to meet the counts exactly: no set of AZs is demanded by more than it can take."""
    kinds = Counter(frozenset(options) for options in network)
    if sum(kinds.values()) != sum(counts[az] for az in azs):
        return False
    for size in range(1, len(azs) + 1):
        for some in combinations(azs, size):
            inside = sum(number for options, number in kinds.items() if options <= frozenset(some))
            if inside > sum(counts[az] for az in some):
                return False
    return True


def _assign(network: Sequence[tuple[str, ...]], counts: Mapping[str, int], azs: Sequence[str]) -> list[str]:
    """Deal out feasible counts, address by address: the first AZ that keeps the rest feasible."""
    left = dict(counts)
    for options in network:
        if len(options) == 1:
            left[options[0]] -= 1
    open_ones = [options for options in network if len(options) > 1]
    chosen = iter(_deal(open_ones, left, azs))
    return [options[0] if len(options) == 1 else next(chosen) for options in network]


def _deal(network: Sequence[tuple[str, ...]], left: dict[str, int], azs: Sequence[str]) -> list[str]:
    chosen = []
    for position, options in enumerate(network):
        for az in sorted(options):
            if left.get(az, 0):
                left[az] -= 1
                if _feasible(network[position + 1:], left, azs):
                    chosen.append(az)
                    break
                left[az] += 1
    return chosen
