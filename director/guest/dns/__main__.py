"""`serve` answers until TERM or INT. `release` gives /etc/resolv.conf back. `check` reads a records file."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from typing import List, Optional

from . import host
from .loading import BadRecords, load
from .service import Service
from .settings import BadSettings, Settings, parse, read


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dns", description="A resolver for BOSH DNS records.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="answer questions")
    serve.add_argument("--config", help="JSON file with all settings; no other option is looked at then")
    serve.add_argument("--records", help="records.json as BOSH writes it")
    serve.add_argument("--listen", action="append", metavar="ADDRESS:PORT", help="may be given several times")
    serve.add_argument(
        "--recursor", action="append", default=[], metavar="ADDRESS[:PORT]", help="for other names; else those of /etc/resolv.conf")
    serve.add_argument("--no-recursors", action="store_true", help="refuse other names")
    release = commands.add_parser("release", help="take our line out of /etc/resolv.conf")
    release.add_argument("--config", required=True)
    check = commands.add_parser("check", help="read a records file and say what is wrong with it")
    check.add_argument("--records", required=True)
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    if arguments.config:
        return read(arguments.config)
    return parse(
        {
            "listen": arguments.listen or [],
            "records": arguments.records or "",
            "recursors": arguments.recursor,
            "disable_recursors": arguments.no_recursors,
        }
    )


def _serve(settings: Settings) -> int:
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, level=getattr(logging, settings.log_level.upper(), logging.INFO)
    )
    service = Service(settings)
    stopping: List[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stopping.append(got))
    for address, port in service.start():
        logging.getLogger("bosh-dns").info("listening on %s:%d", address, port)
    try:
        while not stopping:
            service.turn()
    finally:
        service.stop()
    return 0


def _check(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        records = load(file.read())
    for warning in records.warnings:
        print(warning)
    domains = ", ".join(sorted(".".join(name) for name in records.domains))
    print("version %d, %d records, domains: %s" % (records.version, records.count, domains))
    return 1 if records.warnings else 0


def main(arguments: Optional[List[str]] = None) -> int:
    parsed = _arguments().parse_args(arguments)
    try:
        if parsed.command == "serve":
            return _serve(_settings(parsed))
        if parsed.command == "release":
            settings = read(parsed.config)
            if settings.override_nameserver:
                host.give_back(settings.resolv_conf, [address for address, _ in settings.listen])
            return 0
        return _check(parsed.records)
    except (BadSettings, BadRecords, OSError) as error:
        print("dns: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
