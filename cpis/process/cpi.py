"""A BOSH CPI executable behind our contract.

What BOSH's contract lacks is done here, as far as it can be from outside:

* Tokens. Each creation is written down (in `state_dir`) before the call and after its answer, so the same token gives the same thing
  again. Machines carry the token as the tag `caisson-token` (`env.bosh.tags`, where the CPI puts tags in the creating request), disks and
  snapshots as metadata right after. `find` and `owned` answer what is written down. Of a creation whose answer was lost nobody knows the
  CID: it is not repeated, `owned` lists it without one, and `checks` names the tag to look for in the cloud.
* Deletions of what is gone are success; detaching what is not attached, too.
* Our own executables say so in `info`; to them tokens, logins and metadata travel in the context, and `find` and `owned` ask the cloud.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cpis import hurry
from cpis.cloud.keyed import OnePerToken
from cpis.contract import (
    Check,
    CpiError,
    CpiInfo,
    DiskHint,
    DiskRequest,
    Found,
    Invalid,
    MadeNetwork,
    NetworkRequest,
    NotFound,
    NotSupported,
    Properties,
    Unavailable,
    Uses,
    Vm,
    VmRequest,
    VmResources,
)
from cpis.process import answers
from cpis.process.run import Executable, Runner, run
from cpis.process.tokens import Made, Tokens, shape_of
from cpis.wire import convert
from cpis.wire.errors import DiskNotAttached

_KEYS = ("path", "args", "properties", "ssh_user", "director", "state_dir")
_SPOKEN = 3
_STEMCELL_VERSION = 2
TOKEN_TAG = "caisson-token"

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Told:
    """What `info` says. `version` is the one we speak with it, None when it told none (that is 1)."""

    formats: tuple[str, ...]
    version: int | None
    ours: bool


class ProcessCpi:
    """Implements `cpis.contract.Cpi` over an executable; the module tells how.

    `config`: `path` of the executable (required), `args` (a list), `properties` (sent in the context of each call, where they win over the
    executable's own configuration file), `ssh_user` (the login user that the images have, when it is not the director's), `director` (the
    mark, and the `director_uuid` of calls), `state_dir` (a folder for what the tokens made; without it that is forgotten with the process).
    """

    name = "process"

    def __init__(
        self, config: Mapping[str, Any], *, clock: Callable[[], float] = time.time, runner: Runner = run,
        number: Callable[[], int] | None = None,
    ) -> None:
        settings = _checked(config)
        self._director = str(settings.get("director") or "caisson")
        self._ssh_user = str(settings.get("ssh_user") or "")
        command = (settings["path"], *settings.get("args", ()))
        more = {} if number is None else {"number": number}
        self._executable = Executable(command, self._director, settings.get("properties") or {}, runner, **more)
        folder = settings.get("state_dir")
        self._tokens = Tokens(Path(folder) / "tokens" if folder else None)
        self._clock = clock
        self._once = OnePerToken()
        self._lock = threading.Lock()
        self._told: _Told | None = None

    # How a call goes

    def _about(self) -> _Told:
        with self._lock:
            if self._told is None:
                self._told = _told(self._executable.call("info", []))
            return self._told

    def _call(self, method: str, *arguments: Any, token: str = "", more: Mapping[str, Any] | None = None) -> Any:
        told = self._about()
        context: Tree = {"vm": {"stemcell": {"api_version": _STEMCELL_VERSION}}}
        if told.ours:
            context["caisson"] = {"director": self._director, **({"token": token} if token else {}), **(more or {})}
        return self._executable.call(method, arguments, version=told.version, more=context)

    def _create(
        self, kind: str, token: str, shape: str, metadata: Mapping[str, str], act: Callable[[], Any], cid_of: Callable[[Any], str] = str,
        source: str = "",
    ) -> Any:
        """Do it once for the token, and answer alike ever after. An error from the executable says that nothing is left; only of a lost
        answer is nothing known, and then the call is not made a second time, for it would make a second thing."""
        with self._once(token):
            if self._about().ours:
                return act()
            row = self._tokens.of_shape(token, shape)
            if row is not None and row.cid:
                return row.answer
            if row is not None:
                raise CpiError(f"a {kind} may have been made for the token '{token}', and its answer was lost", suggestion=_lost(token))
            begun = Made(token, kind, shape, self._clock(), metadata=dict(metadata), source=source)
            self._tokens.put(begun)
            try:
                answer = act()
            except Unavailable as error:
                raise CpiError(error.message, request_id=error.request_id, resource=error.resource, suggestion=_lost(token)) from error
            except CpiError:
                self._tokens.drop(token)
                raise
            self._tokens.put(dataclasses.replace(begun, cid=cid_of(answer), answer=answer))
            return answer

    def _delete(self, kind: str, method: str, cid: str) -> None:
        with contextlib.suppress(NotFound):
            self._call(method, cid)
        self._tokens.drop_cid(kind, cid)

    # Contract

    def info(self) -> CpiInfo:
        told = self._about()
        return CpiInfo(told.formats, told.version or 1)

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        more = ({"tags": {"director": self._director, TOKEN_TAG: token}},) if (self._about().version or 1) >= 3 else ()
        given = (image_path, dict(cloud_properties), *more)
        return str(self._create(
            "stemcell", token, shape_of(dict(cloud_properties)), {},
            lambda: answers.cid(self._call("create_stemcell", *given, token=token), "create_stemcell")))

    def delete_stemcell(self, cid: str) -> None:
        self._delete("stemcell", "delete_stemcell", cid)

    def create_vm(self, request: VmRequest) -> Vm:
        if not any(network.type != "vip" for network in request.networks):
            raise Invalid("a machine needs a manual or dynamic network")
        shape = shape_of(
            request.agent_id, request.stemcell_cid, dict(request.cloud_properties), [dataclasses.asdict(item) for item in request.networks])
        made = self._create("vm", request.token, shape, request.metadata, lambda: self._made_vm(request), lambda vm: str(vm["cid"]))
        return answers.vm_from(made)

    def _made_vm(self, request: VmRequest) -> Tree:
        told = self._about()
        networks = {network.name: convert.network_to(network) for network in request.networks}
        env = dict(request.env) if told.ours else self._env(request)
        result = self._call(
            "create_vm", request.agent_id, request.stemcell_cid, dict(request.cloud_properties), networks, list(request.disk_cids), env,
            token=request.token, more={"login": convert.login_to(request.login), "metadata": dict(request.metadata)})
        cid = answers.vm_cid(result)
        try:
            vm = answers.vm(result, cid, request.networks, self._ssh_user, ours=told.ours)
            if not told.ours:
                self._try_metadata("set_vm_metadata", cid, {**request.metadata, TOKEN_TAG: request.token})
        except CpiError:
            self._delete("vm", "delete_vm", cid)
            raise
        return answers.vm_to(vm)

    def _env(self, request: VmRequest) -> Tree:
        """The machine's, with our key for those agents that put it in, and tags for those clouds that take them at once."""
        bosh = dict(request.env.get("bosh") or {})
        tags = {**(bosh.get("tags") or {}), **request.metadata, TOKEN_TAG: request.token}
        keys = [*(bosh.get("authorized_keys") or ()), request.login.public_key]
        return {**request.env, "bosh": {**bosh, "tags": tags, "authorized_keys": [key for key in keys if key]}}

    def _try_metadata(self, method: str, cid: str, metadata: Mapping[str, str]) -> None:
        """As a BOSH director: a CPI without the method is no error."""
        with contextlib.suppress(NotSupported):
            self._call(method, cid, dict(metadata))

    def delete_vm(self, cid: str) -> None:
        self._delete("vm", "delete_vm", cid)

    def has_vm(self, cid: str) -> bool:
        return answers.truth(self._call("has_vm", cid), "has_vm")

    def reboot_vm(self, cid: str) -> None:
        self._call("reboot_vm", cid)

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self._retag("vm", "set_vm_metadata", cid, metadata)

    def _retag(self, kind: str, method: str, cid: str, metadata: Mapping[str, str]) -> None:
        """Some CPIs replace metadata whole, and a thing must stay findable in the cloud."""
        row = next((row for row in self._tokens.all() if (row.kind, row.cid) == (kind, cid)), None)
        self._try_metadata(method, cid, {**metadata, TOKEN_TAG: row.token} if row else metadata)
        if row is not None:
            kept = {key: str(value) for key, value in metadata.items() if value not in (None, "")}
            self._tokens.put(dataclasses.replace(row, metadata=kept))

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        wanted = {"cpu": resources.cpu, "ram": resources.ram_mib, "ephemeral_disk_size": resources.ephemeral_disk_size_mib}
        try:
            result = self._call("calculate_vm_cloud_properties", wanted)
        except CpiError as error:
            if type(error) is not CpiError:
                raise
            raise Invalid(error.message, code=error.code, request_id=error.request_id) from error  # it looks nothing up but sizes
        return answers.tree(result, "calculate_vm_cloud_properties")

    def create_disk(self, request: DiskRequest) -> str:
        if request.size_mib < 1:
            raise Invalid(f"a disk must have at least 1 MiB, not {request.size_mib}")
        shape = shape_of(request.size_mib, dict(request.cloud_properties))
        return str(self._create("disk", request.token, shape, request.metadata, lambda: self._made_disk(request)))

    def _made_disk(self, request: DiskRequest) -> str:
        result = self._call(
            "create_disk", request.size_mib, dict(request.cloud_properties), request.vm_cid or None, token=request.token,
            more={"metadata": dict(request.metadata)})
        cid = answers.cid(result, "create_disk")
        if not self._about().ours:
            try:
                self._try_metadata("set_disk_metadata", cid, {**request.metadata, TOKEN_TAG: request.token})
            except CpiError:
                self._delete("disk", "delete_disk", cid)
                raise
        return cid

    def delete_disk(self, cid: str) -> None:
        """Most CPIs leave the snapshots, which a BOSH director deletes by itself."""
        self._delete("disk", "delete_disk", cid)
        for row in self._tokens.all():
            if row.kind == "snapshot" and row.source == cid and row.cid:
                self.delete_snapshot(row.cid)

    def has_disk(self, cid: str) -> bool:
        return answers.truth(self._call("has_disk", cid), "has_disk")

    def attach_disk(self, vm_cid: str, disk_cid: str) -> DiskHint:
        hint = convert.hint_from(self._call("attach_disk", vm_cid, disk_cid))
        if hint is None:
            raise NotSupported(
                "the CPI does not say where the machine finds the disk, as CPIs of contract version 1 do not",
                resource=disk_cid, kind="disk", suggestion="Use a CPI release that speaks version 2.")
        return hint

    def detach_disk(self, vm_cid: str, disk_cid: str) -> None:
        with contextlib.suppress(NotFound, DiskNotAttached):
            self._call("detach_disk", vm_cid, disk_cid)

    def resize_disk(self, cid: str, size_mib: int) -> None:
        self._call("resize_disk", cid, size_mib)

    def update_disk(self, cid: str, size_mib: int, cloud_properties: Properties) -> str:
        """A CPI answers null, the same CID or a new one."""
        updated = self._call("update_disk", cid, size_mib, dict(cloud_properties))
        after = cid if updated is None else answers.cid(updated, "update_disk")
        for row in self._tokens.all():
            if after != cid and (row.kind, row.cid) == ("disk", cid):
                self._tokens.put(dataclasses.replace(row, cid=after, answer=after))
        return after

    def set_disk_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self._retag("disk", "set_disk_metadata", cid, metadata)

    def get_disks(self, vm_cid: str) -> Sequence[str]:
        return answers.texts(self._call("get_disks", vm_cid), "get_disks")

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        tagged = dict(metadata) if self._about().ours else {**metadata, TOKEN_TAG: token}
        return str(self._create(
            "snapshot", token, shape_of(cid), metadata,
            lambda: answers.cid(self._call("snapshot_disk", cid, tagged, token=token), "snapshot_disk"), source=cid))

    def delete_snapshot(self, cid: str) -> None:
        self._delete("snapshot", "delete_snapshot", cid)

    def create_network(self, request: NetworkRequest) -> MadeNetwork:
        spec = {
            "type": request.type, "cloud_properties": dict(request.cloud_properties), "range": request.range, "gateway": request.gateway,
            "netmask_bits": request.netmask_bits,
        }
        told = {key: value for key, value in spec.items() if value not in ("", None)}
        made = self._create(
            "network", request.token, shape_of(spec), {},
            lambda: answers.network(self._call("create_network", told, token=request.token)), lambda answer: str(answer["cid"]))
        return answers.network_from(made)

    def delete_network(self, cid: str) -> None:
        self._delete("network", "delete_network", cid)

    # Sweeping

    def find(self, token: str) -> Sequence[Found]:
        """What is written down for the token; our own executables ask the cloud. See the module for what cannot be told."""
        if self._about().ours:
            return answers.many(self._call("caisson_find", token), "caisson_find", Found)
        row = self._tokens.get(token)
        return [_found(row)] if row is not None and row.cid and self._there(row) else []

    def owned(self) -> Sequence[Found]:
        """With an empty CID: what may have been made, and whose answer was lost."""
        if self._about().ours:
            return answers.many(self._call("caisson_owned"), "caisson_owned", Found)
        return [_found(row) for row in self._tokens.all() if not row.cid or self._there(row)]

    def _there(self, row: Made) -> bool:
        """Snapshots, images and networks cannot be asked for; a snapshot goes with its disk."""
        if row.kind in ("vm", "disk"):
            there = self.has_vm(row.cid) if row.kind == "vm" else self.has_disk(row.cid)
            if not there:
                self._tokens.drop(row.token)
            return there
        return True

    def remove(self, found: Found) -> None:
        """Forget a creation whose answer was lost, when somebody has looked for what it made. Our own executables delete more."""
        if not found.cid:
            self._tokens.drop(found.token)
        elif self._about().ours:
            self._call("caisson_remove", {"kind": found.kind, "cid": found.cid, "token": found.token})
        else:
            raise NotSupported(f"a {found.kind} is not deleted by itself", resource=found.cid, kind=found.kind)

    def checks(self, uses: Uses) -> Iterator[Check]:
        """Whether the executable answers; of our own ones all that they check; what may be in the cloud without a record."""
        try:
            told = self._about()
        except CpiError as error:
            yield Check.failed(f"{self._executable.path} answers", "reach", error)
            return
        yield Check(f"{self._executable.path} answers", "reach", True, f"contract version {told.version or 1}")
        if told.ours:
            yield from self._inner_checks(uses)
        else:
            yield Check(
                "what it may do in its cloud", "permission", None, "BOSH's contract has no question for that",
                "Try it: `caisson conformance --cpi process`.")
        for row in self._tokens.all():
            if not row.cid:
                yield Check(
                    f"creation of a {row.kind}", "storage", False, f"its answer was lost at {_time(row.created_at)}: there may be one",
                    _lost(row.token))

    def _inner_checks(self, uses: Uses) -> list[Check]:
        """What our own executable finds in its cloud, in the time that is left."""
        hurried = hurry.current()
        try:
            told = self._call("caisson_checks", dataclasses.asdict(uses), *([] if hurried is None else [hurried.left()]))
            return answers.many(told, "caisson_checks", Check)
        except NotSupported:
            return []
        except CpiError as error:
            return [Check.failed(self._executable.path, "reach", error)]

    def close(self) -> None:
        """No process outlives its call."""


