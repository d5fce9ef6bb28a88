"""Packages that have no compiled form yet are compiled, on machines made for it. Source: release contract, section 10."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from director.diagnostics import Where
from director.errors import PlanError, ScriptFailed
from director.execute import parallel
from director.execute.context import Context
from director.execute.prepare import Prepared
from director.execute.progress import Stage
from director.execute.steps import blobs
from director.execute.steps.create_vm import create_vm, wish_of
from director.execute.steps.delete_vm import delete_vm
from director.execute.steps.orphan_vm import orphan_vm
from director.machine.agent import Agent, Dependency, bare
from director.manifest.model import CloudConfig, UpdatePolicy
from director.plan import model
from director.plan.addresses import Pools, number_of
from director.plan.packages import ReleasePackages
from director.release.model import PackageSpec, Stemcell
from director.state.addresses import AddressRow
from director.state.blobs import BlobRow
from director.state.compiled_packages import CompiledPackageRow
from director.state.vms import VmRow

PURPOSE = "compilation"
LOCK_SECONDS = 900.0


@dataclasses.dataclass(frozen=True)
class Workshop:
    """Whose compilation machines: a deployment's, with its cloud config. `stemcells` are by `OS/VERSION`, `fill` fills in variables."""

    deployment: str
    cloud: CloudConfig
    stemcells: Mapping[str, Stemcell]
    fill: Callable[[dict[str, Any]], dict[str, Any]] = dataclasses.field(repr=False)
    tags: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def compile_packages(ctx: Context, prepared: Prepared) -> None:
    """Compile what the plan lists."""
    specs = [placed.spec for placed in prepared.blueprint.instances]
    stemcells = {
        f"{spec.stemcell_os}/{spec.stemcell_version}": Stemcell(spec.stemcell_name, spec.stemcell_version, spec.stemcell_os)
        for spec in specs
    }
    shop = Workshop(prepared.manifest.name, prepared.cloud, stemcells, prepared.fill, prepared.manifest.tags)
    compile_all(ctx, shop, prepared.plan.compilations)


def compile_all(ctx: Context, shop: Workshop, todo: Sequence[model.Compile]) -> None:
    """Compile, dependencies first, on at most `compilation.workers` machines, which are gone afterwards."""
    stage = ctx.log.stage("Preparing package compilation", 1)
    with stage.step("Finding packages to compile"):
        pass
    if todo:
        _Compilation(ctx, shop, todo, ctx.log.stage("Compiling packages", len(todo))).run()


@dataclasses.dataclass
class _Worker:
    """A machine that compiles, with its address."""

    vm: VmRow
    stemcell: str


