"""Prometheus: everything it watches is up."""

from __future__ import annotations

import collections
import http.client
import json
from typing import Any, Counter, Dict

from .checks import Config, Failed, eventually, expect


def _targets(config: Config) -> Any:
    host = config["links"]["prometheus"]["address"]
    connection = http.client.HTTPConnection(host, config["prometheus"]["port"], timeout=5)
    try:
        connection.request("GET", "/api/v1/targets?state=active")
        response = connection.getresponse()
        if response.status != 200:
            raise Failed("Prometheus answers %d" % response.status)
        return json.load(response)["data"]["activeTargets"]
    finally:
        connection.close()


def _all_up(config: Config) -> str:
    counts: Counter[str] = collections.Counter()
    down: Dict[str, str] = {}
    for target in _targets(config):
        counts[target["labels"].get("job", "?")] += 1
        if target["health"] != "up":
            down[target["scrapeUrl"]] = target.get("lastError") or target["health"]
    expect(not down, "not up: " + "; ".join("%s (%s)" % item for item in sorted(down.items())))
    machines = {name for link in config["links"].values() for name in link["instances"]}
    expect(counts["node"] >= len(machines), "%d machines are watched, the links alone know %d" % (counts["node"], len(machines)))
    for job in ("prometheus", "gorouter", "hello"):
        expect(counts[job] > 0, "no target for %s" % job)
    return "%d targets up: %s" % (sum(counts.values()), ", ".join("%s %d" % item for item in sorted(counts.items())))


def all_targets_are_up(config: Config) -> str:
    return eventually(lambda: _all_up(config), 60, 1)
