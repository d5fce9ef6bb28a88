"""What one run of the command knows: the global flags, the environment they name, and the client made of them."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from director.cli.ui import Ui
from director.diagnostics import did_you_mean
from director.errors import UsageError

if TYPE_CHECKING:
    import httpx

    from director.cli import follow
    from director.cli.client import Client, Endpoint
    from director.cli.settings import Settings


@dataclasses.dataclass(frozen=True)
class Flags:
    """The global flags, after the environment variables were read."""

    config: str = "~/.bosh/config"
    environment: str = ""
    ca_cert: str = ""
    client: str = ""
    client_secret: str = dataclasses.field(default="", repr=False)
    deployment: str = ""
    sha2: bool = False
    parallel: int = 5
    columns: tuple[str, ...] = ()
    json: bool = False
    tty: bool = False
    no_color: bool = False
    non_interactive: bool = False


class Session:
    """Handed to every command. `connect` opens HTTP for an endpoint; tests put their own there."""

    def __init__(self, flags: Flags, ui: Ui, environ: Mapping[str, str], connect: Callable[[Endpoint], httpx.Client] | None = None) -> None:
        self.flags, self.ui, self.environ = flags, ui, environ
        self._connect = connect
        self._settings: Settings | None = None
        self._client: Client | None = None
        self._opened: list[httpx.Client] = []

    @property
    def settings(self) -> Settings:
        """The file of `--config`. Like HTTP it is imported when it is needed: `int` needs neither."""
        if self._settings is None:
            from director.cli.settings import Settings

            self._settings = Settings(pathlib.Path(self.flags.config).expanduser())
        return self._settings

    def endpoint(self, environment: str = "") -> Endpoint:
        """Where `-e` points to. Raises UsageError when nothing is named or the CA file cannot be read."""
        from director.cli.client import Endpoint
        from director.cli.settings import address_of

        name = environment or self.flags.environment
        if not name:
            aliases = [str(entry["alias"]) for entry in self.settings.entries() if entry.get("alias")]
            known = f" Known aliases: {', '.join(aliases)}." if aliases else " 'caisson director start' starts one here."
            raise UsageError("Expected non-empty Director URL", suggestion="Name one with -e or BOSH_ENVIRONMENT." + known)
        entry = self.settings.find(name) or {}
        url = str(entry.get("url") or name)
        self._check_name(name, entry)
        host, port = address_of(url)
        client = self.flags.client
        return Endpoint(
            host,
            port,
            ca_cert=self._pem(self.flags.ca_cert) or str(entry.get("ca_cert") or ""),
            user=client or str(entry.get("username") or ""),
            secret=self.flags.client_secret if client else str(entry.get("password") or ""),
        )

    @property
    def client(self) -> Client:
        """The director's API, with a remark on who is asking whom."""
        if self._client is None:
            endpoint = self.endpoint()
            who = (
                f" as client '{endpoint.user}'"
                if self.flags.client
                else f" as user '{endpoint.user}'"
                if endpoint.user
                else " as anonymous user"
            )
            self.ui.line(f"Using environment '{self.flags.environment}'{who}")
            self._client = self.client_of(endpoint)
        return self._client

    def client_of(self, endpoint: Endpoint) -> Client:
        from director.cli import client

        http = (self._connect or client.connect)(endpoint)
        self._opened.append(http)
        return client.Client(http, endpoint.user, endpoint.secret)

    def close(self) -> None:
        """End all connections."""
        for http in self._opened:
            http.close()

    def deployment(self) -> str:
        """The name given with `-d`, with a remark; raises UsageError without one."""
        if not self.flags.deployment:
            raise UsageError(
                "Expected non-empty deployment name", suggestion="Name one with -d or BOSH_DEPLOYMENT; 'caisson deployments' lists them."
            )
        self.client  # noqa: B018 - the environment is named before the deployment
        self.ui.line(f"Using deployment '{self.flags.deployment}'")
        return self.flags.deployment

    def follow(self, task: dict[str, Any], reporter: follow.Reporter | None = None) -> bytes:
        """Show a task until its end; its result bytes."""
        from director.cli import follow

        return follow.follow(self.client, task, reporter or follow.EventReporter(self.ui))

    def _pem(self, given: str) -> str:
        if not given or "BEGIN" in given:
            return given
        try:
            return pathlib.Path(given).expanduser().read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise UsageError(
                f"The CA certificate '{given}' cannot be read: {error}", suggestion="Give --ca-cert a PEM file or the PEM text."
            ) from error

    def _check_name(self, name: str, entry: Mapping[str, Any]) -> None:
        """A word without a dot that is no alias is more likely a slip than a host."""
        if entry or "." in name or ":" in name or name == "localhost":
            return
        aliases = [str(entry["alias"]) for entry in self.settings.entries() if entry.get("alias")]
        hint = did_you_mean(name, aliases)
        if hint:
            raise UsageError(f"There is no environment '{name}'", suggestion=hint)
