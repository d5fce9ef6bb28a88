"""`curl`: the API as it is."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError


@verb(examples=("caisson curl /info", "caisson curl -X DELETE /task/12"))
@click.argument("path")
@click.option("-X", "--method", default="GET", help="GET, POST, PUT or DELETE [GET]")
@click.option("-H", "--header", "headers", multiple=True, help="NAME: VALUE; may be given again")
@click.option("--body", help="What to send, a file or - for the standard input")
@click.option("-i", "--show-headers", is_flag=True, help="Show the answer's headers")
def command(session: Session, path: str, method: str, headers: tuple[str, ...], body: str | None, show_headers: bool) -> None:
    """Ask the director's API yourself."""
    pairs = [header.partition(":") for header in headers]
    if any(not colon for _name, colon, _value in pairs):
        raise UsageError("Expected headers in form 'Name: value'")
    content = None
    if body is not None:
        with click.open_file(body, "rb") as stream:
            content = stream.read()
    response = session.client.request(
        method.upper(), path, content=content, headers={name.strip(): value.strip() for name, _colon, value in pairs}
    )
    if show_headers:
        session.ui.block("".join(f"{name}: {value}\n" for name, value in response.headers.items()) + "\n", kind="text")
    session.ui.block(response.text, kind="text")
