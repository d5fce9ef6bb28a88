"""`dns`: how far names have come, why a machine answers as it does, and the resolver on this computer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from director.cli import follow, names_tables
from director.cli.session import Session
from director.cli.verb import instance_of, verb
from director.errors import NotFoundError, UsageError


@verb(
    examples=(
        "caisson dns",
        "caisson dns --json",
        "caisson -d app dns query q-s0.db.default.app.bosh --on web/0",
        "caisson dns serve --records records.json --listen 127.0.0.1:5353",
        "caisson dns serve --records records.json --listen 127.0.0.1:5353 --alias db.example=q-s0.q-g1.bosh --log-queries",
        "dig @127.0.0.1 -p 5353 q-s0.web.default.app.bosh",
    )
)
@click.argument("action", type=click.Choice(["status", "query", "serve"]), default="status")
@click.argument("name", default="")
@click.option("--on", "instance", default="", metavar="INSTANCE", help="With 'query': the instance whose resolver is asked, such as web/0")
@click.option("--type", "kind", default="A", help="With 'query': A, AAAA, PTR, ANY, ... [A]")
@click.option("--records", default="", metavar="FILE", help="records.json as BOSH writes it; read again when it changes")
@click.option("--listen", multiple=True, metavar="ADDRESS:PORT", help="UDP and TCP; may be given again [127.0.0.1:5353]")
@click.option("--recursor", multiple=True, metavar="ADDRESS[:PORT]", help="Whom to ask for other names; may be given again [resolv.conf]")
@click.option("--no-recursors", is_flag=True, help="Refuse other names")
@click.option("--alias", multiple=True, metavar="NAME=TARGET", help="Another name for a name or an address; may be given again")
@click.option("--allow", multiple=True, metavar="NETWORK", help="Who may ask besides this computer and its networks; may be given again")
@click.option("--cache", is_flag=True, help="Keep the answers of recursors for as long as they allow")
@click.option("--processes", type=int, default=1, help="Share the port among so many processes [1]")
@click.option("--metrics", default="", metavar="ADDRESS:PORT", help="Figures for Prometheus, at /metrics")
@click.option("--control", default="", metavar="PATH", help="A Unix socket that tells why an answer is as it is")
@click.option("--log-queries", is_flag=True, help="Write questions, at most 50 a second")
def command(
    session: Session, action: str, name: str, instance: str, kind: str, records: str, listen: tuple[str, ...], **given: object,
) -> None:
    """Show which version of the DNS records is on how many machines, and who is behind since when.

    'query' asks an instance's resolver which rule, records, health and cache give its answer. 'serve' answers questions from a records
    file, with the program that runs on machines, until Ctrl-C; SIGUSR1 switches its log of questions on for a minute, or off.
    """
    if action == "query":
        _query(session, name, instance, kind)
        return
    if name or instance:
        raise UsageError(f"'{action}' takes no name and no instance", suggestion="See 'caisson dns --help'.")
    if action == "status":
        told = session.client.names()
        session.ui.table(names_tables.status(told))
        if told["behind"] or session.flags.json:
            session.ui.table(names_tables.behind(told))
        return
    _serve(records, listen, given)


def _query(session: Session, name: str, instance: str, kind: str) -> None:
    if not name or not instance:
        raise UsageError(
            "'query' needs a name and an instance", suggestion="For example: caisson -d app dns query q-s0.db.default.app.bosh --on web/0")
    group, item = instance_of(instance)
    task = session.client.query_name(session.deployment(), group, item, name, kind)
    told = json.loads(session.follow(task, follow.SilentReporter()))
    session.ui.table(names_tables.answer(told))
    found = names_tables.machines(told)
    if found is not None:
        session.ui.table(found)


def _serve(records: str, listen: tuple[str, ...], given: Mapping[str, object]) -> None:
    if not records:
        raise UsageError("A records file is needed", suggestion="Give it with --records FILE.")
    if not Path(records).is_file():
        raise NotFoundError(
            f"There is no file '{records}'", suggestion="On a machine it is /var/vcap/instance/dns/records.json."
        )
    arguments = ["--records", records]
    for address in listen or ("127.0.0.1:5353",):
        arguments += ["--listen", address]
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(flag)
        elif isinstance(value, tuple):
            arguments += [word for item in value for word in (flag, item)]
        elif value:
            arguments += [flag, str(value)]
    sys.stdout.flush()
    # In place of this program, not beside it: what the process costs is what the resolver costs, and signals reach it.
    os.execv(sys.executable, [sys.executable, "-m", "director.guest.dns", "serve", *arguments])
