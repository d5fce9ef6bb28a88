"""The command `caisson`: reads the global flags, finds the command in the table, runs it, and turns errors into words.

Exit codes: 0 done, 1 an error, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from director import __version__
from director.cli import commands, verb
from director.cli.ui import Interrupted, Ui
from director.diagnostics import did_you_mean
from director.errors import CaissonError

if TYPE_CHECKING:
    import httpx

    from director.cli.client import Endpoint
    from director.cli.session import Session

TRUE = ("1", "t", "true", "yes", "on")


@dataclasses.dataclass(frozen=True)
class Startup:
    """The world around one run; tests replace parts of it."""

    out: TextIO
    err: TextIO
    environ: Mapping[str, str]
    terminal: bool
    connect: Callable[[Endpoint], httpx.Client] | None = None
    ask_line: Callable[[str], str] = input
    ask_hidden: Callable[[str], str] | None = None


class Commands(click.Group):
    """The table as a click group; modules are imported when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [entry.name for entry in commands.ENTRIES]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = commands.BY_NAME.get(name)
        if entry is None:
            return None
        command: click.Command = importlib.import_module(f"director.cli.verbs.{entry.module}").command
        command.name = entry.name
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in commands.BY_NAME and not args[0].startswith("-"):
            hint = did_you_mean(args[0], commands.BY_NAME) or "'caisson --help' lists the commands."
            raise click.UsageError(f"Unknown command '{args[0]}'. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, entries in commands.SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(", ".join((entry.name, *entry.aliases)), entry.summary) for entry in entries], col_max=36)
        with formatter.section("Global options, before or after the command"):
            formatter.write_dl([record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))])
        with formatter.section("Examples"):
            for example in (
                "caisson director start",
                "caisson -d app deploy app.yml",
                "caisson -d app instances --ps",
                "caisson -d app ssh web/0",
            ):
                formatter.write(f"{' ' * formatter.current_indent}{example}\n")


def program(startup: Startup, made: list[Session]) -> Commands:
    """The whole command; `made` receives the session as soon as the flags are known."""

    def callback(version: bool, **given: Any) -> None:
        context = click.get_current_context()
        if version:
            startup.out.write(f"version {__version__}\n\nSucceeded\n")
            context.exit(0)
        if context.invoked_subcommand is None:
            startup.out.write(context.get_help() + "\n")
            context.exit(0)
        context.obj = lambda later: _session(startup, given, later, made)

    options: list[click.Parameter] = [*verb.global_options(), click.Option(("-v", "--version"), is_flag=True, help="Show the version")]
    return Commands(
        "caisson",
        callback=callback,
        params=options,
        invoke_without_command=True,
        help="Deploy BOSH releases, on this computer or on a cloud.",
    )


def _session(startup: Startup, before: Mapping[str, Any], after: Mapping[str, Any], made: list[Session]) -> Session:
    from director.cli.session import Flags, Session

    def value(name: str, default: str = "") -> str:
        given = after.get(name) or before.get(name)
        env = name.upper()
        return str(given or startup.environ.get(f"CAISSON_{env}") or startup.environ.get(f"BOSH_{env}") or default)

    def flag(name: str) -> bool:
        env = name.upper()
        told = startup.environ.get(f"CAISSON_{env}") or startup.environ.get(f"BOSH_{env}") or ""
        return bool(after.get(name) or before.get(name) or told.lower() in TRUE)

    flags = Flags(
        config=value("config", "~/.bosh/config"),
        environment=value("environment"),
        ca_cert=value("ca_cert"),
        client=value("client"),
        client_secret=value("client_secret"),
        deployment=value("deployment"),
        sha2=flag("sha2"),
        parallel=int(after.get("parallel") or before.get("parallel") or 5),
        columns=(*(before.get("columns") or ()), *(after.get("columns") or ())),
        json=bool(after.get("json") or before.get("json")),
        tty=flag("tty"),
        no_color=bool(after.get("no_color") or before.get("no_color") or startup.environ.get("NO_COLOR")),
        non_interactive=flag("non_interactive"),
    )
    manner = "json" if flags.json else "terminal" if flags.tty or startup.terminal else "plain"
    color = startup.terminal and not flags.no_color and manner == "terminal"
    ui = Ui(
        startup.out,
        startup.err,
        manner=manner,
        color=color,
        interactive=not flags.non_interactive,
        columns=flags.columns,
        ask_line=startup.ask_line,
        ask_hidden=startup.ask_hidden,
    )
    made.append(Session(flags, ui, startup.environ, startup.connect))
    return made[-1]


def run(args: Sequence[str], startup: Startup) -> int:
    """Run one command line; returns the exit code."""
    made: list[Session] = []
    code, told = 1, ""
    try:
        # Help texts are click's, which knows no other way out.
        with contextlib.redirect_stdout(startup.out):
            found = program(startup, made).main(list(args), prog_name="caisson", standalone_mode=False)
        code = found if isinstance(found, int) else 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        told = _usage(error)
    except CaissonError as error:
        from director import diagnostics

        told = diagnostics.render(error.diagnostics)
    except (KeyboardInterrupt, click.Abort):
        code, told = 130, "Stopped"
    except Interrupted as error:
        code, told = 130, str(error)
    finally:
        for session in made:
            session.close()
    ui = made[-1].ui if made else Ui(startup.out, startup.err, manner="json" if "--json" in args else "plain")
    if told:
        ui.error(told)
        ui.error(f"Exit code {code}")
    elif made and code == 0:
        ui.line("Succeeded")
    ui.flush()
    return code


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "caisson"
    return f"{error.format_message()}\n  -> See '{where} --help'."


def _ask_hidden(prompt: str) -> str:
    import getpass

    return getpass.getpass(prompt)


def main() -> None:
    """The console command."""
    startup = Startup(sys.stdout, sys.stderr, os.environ, sys.stdout.isatty(), ask_hidden=_ask_hidden)
    try:
        code = run(sys.argv[1:], startup)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the pipe has gone and nobody is left to tell; what Python still wants to flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
