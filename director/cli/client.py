"""The director's HTTP API as methods. Nothing is printed here and nothing is remembered between calls.

Methods that start a task return the task's JSON; `follow.follow` waits for it. All raise DirectorError when the
director refuses, with its description. Source: director API contract.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from director.diagnostics import Diagnostic, Where
from director.errors import CaissonError

if TYPE_CHECKING:
    import httpx

YAML, JSON, TARBALL = "text/yaml", "application/json", "application/x-compressed"
PLAN = "application/vnd.caisson.plan+json"
UPLOAD_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where the director is, whom it may be signed by (PEM text, empty for the system's roots) and who calls."""

    host: str
    port: int
    ca_cert: str = ""
    user: str = ""
    secret: str = dataclasses.field(default="", repr=False)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


class DirectorError(CaissonError):
    """The director refused. `status` is the HTTP status, 0 when no answer came."""

    def __init__(
        self, *diagnostics: Diagnostic | str, status: int = 0, code: int | None = None, suggestion: str = "", body: str = ""
    ) -> None:
        super().__init__(*diagnostics, code=code, suggestion=suggestion)
        self.status, self.body = status, body


def connect(endpoint: Endpoint) -> httpx.Client:
    """Open nothing yet; the first request does. Raises DirectorError when the CA certificate is no certificate."""
    _leave_out("httpx._main")
    import httpx

    try:
        trust = ssl.create_default_context(cadata=endpoint.ca_cert or None)
    except ssl.SSLError as error:
        raise DirectorError(f"The CA certificate cannot be read: {error}", suggestion="Give --ca-cert a PEM file.") from error
    if endpoint.ca_cert:
        # A private CA need not carry the key usage extension that newer OpenSSL insists on.
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return httpx.Client(
        base_url=endpoint.url, verify=trust, timeout=httpx.Timeout(60.0, connect=10.0), follow_redirects=False, trust_env=True
    )


def _leave_out(module: str) -> None:
    """Let an optional module count as missing. httpx imports its own command line, a third of its time, where it finds what that needs."""
    sys.modules.setdefault(module, None)  # type: ignore[arg-type]


