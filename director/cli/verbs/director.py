"""`director`: the director on this computer."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from director.api.config import PORT, DirectorConfig, state_folder
from director.cli import director_process, settings
from director.cli.client import Client, DirectorError, Endpoint
from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.errors import NotFoundError

ALIAS = "local"


@verb(
    examples=(
        "caisson director start",
        "caisson director status",
        "caisson director start --state /srv/caisson --port 25556 --alias second",
        "caisson director start --host 0.0.0.0 --blobs-url https://10.0.0.6:25555",
        "caisson director stop",
    )
)
@click.argument("action", type=click.Choice(["start", "stop", "status", "run"]))
@click.option("--state", default="", help="Folder that holds everything [CAISSON_STATE, /var/lib/caisson]")
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 is all of them [127.0.0.1]")
@click.option("--port", type=int, help=f"Port to listen on [{PORT}]")
@click.option("--name", default="caisson", help="Name of the director [caisson]")
@click.option("--workers", type=int, default=3, help="Tasks at once [3]")
@click.option("--cpi", default="local", help="The director's own cloud [local]")
@click.option(
    "--blobs-url", default="", metavar="URL",
    help="https://HOST:PORT under which machines reach this director, which must listen there (--host). They then fetch packages "
    "themselves by links that expire; machines that cannot are sent them over SSH, as all are without it",
)
@click.option("--names-wait", type=float, default=20.0, metavar="SECONDS",
              help="How long machines are given to take new DNS records before an instance that they could still find goes [20]")
@click.option("--alias", default="", help=f"Remember it under this alias [{ALIAS}]")
def command(session: Session, action: str, state: str, alias: str, port: int | None, **given: Any) -> None:
    """Start, stop or look at the director of this computer; 'run' stays in the foreground."""
    config = DirectorConfig(state_folder(session.environ, state), port=port or int(session.environ.get("CAISSON_PORT") or PORT), **given)
    alias = alias or ALIAS
    if action == "run":
        director_process.run(config)
    elif action == "start":
        _start(session, config, alias)
    elif action == "stop":
        gone = director_process.stop(config)
        session.ui.line(f"The director in '{config.state}' has ended." if gone else f"No director runs in '{config.state}'.")
    else:
        _status(session, config)


def _start(session: Session, config: DirectorConfig, alias: str) -> None:
    found = director_process.find(config)
    if found is None:
        session.ui.line(f"Starting a director in '{config.state}' ...")
        found = director_process.start(config, lambda: _answers(session, config))
    config = dataclasses.replace(config, host=found.host, port=found.port)
    _remember(session, config, alias)
    session.ui.line(f"The director runs at {config.url} (process {found.pid}), known as '{alias}' in {session.settings.path}.", "good")
    session.ui.line(f"Try: caisson -e {alias} env")


def _status(session: Session, config: DirectorConfig) -> None:
    found = director_process.find(config)
    if found is None:
        raise NotFoundError(f"No director runs in '{config.state}'", suggestion="Start one with 'caisson director start'.")
    config = dataclasses.replace(config, host=found.host, port=found.port)
    answers = _answers(session, config)
    row = (
        config.url,
        found.pid,
        f"{found.memory_kib // 1024} MiB",
        "answers" if answers else "does not answer (yet)",
        str(config.state),
        str(config.log_file),
    )
    session.ui.table(Table("", ("URL", "Process", "Memory", "API", "State", "Log"), (row,), transpose=True))


def _client(session: Session, config: DirectorConfig) -> Client | None:
    from director.api import credentials

    made = credentials.read(config.state)
    if made is None:
        return None
    return session.client_of(Endpoint(config.local_host, config.port, made.ca.read_text(), made.user, made.password))


def _answers(session: Session, config: DirectorConfig) -> bool:
    try:
        client = _client(session, config)
        return client is not None and bool(client.info().get("user"))
    except DirectorError:
        return False


def _remember(session: Session, config: DirectorConfig, alias: str) -> None:
    """The alias with certificate and credentials, so that the next command needs nothing else."""
    from director.api import credentials

    made = credentials.read(config.state)
    if made is not None:
        session.settings.store(
            settings.url_of(config.url), alias=alias, ca_cert=made.ca.read_text(), username=made.user, password=made.password
        )