class _Compilation:
    """One task's compilations. Workers take what is ready; the first failure stops what has not begun."""

    def __init__(self, ctx: Context, shop: Workshop, todo: Sequence[model.Compile], stage: Stage) -> None:
        self._ctx, self._shop, self._stage = ctx, shop, stage
        self._config = shop.cloud.compilation
        self._all = {item.key for item in todo}
        self._todo = list(todo)
        self._done: set[str] = set()
        self._failed = False
        self._changed = threading.Condition()
        self._idle: list[_Worker] = []
        self._addresses = threading.Lock()

    def run(self) -> None:
        workers = min(self._config.workers, len(self._todo))
        try:
            parallel.each(range(workers), lambda _: self._work(), workers)
        finally:
            parallel.each(list(self._idle), self._dismiss, self._ctx.threads)

    def _work(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._ctx.check()
                self._one(item)
            except BaseException:
                with self._changed:
                    self._failed = True
                    self._changed.notify_all()
                raise
            with self._changed:
                self._done.add(item.key)
                self._changed.notify_all()

    def _next(self) -> model.Compile | None:
        """Something whose dependencies are compiled, waited for; None when nothing is left or something failed."""
        with self._changed:
            while self._todo and not self._failed:
                waiting = {item.key for item in self._todo}
                ready = [item for item in self._todo if not waiting & set(item.after) and not set(item.after) & self._running(waiting)]
                if ready:
                    self._todo.remove(ready[-1])
                    return ready[-1]
                self._changed.wait()
            return None

    def _running(self, waiting: set[str]) -> set[str]:
        return self._all - waiting - self._done

    def _one(self, item: model.Compile) -> None:
        with self._stage.step(f"{item.package}/{item.fingerprint}"), self._ctx.lock(f"lock:compile:{item.key}", LOCK_SECONDS):
            if self._ctx.store.compiled_packages.find(item.key) is None:  # another deployment may have done it meanwhile
                self._made(item)

    def _made(self, item: model.Compile) -> None:
        with self._machine(item) as agent:
            package = self._package(item)
            dependencies = self._dependencies(item, package)
            for digest in (package.digest, *(row.digest for row in dependencies)):
                self._send(agent, digest, package)
            try:
                made = agent.compile_package(
                    package.name, package.version, self._sha256(package),
                    [Dependency(row.name, f"{row.version}.{row.build}", row.digest) for row in dependencies], cancel=self._ctx.cancel,
                )
            except ScriptFailed as error:
                raise _failed(item, error) from error
            self._keep(agent, item, package, made.path, made.digest, made.size)

    def _send(self, agent: Agent, digest: str, package: PackageSpec) -> None:
        wanted = self._sha256(package) if digest == package.digest else digest
        for missing in agent.missing_blobs([wanted]):
            blobs.send_one(self._ctx, agent, missing)

    def _sha256(self, package: PackageSpec) -> str:
        """The source's digest as machines verify it; releases of old tools carry SHA-1, the blob's row both."""
        return "sha256:" + self._ctx.store.blobs.get(package.blob_id).sha256

    def _keep(self, agent: Agent, item: model.Compile, package: PackageSpec, path: str, digest: str, size: int) -> None:
        with tempfile.TemporaryDirectory(dir=self._ctx.blobs.root / "tmp") as folder:
            target = Path(folder) / "compiled.tgz"
            agent.get_file(path, target, digest)
            blob = self._ctx.blobs.put(target)
        agent.remove_file(path)
        os, _, version = item.stemcell.rpartition("/")
        with self._ctx.store.transaction():
            self._ctx.store.blobs.add(BlobRow(blob.id, "compiled-package", bare(blob.sha256), size))
            self._ctx.store.compiled_packages.add(CompiledPackageRow(
                key=item.key, name=package.name, version=package.version, fingerprint=package.fingerprint, stemcell_os=os,
                stemcell_version=version, blob_id=blob.id, digest=f"sha256:{bare(blob.sha256)}",
                dependency_key=self._keys(item).dependency_key(package.name), size=size,
            ))

    def _keys(self, item: model.Compile) -> ReleasePackages:
        return ReleasePackages(self._ctx.store.releases.get(item.release, item.release_version))

    def _package(self, item: model.Compile) -> PackageSpec:
        release = self._ctx.store.releases.get(item.release, item.release_version)
        package = release.package(item.package)
        assert package is not None, item
        return package

    def _dependencies(self, item: model.Compile, package: PackageSpec) -> list[CompiledPackageRow]:
        """Direct dependencies only, in their compiled forms."""
        keys = self._keys(item)
        wanted = [keys.key_in_use(name, item.stemcell) for name in package.dependencies]
        rows = self._ctx.store.compiled_packages.with_keys(wanted)
        return [rows[key] for key in wanted]

    @contextlib.contextmanager
    def _machine(self, item: model.Compile) -> Iterator[Agent]:
        """A compilation machine of the item's stemcell: an idle one, or a new one. It is kept when it may be used again."""
        worker = self._take(item.stemcell) or self._hire(item)
        try:
            yield self._ctx.agent(worker.vm)
        except BaseException:
            self._dismiss(worker)
            raise
        if self._config.reuse_compilation_vms:
            with self._changed:
                self._idle.append(worker)
        else:
            self._dismiss(worker)

    def _take(self, stemcell: str) -> _Worker | None:
        with self._changed:
            found = next((worker for worker in self._idle if worker.stemcell == stemcell), None)
            if found is not None:
                self._idle.remove(found)
            return found

    def _hire(self, item: model.Compile) -> _Worker:
        spec = self._spec(item)
        resolved = {
            "cloud_properties": self._shop.fill(spec.cloud_properties), "env": self._shop.fill(spec.env),
            "networks": {network.network: self._shop.fill(network.cloud_properties) for network in spec.networks},
        }
        return _Worker(create_vm(self._ctx, wish_of(self._ctx, spec, resolved, compiling=item.package)), item.stemcell)

    def _dismiss(self, worker: _Worker) -> None:
        if worker in self._idle:
            self._idle.remove(worker)
        if self._config.orphan_workers:
            orphan_vm(self._ctx, worker.vm, f"compilation/{worker.vm.agent_id}", None)
            return
        delete_vm(self._ctx, worker.vm)
        self._ctx.store.addresses.release_purpose(worker.vm.deployment, PURPOSE, worker.vm.ips)

    def _spec(self, item: model.Compile) -> model.InstanceSpec:
        """A compilation machine as an instance of group `compilation-UUID`."""
        stemcell = self._shop.stemcells[item.stemcell]
        az = self._shop.cloud.az(self._config.az)
        number = self._ctx.new_id()
        return model.InstanceSpec(
            deployment=self._shop.deployment, group=f"compilation-{number}", index=0, id=number, az=self._config.az, bootstrap=False,
            lifecycle="service", stemcell_name=stemcell.name, stemcell_version=stemcell.version,
            stemcell_os=stemcell.os, cpi=az.cpi if az else "", cloud_properties=self._properties(), env=self._config.env,
            networks=(self._network(number),), address="", disks=(), jobs=(), packages=(), tags=dict(self._shop.tags),
            update=UpdatePolicy(), vm_resources=self._config.vm_resources,
        )

    def _properties(self) -> dict[str, object]:
        cloud, config = self._shop.cloud, self._config
        az = cloud.az(config.az)
        merged = dict(az.cloud_properties) if az else {}
        merged.update(next((item.cloud_properties for item in cloud.vm_types if item.name == config.vm_type), {}))
        for name in config.vm_extensions:
            merged.update(next(item.cloud_properties for item in cloud.vm_extensions if item.name == name))
        return {**merged, **config.cloud_properties}

    def _network(self, number: str) -> model.NetworkSettings:
        """Reserve an address on the compilation network. Raises PlanError when none is left."""
        name, deployment = self._config.network, self._shop.deployment
        with self._addresses:
            pools = Pools(self._shop.cloud)
            held = {item.ip for item in self._ctx.store.addresses.taken("")}
            held |= {item.ip for item in self._ctx.store.addresses.of(deployment)}
            for address in held:
                pools.taken.hold(number_of(address), "", "")
            pool = pools.network(name)
            assert pool is not None, name
            dynamic = pool.definition.type == "dynamic"
            ip = "" if dynamic else pool.allocate(self._config.az, pools.taken)
            if ip is None:
                raise PlanError(
                    f"Failed to reserve IP for 'compilation-{number}/0' for manual network '{name}': no more available", code=130011,
                    suggestion="Widen the network's range, or lower compilation.workers.",
                )
            if ip:
                row = AddressRow(ip=ip, network=name, kind="dynamic", deployment=deployment, purpose=PURPOSE)
                self._ctx.store.addresses.reserve([row])
        subnet = pool.subnet_for(self._config.az) if dynamic else pool.subnet_of(number_of(ip))
        assert subnet is not None, ip
        return model.NetworkSettings(
            network=name, type=pool.definition.type, ip=ip, prefix_length=subnet.prefix_length, netmask=subnet.netmask,
            gateway=subnet.subnet.gateway, dns=subnet.subnet.dns, default=("dns", "gateway"),
            cloud_properties=subnet.subnet.cloud_properties, dns_record_name="", kind="cloud" if dynamic else "dynamic",
        )


def _failed(item: model.Compile, error: ScriptFailed) -> ScriptFailed:
    """The error with its place, and a next step that fits: the machine and its logs are gone."""
    where = Where(file=f"packages/{item.package}/packaging", path=f"release '{item.release}/{item.release_version}'")
    suggestion = "The last lines above tell why. Correct the script, upload the release again, and deploy again."
    return ScriptFailed(*(dataclasses.replace(each, where=where, suggestion=suggestion) for each in error.diagnostics))