class Client:
    """One director, spoken to through `http`."""

    def __init__(self, http: httpx.Client, user: str = "", secret: str = "") -> None:
        self._http, self._auth = http, (user, secret) if user else None

    def log_in_as(self, user: str, secret: str) -> None:
        """Whose credentials go with requests from now on."""
        self._auth = (user, secret)

    # Plumbing

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        json: Any = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One exchange; redirects to tasks are followed with GET on the same director. Raises DirectorError."""
        response = self._send(method, path, query, json, content, headers)
        for _ in range(10):
            if response.status_code != 302:
                break
            response = self._send("GET", urlsplit(response.headers.get("location", "/")).path, (), None, None, None)
        if response.status_code not in (200, 201, 204, 206):
            raise _refusal(method, path, response)
        return response

    def _send(
        self, method: str, path: str, query: Sequence[tuple[str, str]], json: Any, content: Any, headers: Mapping[str, str] | None
    ) -> httpx.Response:
        import httpx

        address = path + ("?" + "&".join(f"{quote(key, safe='[]')}={quote(value, safe='*')}" for key, value in query) if query else "")
        try:
            return self._http.request(method, address, json=json, content=content, headers=dict(headers or {}), auth=self._auth)
        except httpx.TransportError as error:
            raise _unreachable(str(self._http.base_url), error) from error

    def get(self, path: str, *query: tuple[str, str]) -> Any:
        """JSON of a read."""
        return self.request("GET", path, query=query).json()

    def start(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, json: Any = None, text: str | None = None
    ) -> dict[str, Any]:
        """Start a task; `query` values of None and False are left out. Returns the task's JSON."""
        media = {"Content-Type": YAML} if text is not None else {}
        body = text.encode() if text is not None else None
        return _task(self.request(method, path, query=_pairs(query), json=json, content=body, headers=media).json(), path)

    # Director

    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/info")
        return found

    def locks(self) -> list[dict[str, Any]]:
        return _rows(self.get("/locks"))

    def events(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        return _rows(self.get("/events", *_pairs(query)))

    def event(self, event_id: str) -> dict[str, Any]:
        return _row(self.get(f"/events/{quote(event_id, safe='')}"))

    # Tasks

    def task(self, task_id: int) -> dict[str, Any]:
        return _row(self.get(f"/tasks/{task_id}"))

    def tasks(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        return _rows(self.get("/tasks", *_pairs(query)))

    def task_output(self, task_id: int, kind: str, offset: int | None = None) -> bytes:
        """The output from `offset` on; empty when there is nothing new."""
        headers = {"Range": f"bytes={offset}-"} if offset is not None else {}
        try:
            return self.request("GET", f"/tasks/{task_id}/output", query=[("type", kind)], headers=headers).content
        except DirectorError as error:
            if error.status == 416:
                return b""
            raise

    def task_news(self, task_id: int, kind: str, offset: int) -> tuple[str, bytes]:
        """The task's state, and its output from `offset` on, which is complete when the state is final.

        An addition of ours to the contract: the state comes as a header of the output. It is '' from a director that does not send it.
        """
        path = f"/tasks/{task_id}/output"
        response = self._send("GET", path, [("type", kind)], None, None, {"Range": f"bytes={offset}-"})
        if response.status_code not in (200, 204, 206, 416):
            raise _refusal("GET", path, response)
        return response.headers.get("Task-State", ""), b"" if response.status_code == 416 else response.content

    def cancel_task(self, task_id: int) -> None:
        self.request("DELETE", f"/task/{task_id}")

    def cancel_tasks(self, selector: Mapping[str, Any]) -> None:
        self.request("POST", "/tasks/cancel", json=dict(selector))

    # Deployments

    def deployments(self, *, configs: bool = False) -> list[dict[str, Any]]:
        return _rows(self.get("/deployments", *(() if configs else (("exclude_configs", "true"),))))

    def manifest(self, name: str) -> str:
        return str(_row(self.get(f"/deployments/{name}")).get("manifest") or "")

    def deployment_configs(self, name: str) -> list[dict[str, Any]]:
        return _rows(self.get("/deployment_configs", ("deployment[]", name)))

    def diff_deployment(self, name: str, manifest: str, *, redact: bool) -> dict[str, Any]:
        query = [("redact", "true" if redact else "false")]
        return _row(
            self.request("POST", f"/deployments/{name}/diff", query=query, content=manifest.encode(), headers={"Content-Type": YAML}).json()
        )

    def plan_deployment(self, name: str, manifest: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """What a deploy would do, as `{"text", "plan"}`; nothing is written. An addition of ours to the contract."""
        media = {"Content-Type": YAML}
        return _row(
            self.request("POST", f"/deployments/{name}/plan", query=_pairs(options), content=manifest.encode(), headers=media).json()
        )

    def deploy(self, manifest: str, options: Mapping[str, Any]) -> dict[str, Any]:
        return self.start("POST", "/deployments", query=options, text=manifest)

    def deploy_plan(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Start the deploy that a kept plan describes. An addition of ours to the contract."""
        content = json.dumps(plan, separators=(",", ":")).encode()
        return _task(self.request("POST", "/deployments", content=content, headers={"Content-Type": PLAN}).json(), "/deployments")

    def delete_deployment(self, name: str, *, force: bool) -> dict[str, Any]:
        return self.start("DELETE", f"/deployments/{name}", query={"force": force})

    def variables(self, name: str) -> list[dict[str, Any]]:
        return _rows(self.get(f"/deployments/{name}/variables"))

    def variable_details(self, name: str = "") -> list[dict[str, Any]]:
        """With types, versions and uses; of all deployments without a name."""
        return _rows(self.get(f"/deployments/{name}/variables", ("details", "true")) if name else self.get("/variables"))

    def variable_versions(self, name: str) -> list[dict[str, Any]]:
        """Of a whole name."""
        return _rows(self.get(f"/variables{name}"))

    def set_variable(self, name: str, deployment: str, kind: str, value: Any) -> dict[str, Any]:
        body = {"name": name, "deployment": deployment, "type": kind, "value": value}
        return _row(self.request("PUT", "/variables", json=body).json())

    def reveal_variable(self, name: str, deployment: str, version: str) -> dict[str, Any]:
        body = {"name": name, "deployment": deployment, **({"id": version} if version else {})}
        return _row(self.request("POST", "/variables/reveal", json=body).json())

    def certificates(self) -> list[dict[str, Any]]:
        """Those that deployments use."""
        return _rows(self.get("/certificate_expiry"))

    def own_certificates(self) -> list[dict[str, Any]]:
        """The director's."""
        return _rows(self.get("/director/certificate_expiry"))

    def rotations(self) -> list[dict[str, Any]]:
        return _rows(self.get("/rotations"))

    def rotate(self, names: Sequence[str], signed_by: str, deployment: str, *, undo: bool, dry_run: bool) -> dict[str, Any]:
        body = {"names": list(names), "signed_by": signed_by, "deployment": deployment, "undo": undo, "dry_run": dry_run}
        return self.start("POST", "/rotations", json=body)

    def errands(self, name: str) -> list[dict[str, Any]]:
        return _rows(self.get(f"/deployments/{name}/errands"))

    def run_errand(self, name: str, errand: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self.start("POST", f"/deployments/{name}/errands/{errand}/runs", json=dict(body))

    def instances(self, name: str) -> list[dict[str, Any]]:
        """What the director recorded, at once; a row each."""
        return _rows(self.get(f"/deployments/{name}/instances"))

    def instance(self, name: str, group: str, instance: str) -> dict[str, Any]:
        """One instance, by id or index."""
        return _row(self.get(f"/deployments/{name}/jobs/{group}/{instance}"))

    def fetch_instances(self, name: str, kind: str) -> dict[str, Any]:
        """Start the task that asks the machines; `kind` is instances or vms, the result is JSON lines."""
        return self.start("GET", f"/deployments/{name}/{kind}", query={"format": "full"})

    def change_state(self, name: str, group: str, instance: str, state: str, options: Mapping[str, Any]) -> dict[str, Any]:
        target = "/".join(filter(None, [group or "*", instance]))
        return self.start("PUT", f"/deployments/{name}/jobs/{target}", query={"state": state, **options}, text="")

    def instance_action(self, name: str, group: str, instance: str, action: str, options: Mapping[str, Any]) -> dict[str, Any]:
        return self.start("POST", f"/deployments/{name}/instance_groups/{group}/{instance}/actions/{action}", query=options, json={})

    def ignore(self, name: str, group: str, instance: str, *, ignored: bool) -> None:
        """Leave an instance alone from now on, or no longer."""
        self.request("PUT", f"/deployments/{name}/instance_groups/{group}/{instance}/ignore", json={"ignore": ignored})

    def fetch_logs(self, name: str, group: str, instance: str, query: Mapping[str, Any]) -> dict[str, Any]:
        return self.start("GET", f"/deployments/{name}/jobs/{group or '*'}/{instance or '*'}/logs", query=query)

    def ssh(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self.start("POST", f"/deployments/{name}/ssh", json=dict(body))

    # Releases and stemcells

    def releases(self) -> list[dict[str, Any]]:
        return _rows(self.get("/releases"))

    def release(self, name: str, version: str) -> dict[str, Any]:
        return _row(self.get(f"/releases/{name}", ("version", version)))

    def stemcells(self) -> list[dict[str, Any]]:
        return _rows(self.get("/stemcells"))

    def stemcell_needed(self, name: str, version: str) -> bool:
        return bool(_row(self.request("POST", "/stemcell_uploads", json={"stemcell": {"name": name, "version": version}}).json())["needed"])

    def upload_url(self, kind: str, url: str, sha1: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """`kind` is releases or stemcells; the director fetches the archive itself."""
        return self.start("POST", f"/{kind}", query=query, json={"location": url, **({"sha1": sha1} if sha1 else {})})

    def upload_file(self, kind: str, path: pathlib.Path, query: Mapping[str, Any], pieces: Iterator[bytes] | None = None) -> dict[str, Any]:
        """Send an archive piece by piece; `pieces` may be given to watch the progress."""
        headers = {"Content-Type": TARBALL, "Content-Length": str(path.stat().st_size)}
        response = self.request("POST", f"/{kind}", query=_pairs(query), content=pieces or pieces_of(path), headers=headers)
        return _task(response.json(), f"/{kind}")

    def export_release(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Start the task whose result names the archive's blob and digest."""
        return self.start("POST", "/releases/export", json=dict(body))

    def package_matches(self, manifest: str, *, compiled: bool) -> set[str]:
        """Fingerprints of packages that need not be sent. Whatever goes wrong, everything is sent then."""
        path = "/packages/matches_compiled" if compiled else "/packages/matches"
        try:
            found = self.request("POST", path, content=manifest.encode(), headers={"Content-Type": YAML}).json()
        except DirectorError:
            return set()
        return {str(item) for item in found} if isinstance(found, list) else set()

    def delete_release(self, name: str, version: str, *, force: bool) -> dict[str, Any]:
        return self.start("DELETE", f"/releases/{name}", query={"version": version or None, "force": force})

    def delete_stemcell(self, name: str, version: str, *, force: bool) -> dict[str, Any]:
        return self.start("DELETE", f"/stemcells/{name}/{version}", query={"force": force})

    # Configs

    def configs(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        return _rows(self.get("/configs", *_pairs(query)))

    def config(self, config_id: str) -> dict[str, Any]:
        return _row(self.get(f"/configs/{config_id}"))

    def update_config(self, body: Mapping[str, Any], *, force: bool = False) -> dict[str, Any]:
        return _row(self.request("POST", "/configs", query=_pairs({"force": force}), json=dict(body)).json())

    def diff_config(self, body: Mapping[str, Any], *, redact: bool = True) -> dict[str, Any]:
        query = [] if redact else [("redact", "false")]
        return _row(self.request("POST", "/configs/diff", query=query, json=dict(body)).json())

    def delete_config(self, *, config_id: str = "", type_: str = "", name: str = "", force: bool = False) -> bool:
        """Whether there was one."""
        query = _pairs({"type": type_ or None, "name": name or None, "force": force})
        try:
            self.request("DELETE", f"/configs/{config_id}" if config_id else "/configs", query=query)
        except DirectorError as error:
            if error.status == 404:
                return False
            raise
        return True

    # Disks and the rest

    def orphaned_disks(self) -> list[dict[str, Any]]:
        return _rows(self.get("/disks"))

    def names(self) -> dict[str, Any]:
        """How far the DNS records have come."""
        return _row(self.get("/dns"))

    def query_name(self, name: str, group: str, instance: str, query: str, kind: str) -> dict[str, Any]:
        """Start the task that asks an instance's resolver why it answers as it does; its result is JSON."""
        body = {"group": group, "instance": instance, "name": query, "type": kind}
        return self.start("POST", f"/deployments/{name}/dns_queries", json=body)

    def orphaned_vms(self) -> list[dict[str, Any]]:
        return _rows(self.get("/orphaned_vms"))

    def orphaned_networks(self) -> list[dict[str, Any]]:
        return _rows(self.get("/networks", ("orphaned", "true")))

    def delete_network(self, name: str) -> dict[str, Any]:
        return self.start("DELETE", f"/networks/{quote(name, safe='')}")

    def delete_disk(self, cid: str) -> dict[str, Any]:
        return self.start("DELETE", f"/disks/{quote(cid, safe='')}")

    def check_cloud(self, cpi: str, timeout: int | None = None) -> dict[str, Any]:
        """Start the task whose result has a line of JSON for each check. `timeout` is for all of them, in seconds."""
        return self.start("POST", "/cloud_checks", json={"cpi": cpi, **({} if timeout is None else {"timeout": timeout})})

    def cloud_orphans(self, cpi: str | None = None) -> dict[str, Any]:
        """Start the task whose result has a line of JSON for each orphan."""
        return self.start("POST", "/cloud_orphans", json={} if cpi is None else {"cpi": cpi})

    def remove_cloud_orphans(self, chosen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return self.start("POST", "/cloud_orphans/deletions", json={"orphans": list(chosen)})

    def clean_up(self, *, remove_all: bool, keep_orphaned_disks: bool) -> dict[str, Any]:
        return self.start("POST", "/cleanup", json={"config": {"remove_all": remove_all, "keep_orphaned_disks": keep_orphaned_disks}})

    def download(self, blob_id: str, path: pathlib.Path, watch: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Write a blob to `path`, piece by piece; `watch` is told how many bytes are there, and how many there will be (0: unknown)."""
        import httpx

        try:
            with self._http.stream("GET", f"/resources/{quote(blob_id, safe='')}", auth=self._auth) as response:
                if response.status_code != 200:
                    response.read()
                    raise _refusal("GET", f"/resources/{blob_id}", response)
                total = int(response.headers.get("Content-Length") or 0)
                with path.open("wb") as stream:
                    for piece in response.iter_bytes():
                        stream.write(piece)
                        watch(stream.tell(), total)
        except httpx.TransportError as error:
            raise _unreachable(str(self._http.base_url), error) from error


def pieces_of(path: pathlib.Path) -> Iterator[bytes]:
    """A file's content without holding it in memory."""
    with path.open("rb") as stream:
        while piece := stream.read(UPLOAD_PIECE):
            yield piece


def _pairs(query: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    return [
        (key, "true" if value is True else str(value)) for key, value in (query or {}).items() if value is not None and value is not False
    ]


def _rows(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list):
        raise DirectorError("The director answered with something that is no list", suggestion="Is this a director?")
    return found


def _row(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise DirectorError("The director answered with something that is no map", suggestion="Is this a director?")
    return found


def _task(found: Any, path: str) -> dict[str, Any]:
    if not isinstance(found, dict) or not isinstance(found.get("id"), int):
        raise DirectorError(f"The director answered '{path}' without a task", suggestion="Is this a director?")
    return found


def _refusal(method: str, path: str, response: httpx.Response) -> DirectorError:
    status, body = response.status_code, response.text
    try:
        told = response.json()
    except ValueError:
        told = None
    if status == 401 and not isinstance(told, dict):
        return DirectorError(
            "The director does not know you",
            status=status,
            body=body,
            suggestion="Log in with 'caisson log-in', or set BOSH_CLIENT and BOSH_CLIENT_SECRET.",
        )
    if isinstance(told, dict) and isinstance(told.get("diagnostics"), list) and told["diagnostics"]:
        return DirectorError(*[diagnostic_of(item) for item in told["diagnostics"]], status=status, body=body)
    if isinstance(told, dict) and told.get("description"):
        return DirectorError(str(told["description"]), code=told.get("code"), status=status, body=body)
    return DirectorError(
        f"Director responded with non-successful status code '{status}' to {method} {path}: {body.strip()[:2000]}", status=status, body=body
    )


def diagnostic_of(item: Mapping[str, Any]) -> Diagnostic:
    """A diagnostic in the shape the API and event lines send it."""
    where = item.get("where")
    return Diagnostic(
        summary=str(item.get("summary", "")),
        detail=str(item.get("detail", "")),
        where=Where(**{key: where[key] for key in ("file", "line", "path") if key in where}) if isinstance(where, dict) else None,
        suggestion=str(item.get("suggestion", "")),
        code=item.get("code"),
    )


def _unreachable(url: str, error: Exception) -> DirectorError:
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return DirectorError(
            f"The certificate of {url} is not trusted: {text}",
            suggestion="Give its CA with --ca-cert, or make the alias again: 'caisson alias-env NAME -e URL --ca-cert FILE'.",
        )
    return DirectorError(
        f"No answer from the director at {url}: {text}",
        suggestion="Is it running? See 'caisson director status', start it with 'caisson director start'.",
    )
