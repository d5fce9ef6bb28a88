"""Figures for Prometheus: what was asked and answered, what other servers did, how much is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Tuple

from . import wire
from .peers.exchange import Peers

if TYPE_CHECKING:
    from .service import Service

Row = Tuple[str, float]
"""Labels as text, value."""

_OURS = frozenset(("aliases", "records", "agents", "upcheck", "reverse"))


def text(service: "Service") -> str:
    """All figures in the text format of Prometheus."""
    lines: List[str] = []
    for name, kind, about, rows in _figures(service):
        lines += ["# HELP %s %s" % (name, about), "# TYPE %s %s" % (name, kind)]
        lines += ["%s%s %s" % (name, "{%s}" % labels if labels else "", _number(value)) for labels, value in rows]
    return "\n".join(lines) + "\n"


def _figures(service: "Service") -> List[Tuple[str, str, str, List[Row]]]:
    resolver, source = service.resolver, service.source
    handlers = sorted(resolver.by_handler.items())
    others = sum(count for name, count in handlers if name not in _OURS)
    strangers = sum(each.strangers for each in service.datagrams) + sum(each.strangers for each in service.streams)
    figures = [
        ("boshdns_answers_total", "counter", "Answers given, by code.", _by_code(resolver.codes)),
        ("boshdns_handled_total", "counter", "Answers made, by handler; those given again from memory are not made.", [
            ('handler="%s"' % name, float(count)) for name, count in handlers]),
        ("boshdns_requests_internal_total", "counter", "Answers to questions for names of ours.", [
            ("", float(sum(resolver.codes) - others))]),
        ("boshdns_requests_external_total", "counter", "Questions for names of others.", [
            ("", float(others))]),
        ("boshdns_ignored_total", "counter", "Packets that got no answer.", [("", float(resolver.ignored))]),
        ("boshdns_strangers_total", "counter", "Packets and connections from networks that may not ask.", [
            ("", float(strangers))]),
        ("boshdns_rate_limited_total", "counter", "Packets beyond what their network may ask.", [
            ("", float(service.limiter.limited if service.limiter is not None else 0))]),
        ("boshdns_prepared_answers", "gauge", "Answers kept as bytes.", [("", float(len(resolver.table)))]),
        ("boshdns_tcp_connections", "gauge", "Open connections.", [("", float(sum(len(each.connections) for each in service.streams)))]),
        ("boshdns_records", "gauge", "Instances known, once for each network.", [("", float(source.records.count))]),
        ("boshdns_records_version", "gauge", "Version of the records in use.", [("", float(source.records.version))]),
        ("boshdns_records_problem", "gauge", "1 while newer records cannot be used.", [("", float(bool(source.problem)))]),
    ]
    return figures + _of_health(service) + _of_others(service)


def _of_health(service: "Service") -> List[Tuple[str, str, str, List[Row]]]:
    told = service.health.tell() if isinstance(service.health, Peers) else None
    if told is None:
        return []
    return [
        ("boshdns_health_followed", "gauge", "Machines that are asked after, by what they said last.", [
            ('state="%s"' % state, float(count)) for state, count in told["followed"].items()]),
        ("boshdns_health_followers", "gauge", "Resolvers that ask after this machine.", [("", float(told["followers"]))]),
        ("boshdns_health_running", "gauge", "1 while this machine is healthy.", [("", float(told["running"]))]),
        ("boshdns_health_not_believed_total", "counter", "Letters of machines that could not prove who they are.", [
            ("", float(told["not_believed"]))]),
    ]


def _of_others(service: "Service") -> List[Tuple[str, str, str, List[Row]]]:
    forwarder = service.forwarder
    if forwarder is None:
        return []
    told = forwarder.pool.tell()
    figures: List[Tuple[str, str, str, List[Row]]] = [
        ("boshdns_upstream_usual_seconds", "gauge", "How long a recursor usually takes.", [
            ('server="%s"' % each["server"], each["usual_seconds"]) for each in told if each["usual_seconds"] is not None]),
        ("boshdns_upstream_failures_in_a_row", "gauge", "How often in a row a recursor did not answer.", [
            ('server="%s"' % each["server"], float(each["failures_in_a_row"])) for each in told]),
        ("boshdns_upstream_unanswered_total", "counter", "Questions that no recursor answered.", [("", float(forwarder.unanswered))]),
        ("boshdns_upstream_shared_total", "counter", "Questions that waited for an equal one.", [("", float(forwarder.shared))]),
    ]
    cache = forwarder.cache
    if cache is not None:
        figures += [
            ("boshdns_cache_entries", "gauge", "Answers of recursors that are kept.", [("", float(len(cache)))]),
            ("boshdns_cache_answers_total", "counter", "Looks into the cache, by result.", [
                ('result="hit"', float(cache.hits)), ('result="miss"', float(cache.misses)), ('result="stale"', float(cache.stale_hits))]),
        ]
    return figures


def _by_code(codes: List[int]) -> List[Row]:
    counts: Dict[str, int] = {}
    for low, count in enumerate(codes):
        if count:
            name = wire.CODES.get(low & 0xF, str(low & 0xF))
            counts[name] = counts.get(name, 0) + count
    return [('code="%s"' % name, float(count)) for name, count in sorted(counts.items())]


def _number(value: float) -> str:
    return "%d" % value if value == int(value) else "%.6g" % value
