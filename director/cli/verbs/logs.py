"""`logs`: an archive of them, or the lines as they come."""

from __future__ import annotations

import pathlib
import shlex
from typing import Any

import click

from director.cli import downloads, remote
from director.cli.session import Session
from director.cli.verb import slug_of, verb
from director.errors import TaskError, UsageError

JOB_LOGS, AGENT_LOGS, SYSTEM_LOGS = "/var/vcap/sys/log", "/var/vcap/bosh/log", "/var/log"


@verb(examples=("caisson -d app logs web/0", "caisson -d app logs -f", "caisson -d app logs web --num 100 --job nginx"))
@click.argument("slug", metavar="[INSTANCE-GROUP[/INSTANCE-ID]]", default="")
@click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=pathlib.Path), default=".", help="Where the archive goes [.]"
)
@click.option("-f", "--follow", "following", is_flag=True, help="Show lines as they are written")
@click.option("--num", type=int, help="Show the last so many lines")
@click.option("-q", "--quiet", is_flag=True, help="Without the names of the files")
@click.option("--job", "jobs", multiple=True, help="Only this job's; may be given again")
@click.option("--only", help="Only files like this, for example '*/*.stderr.log,nginx/*'")
@click.option("--agent", is_flag=True, help="The agent's logs")
@click.option("--system", is_flag=True, help="The system's logs")
@click.option("--all-logs", is_flag=True, help="All of them")
@remote.gateway_options
def command(
    session: Session, slug: str, directory: pathlib.Path, following: bool, num: int | None, quiet: bool, jobs: tuple[str, ...], **given: Any
) -> None:
    """Fetch or follow the logs of instances."""
    group, instance = slug_of(slug)
    only, kinds = given.pop("only"), _kinds(given)
    gateway = remote.gateway_of(given)
    deployment = session.deployment()
    if following or num is not None:
        tail = _tail(kinds, following, num, quiet, jobs)
        with remote.opened(session, deployment, group, instance, gateway) as access:
            outcomes = remote.stream(session, access, tail, (), prefix=not quiet or len(access.hosts) > 1)
        bad = [item for item in outcomes if item.exit_code]
        if bad:
            raise TaskError(*[f"{item.slug}: exit code {item.exit_code}" for item in bad])
        return
    filters = only or ",".join(f"{job}/*" for job in jobs) or None
    task = session.client.fetch_logs(deployment, group, instance, {"type": ",".join(kinds), "filters": filters})
    session.follow(task)
    blob = session.client.task(task["id"])["result"]
    path = directory / downloads.stamped(".".join(filter(None, (deployment, group, instance))))
    session.client.download(str(blob), path)
    session.ui.line(f"Downloading resource '{blob}' to '{path}'...")


def _kinds(given: dict[str, Any]) -> tuple[str, ...]:
    everything, agent, system = given.pop("all_logs"), given.pop("agent"), given.pop("system")
    if everything:
        return ("agent", "job", "system")
    return tuple(name for name, wanted in (("agent", agent), ("system", system)) if wanted) or ("job",)


def _tail(kinds: tuple[str, ...], following: bool, num: int | None, quiet: bool, jobs: tuple[str, ...]) -> str:
    """The command that runs on the instance."""
    if jobs and kinds != ("job",):
        raise UsageError("--job goes with the jobs' logs only", suggestion="Leave --agent, --system and --all-logs out.")
    folders = {"job": JOB_LOGS, "agent": AGENT_LOGS, "system": SYSTEM_LOGS}
    places = [f"{folders[kind]}/**/*.log" for kind in kinds] if not jobs else [f"{JOB_LOGS}/{shlex.quote(job)}/**/*.log" for job in jobs]
    flags = [*(["-F"] if following else []), *(["-q"] if quiet else []), "-n", str(num if num is not None else 10)]
    script = f"shopt -s globstar nullglob; files=({' '.join(places)}); "
    script += "[ ${#files[@]} -gt 0 ] || { echo 'There are no logs yet.' >&2; exit 0; }; "
    return shlex.join(["sudo", "bash", "-c", script + f'exec tail {" ".join(flags)} "${{files[@]}}"'])
