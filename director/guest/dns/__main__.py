"""The resolver's commands: one table below. `serve` answers until TERM or INT; USR1 switches the query log on for a minute, or off."""

from __future__ import annotations

import argparse
import json
import logging
import resource
import signal
import sys
from typing import Callable, Dict, List, Optional, Tuple
from urllib.parse import quote

from . import control, host, resolved
from .listening import Sockets, open_all
from .loading import BadRecords, load
from .processes import serve_all
from .servers import text_of
from .service import Service
from .settings import BadSettings, Settings, parse, read

LOG_SECONDS = 60.0
MOST_FILES = 8192

log = logging.getLogger("bosh-dns")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dns", description="A resolver for BOSH DNS records.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="answer questions")
    serve.add_argument("--config", help="JSON file with all settings; no other option is looked at then")
    serve.add_argument("--records", metavar="FILE", help="records.json as BOSH writes it; read again when it changes")
    serve.add_argument("--listen", action="append", metavar="ADDRESS:PORT", help="UDP and TCP; may be given several times")
    serve.add_argument("--recursor", action="append", default=[], metavar="ADDRESS[:PORT]", help="for other names; else as in resolv.conf")
    serve.add_argument("--no-recursors", action="store_true", help="refuse other names")
    serve.add_argument("--alias", action="append", default=[], metavar="NAME=TARGET", help="another name; may be given several times")
    serve.add_argument("--allow", action="append", default=[], metavar="NETWORK", help="who may ask besides this computer's networks")
    serve.add_argument("--cache", action="store_true", help="keep the answers of recursors")
    serve.add_argument("--processes", type=int, default=1, metavar="N", help="share the port among so many processes")
    serve.add_argument("--metrics", metavar="ADDRESS:PORT", help="figures for Prometheus, at /metrics")
    serve.add_argument("--control", metavar="PATH", help="a Unix socket for `explain` and the query log")
    serve.add_argument("--log-queries", action="store_true", help="write questions, at most 50 a second")
    release = commands.add_parser("release", help="undo what was changed on the host: /etc/resolv.conf, systemd-resolved, our address")
    release.add_argument("--config", required=True)
    check = commands.add_parser("check", help="read a records file and say what is wrong with it")
    check.add_argument("--records", required=True)
    explain = commands.add_parser("explain", help="which rule, records, health and cache give the answer, as JSON")
    explain.add_argument("name")
    explain.add_argument("type", nargs="?", default="A")
    queries = commands.add_parser("log-queries", help="write questions to the log for a while")
    queries.add_argument("--seconds", type=float, default=LOG_SECONDS)
    for command in (explain, queries):
        command.add_argument("--config", help="the settings of the running resolver")
        command.add_argument("--control", metavar="PATH", help="its Unix socket, where no settings are given")
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    if arguments.config:
        return read(arguments.config)
    aliases: Dict[str, List[str]] = {}
    for text in arguments.alias:
        name, sign, target = text.partition("=")
        if not sign:
            raise BadSettings("--alias %s: write it like db.example=10.0.0.5" % text)
        aliases.setdefault(name, []).append(target)
    return parse({
        "listen": arguments.listen or [], "records": arguments.records or "", "recursors": arguments.recursor,
        "disable_recursors": arguments.no_recursors, "aliases": aliases, "access": ["own", *arguments.allow], "cache": arguments.cache,
        "processes": arguments.processes, "metrics": arguments.metrics, "control": arguments.control or "",
    })


def _serve(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, level=settings.log_level)
    _allow_many_files()
    if settings.processes > 1:
        return serve_all(settings, lambda service, sockets: _run(service, sockets, arguments.log_queries), _say_ready)
    service = Service(settings)
    return _run(service, open_all(settings), arguments.log_queries, _say_ready)


def _run(service: Service, sockets: List[Sockets], log_queries: bool, ready: Optional[Callable[[List[Sockets]], None]] = None) -> int:
    stopping: List[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stopping.append(got))
    signal.signal(signal.SIGUSR1, lambda got, _frame: service.control.log_queries(0 if service.resolver.watcher else LOG_SECONDS))
    service.start(sockets)
    if log_queries:
        service.control.log_queries(float("inf"))
    if ready is not None:
        ready(sockets)
    try:
        while not stopping:
            service.turn()
    finally:
        service.stop()
    return 0


def _say_ready(sockets: List[Sockets]) -> None:
    for _, stream in sockets:
        log.info("listening on %s", text_of(stream.getsockname()[:2]))


def _allow_many_files() -> None:
    """A socket for each question to other servers: the usual 1024 files would be few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _release(arguments: argparse.Namespace) -> int:
    settings = read(arguments.config)
    if settings.override_nameserver:
        host.give_back(settings.resolv_conf, [*(address for address, _ in settings.listen), settings.nameserver])
    if settings.configure_systemd_resolved:
        resolved.release()
    if settings.host_state:
        host.remove_addresses(settings.host_state)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    with open(arguments.records, encoding="utf-8") as file:
        records = load(file.read())
    for warning in records.warnings:
        print(warning)
    domains = ", ".join(sorted(".".join(name) for name in records.domains))
    print("version %d, %d records, domains: %s" % (records.version, records.count, domains))
    return 1 if records.warnings else 0


def _explain(arguments: argparse.Namespace) -> int:
    return _show(arguments, "/explain?name=%s&type=%s" % (quote(arguments.name), quote(arguments.type)), "GET")


def _log_queries(arguments: argparse.Namespace) -> int:
    return _show(arguments, "/query-log?seconds=%s" % arguments.seconds, "POST")


def _show(arguments: argparse.Namespace, page: str, method: str) -> int:
    path = arguments.control or (read(arguments.config).control if arguments.config else "")
    if not path:
        raise BadSettings("no control socket is known: give --control, or --config of a resolver that has one")
    try:
        status, text = control.get(path, page, method)
    except OSError as error:
        raise OSError("no resolver answers at %s: %s" % (path, error)) from error
    print(json.dumps(json.loads(text), indent=2) if status == 200 else text.rstrip(), file=sys.stdout if status == 200 else sys.stderr)
    return 0 if status == 200 else 1


COMMANDS: Tuple[Tuple[str, Callable[[argparse.Namespace], int]], ...] = (
    ("serve", _serve), ("release", _release), ("check", _check), ("explain", _explain), ("log-queries", _log_queries),
)


def main(arguments: Optional[List[str]] = None) -> int:
    parsed = _arguments().parse_args(arguments)
    try:
        return dict(COMMANDS)[parsed.command](parsed)
    except (BadSettings, BadRecords, OSError, UnicodeDecodeError) as error:
        print("dns: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
