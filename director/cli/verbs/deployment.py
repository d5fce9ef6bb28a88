"""`deployment`: one of them."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.cli.verbs.deployments import pairs
from director.diagnostics import did_you_mean
from director.errors import NotFoundError


@verb(examples=("caisson -d app deployment",))
def command(session: Session) -> None:
    """Show one deployment with its releases, stemcells and configs."""
    name = session.deployment()
    found = session.client.deployments()
    row = next((row for row in found if row["name"] == name), None)
    if row is None:
        names = [str(row["name"]) for row in found]
        raise NotFoundError(
            f"Deployment '{name}' doesn't exist", suggestion=did_you_mean(name, names) or "'caisson deployments' lists them."
        )
    configs = [item["config"] for item in session.client.deployment_configs(name)]
    shown = tuple(f"{config['id']} {config['type']}/{config['name']}" for config in configs)
    cells = (name, pairs(row.get("releases")), pairs(row.get("stemcells")), shown, tuple(row.get("teams") or ()))
    session.ui.table(Table("deployments", ("Name", "Release(s)", "Stemcell(s)", "Config(s)", "Team(s)"), (cells,)))
