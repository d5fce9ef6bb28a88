"""How commands are declared: `@verb()` over click's options; every command takes the global flags too, as `bosh` does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from director.errors import UsageError

GLOBALS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--config",), {"help": "Config file of the command line [~/.bosh/config, BOSH_CONFIG]"}),
    (("-e", "--environment"), {"help": "Director address or alias [BOSH_ENVIRONMENT]"}),
    (("--ca-cert",), {"help": "CA certificate of the director, a file or PEM text [BOSH_CA_CERT]"}),
    (("--client",), {"help": "Name to log in with [BOSH_CLIENT]"}),
    (("--client-secret",), {"help": "Its secret [BOSH_CLIENT_SECRET]"}),
    (("-d", "--deployment"), {"help": "Deployment [BOSH_DEPLOYMENT]"}),
    (("--sha2",), {"is_flag": True, "help": "Use SHA-256 digests [BOSH_SHA2]"}),
    (("--parallel",), {"type": int, "help": "How much to do at once [5]"}),
    (("--column", "columns"), {"multiple": True, "help": "Show only this column; may be given again"}),
    (("--json",), {"is_flag": True, "help": "Print JSON"}),
    (("--tty",), {"is_flag": True, "help": "Print as to a terminal [BOSH_TTY]"}),
    (("--no-color",), {"is_flag": True, "help": "No colours"}),
    (("-n", "--non-interactive"), {"is_flag": True, "help": "Do not ask [BOSH_NON_INTERACTIVE]"}),
)


def global_options() -> list[click.Option]:
    return [click.Option(names, **settings) for names, settings in GLOBALS]


GLOBAL_NAMES: tuple[str, ...] = tuple(option.name or "" for option in global_options())


class Verb(click.Command):
    """A command. `optional` gives the value of flags that may stand without one: `--skip-drain` alone means `--skip-drain=*`."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), optional: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.examples, self.optional = tuple(examples), dict(optional or {})
        self.own = tuple(self.params)
        taken = {name for param in self.own for name in param.opts}
        self.params = [*self.own, *(option for option in global_options() if not taken & set(option.opts))]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_normal(args, self.optional)))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = [record for param in self.own if isinstance(param, click.Option) and (record := param.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl([*records, ("--help", "Show this message; 'caisson --help' lists the global options")])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{' ' * formatter.current_indent}{example}\n")

    def invoke(self, ctx: click.Context) -> Any:
        given = {name: ctx.params.pop(name) for name in GLOBAL_NAMES if name in ctx.params}
        session = ctx.find_root().obj(given)
        assert self.callback is not None
        return ctx.invoke(self.callback, session, **ctx.params)


def verb(*, examples: Sequence[str] = (), optional: Mapping[str, str] | None = None) -> Callable[[Callable[..., Any]], Verb]:
    """Make a command of a function that takes the Session first; its docstring is the help."""

    def make(function: Callable[..., Any]) -> Verb:
        made: Verb = click.command(cls=Verb, examples=examples, optional=optional)(function)
        return made

    return make


def _normal(args: Sequence[str], optional: Mapping[str, str]) -> Sequence[str]:
    """Bring `-d=x` and flags with optional values into the form click reads."""
    out: list[str] = []
    for place, arg in enumerate(args):
        if arg == "--":
            return [*out, *args[place:]]
        if arg in optional:
            out.append(f"{arg}={optional[arg]}" if arg.startswith("--") else f"{arg}{optional[arg]}")
        elif re.match(r"-[A-Za-z]=", arg):
            out.append(arg[:2] + arg[3:])
        else:
            out.append(arg)
    return out


def slug_of(text: str) -> tuple[str, str]:
    """`GROUP[/ID]` as group and id; the id is a uuid, an index or empty."""
    group, slash, instance = text.partition("/")
    if text and (not group or (slash and not instance) or "/" in instance):
        raise UsageError(f"Expected '{text}' to be INSTANCE-GROUP or INSTANCE-GROUP/INSTANCE-ID", suggestion="For example: web, web/0.")
    return group, instance


def instance_of(text: str) -> tuple[str, str]:
    """`GROUP/ID` as group and id, which must be there. Raises UsageError."""
    group, instance = slug_of(text)
    if not instance:
        raise UsageError("Expected one instance", suggestion="Name it with its id or index, for example: web/0.")
    return group, instance


def pair_of(text: str, form: str = "NAME/VERSION") -> tuple[str, str]:
    """`NAME/VERSION` as two texts, both there."""
    first, _slash, second = text.partition("/")
    if not first or not second:
        raise UsageError(f"Expected '{text}' to be in form {form}")
    return first, second