def _checked(config: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = sorted(set(config) - set(_KEYS))
    if unknown:
        raise Invalid(f"the process CPI has no setting '{unknown[0]}'", suggestion=f"known: {', '.join(_KEYS)}")
    path, args = config.get("path"), config.get("args") or []
    if not isinstance(path, str) or not path:
        raise Invalid("the process CPI needs 'path', the executable of a BOSH CPI")
    if not isinstance(args, list | tuple) or not all(isinstance(item, str) for item in args):
        raise Invalid("'args' of the process CPI must be a list of strings")
    if not isinstance(config.get("properties") or {}, Mapping):
        raise Invalid("'properties' of the process CPI must be a hash")
    return {**config, "args": tuple(args)}


def _told(result: Any) -> _Told:
    """Of the answer of `info`."""
    told = answers.tree(result, "info")
    version = told.get("api_version")
    formats = told.get("stemcell_formats")
    return _Told(
        tuple(map(str, formats)) if isinstance(formats, list) else (),
        min(version, _SPOKEN) if isinstance(version, int) and not isinstance(version, bool) else None, bool(told.get("caisson")))


def _lost(token: str) -> str:
    return f"Look in the cloud for the tag {TOKEN_TAG}={token}, and delete what has it."


def _found(row: Made) -> Found:
    return Found(row.kind, row.cid, row.token, row.metadata, row.created_at)


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


__all__ = ["ProcessCpi"]
