"""What every operation is given. Dependencies come in here and nowhere else."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cpis import contract
from director.blobs import LocalBlobstore
from director.errors import CaissonError
from director.execute import progress
from director.execute.blob_urls import BlobUrls
from director.execute.clouds import Clouds
from director.execute.journal import Journal
from director.machine.agent import Agent
from director.machine.endpoint import Endpoint
from director.machine.keys import KeyPair
from director.machine.machines import Machines
from director.render.renderer import Renderer
from director.state import Store
from director.state.vms import VmRow
from director.variables import Vault


class Publishing:
    """`begun` counts how often the records were looked at, under the `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begun = 0


@dataclasses.dataclass(frozen=True)
class Director:
    """Who this director is. `secret` (32 bytes) seeds the first host keys of machines; `recursors` resolve what is not ours;
    `publishing` makes one version of the DNS records at a time, since they are one for all deployments. `names_wait` is how many seconds
    a deploy waits for machines to take new records before it goes on."""

    name: str
    uuid: str
    login: KeyPair
    secret: bytes = dataclasses.field(repr=False)
    domain: str = "bosh"
    use_dns_addresses: bool = False
    recursors: tuple[str, ...] = ()
    names_wait: float = 20.0
    publishing: Publishing = dataclasses.field(default_factory=Publishing, repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class Context:
    """One operation's surroundings. `cancel` is set when the task is to end, `check` raises Cancelled then; `sleep` takes seconds.
    `blob_urls` is there where machines may fetch blobs themselves. `lock(NAME, seconds)` holds a lock of this task's while its block
    runs, and raises ConflictError when another task keeps it for longer. `redact` takes known secrets out of a text;
    `task_events` are the event lines of an earlier task, as far as they are kept."""

    director: Director
    store: Store
    blobs: LocalBlobstore
    vault: Vault
    clouds: Clouds
    machines: Machines
    renderer: Renderer
    journal: Journal
    log: progress.Log
    cancel: threading.Event
    check: Callable[[], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    new_id: Callable[[], str]
    user: str
    task_id: int
    deployment: str = ""
    threads: int = 32
    blob_urls: BlobUrls | None = None
    lock: Callable[[str, float], contextlib.AbstractContextManager[None]] = lambda name, seconds: contextlib.nullcontext()
    redact: Callable[[str], str] = lambda text: text
    task_events: Callable[[int], bytes] = lambda task_id: b""

    def cpi(self, name: str) -> contract.Cpi:
        """The CPI of that name in the CPI config, or the director's own for the empty name."""
        return self.clouds.get(name)

    def agent(self, vm: VmRow) -> Agent:
        """A connected agent on that machine. Raises Unreachable, HostKeyChanged.

        A machine that shows its next host key has activated it before we could record that: it is recorded now. So is the first key of one
        whose cloud took none from us, and from then on no other is accepted.
        """
        agent = self.machines.get(Endpoint(
            cid=vm.cid, address=vm.address, host_public_key=vm.host_public_key, port=vm.ssh_port, user=vm.ssh_user,
            next_host_public_key=vm.pending_host_public_key, trust_first=bool(vm.notes.get("unknown_host_key")),
        ))
        if not vm.host_public_key and vm.notes.get("unknown_host_key"):
            self.store.vms.update(vm.cid, host_public_key=agent.host_public_key)
        if vm.pending_host_public_key and agent.host_public_key == vm.pending_host_public_key:
            self.store.vms.update(vm.cid, host_public_key=vm.pending_host_public_key, pending_host_public_key="")
        return agent

    @contextlib.contextmanager
    def event(
        self, action: str, kind: str, name: str, *, instance: str = "", context: dict[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """An operation with an event at its beginning and one at its end, which carries the error if it failed.

        What is put into the yielded context stands in the event of the end. An error inside is told with the instance as its place.
        """
        found = dict(context or {})

        def add(parent_id: int | None, error: str) -> int:
            return self.store.events.add(
                action, kind, name, user=self.user, task=self.task_id, deployment=self.deployment, instance=instance, context=dict(found),
                parent_id=parent_id, error=error,
            )

        start = add(None, "")
        try:
            yield found
        except CaissonError as error:
            add(start, error.message)
            if instance:
                raise error.at(instance) from error
            raise
        add(start, "")
