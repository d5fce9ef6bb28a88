"""What tasks do: one table from the API's words to operations. Locks are taken here; what operations need is put together here."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import Any

from director.execute import (
    access,
    cleanup,
    cloud_checks,
    cloud_orphans,
    context,
    delete,
    deploy,
    dns,
    dns_status,
    errands,
    export,
    fetch,
    kept_plans,
    networks,
    prepare,
    preview,
    rotate,
    states,
    upkeep,
    upload_stemcell,
    uploads,
)
from director.execute.steps import orphan_vm
from director.execute.variables import Manner
from director.plan import model, planfile
from director.tasks.context import TaskContext

Arguments = Mapping[str, Any]
MakeContext = Callable[[TaskContext], context.Context]
Operation = Callable[[TaskContext, context.Context, Arguments], str]


@dataclasses.dataclass(frozen=True)
class Entry:
    """`type` is the reference's task type; `lock` tells that the deployment is held while it runs."""

    type: str
    operation: Operation
    lock: bool = False


def handlers(make: MakeContext) -> dict[str, Callable[[TaskContext, Arguments], str]]:
    """Handlers by task type. Kinds of one type are told apart by the argument `kind`."""
    def handle(task: TaskContext, arguments: Arguments) -> str:
        entry = KINDS[arguments["kind"]]
        ctx = make(task)
        try:
            if not entry.lock:
                return entry.operation(task, ctx, arguments)
            with task.locks.deployment(task.deployment):
                return entry.operation(task, ctx, arguments)
        finally:
            ctx.machines.close()

    return {entry.type: handle for entry in KINDS.values()}


def options_of(arguments: Arguments) -> model.Options:
    """The planner's options of a deploy or a state change, as the API writes them."""
    given: Mapping[str, Any] = arguments.get("options") or {}
    before = given.get("recreate_vms_created_before")
    return model.Options(
        recreate=bool(given.get("recreate")), fix=bool(given.get("fix")),
        recreate_persistent_disks=bool(given.get("recreate_persistent_disks")),
        recreate_created_before=datetime.datetime.fromisoformat(before).timestamp() if before else None,
        canaries=str(given.get("canaries") or ""), max_in_flight=str(given.get("max_in_flight") or ""),
        skip_drain=tuple(item.strip() for item in str(given.get("skip_drain") or "").split(",") if item.strip()),
    )


def wanted_of(arguments: Arguments) -> prepare.Wanted:
    """What a deploy was asked to do."""
    pinned = (arguments.get("options") or {}).get("context") or {}
    return prepare.Wanted(
        manifest=str(arguments["manifest"]), options=options_of(arguments), cloud_config_ids=tuple(pinned.get("cloud_config_ids") or ()),
        runtime_config_ids=tuple(pinned.get("runtime_config_ids") or ()),
        variables=Manner(force_latest=bool((arguments.get("options") or {}).get("force_latest_variables"))),
        file=str((arguments.get("options") or {}).get("file") or prepare.Wanted.file),
    )


def _deploy(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    if arguments.get("plan"):
        kept = planfile.of_tree(arguments["plan"])
        manifest, file = kept_plans.opened(ctx, kept)
        return deploy.deploy(ctx, wanted_of({"manifest": manifest, "options": {**kept.options, "file": file}}), kept)
    if (arguments.get("options") or {}).get("dry_run"):
        preview.preview(ctx, wanted_of(arguments))
        return f"/deployments/{task.deployment}"
    return deploy.deploy(ctx, wanted_of(arguments))


def _change_state(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    options: Mapping[str, Any] = arguments.get("options") or {}
    request = states.StateRequest(
        state=arguments["state"], group=str(arguments.get("group") or ""), id_or_index=str(arguments.get("id_or_index") or ""),
        converge=bool(options.get("converge", True)), options=options_of(arguments),
    )
    manifest = str(arguments.get("manifest") or "")
    if options.get("dry_run"):
        preview.preview(ctx, states.wanted(ctx, task.deployment, request, manifest))
        return f"/deployments/{task.deployment}"
    return states.change_state(ctx, task.deployment, request, manifest)


def _delete_deployment(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return delete.delete_deployment(ctx, task.deployment, force=bool(arguments.get("force")))


def _run_errand(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return errands.run_errand(ctx, task.deployment, errands.ErrandRequest(
        errand=arguments["errand"], keep_alive=bool(arguments.get("keep_alive")), when_changed=bool(arguments.get("when_changed")),
        instances=tuple((item["group"], item.get("id") or "") for item in arguments.get("instances") or ()),
    ))


def _upload(arguments: Arguments) -> fetch.Upload:
    return fetch.Upload(
        path=str(arguments.get("path") or ""), url=str(arguments.get("url") or ""), sha1=str(arguments.get("sha1") or ""),
        fix=bool(arguments.get("fix")), rebase=bool(arguments.get("rebase")),
    )


def _upload_release(_: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return uploads.upload_release(ctx, _upload(arguments))


def _export_release(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return export.export_release(ctx, task.deployment, export.ExportRequest(
        release=arguments["release"], version=arguments["version"], stemcell_os=arguments["stemcell_os"],
        stemcell_version=arguments["stemcell_version"], jobs=tuple(arguments.get("jobs") or ()), sha2=bool(arguments.get("sha2")),
    ))


def _upload_stemcell(_: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return upload_stemcell.upload_stemcell(ctx, _upload(arguments))


def _delete_release(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    with task.locks.release(arguments["name"]):
        return upkeep.delete_release(ctx, arguments["name"], str(arguments.get("version") or ""))


def _delete_stemcell(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    with task.locks.stemcell(arguments["name"], arguments["version"], 10.0):
        return upkeep.delete_stemcell(ctx, arguments["name"], arguments["version"], force=bool(arguments.get("force")))


def _fetch_instances(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return access.fetch_instances(ctx, task.deployment, vms=arguments.get("what") == "vms")


def _fetch_logs(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    rows = access.chosen(ctx, task.deployment, str(arguments.get("group") or ""), str(arguments.get("id_or_index") or ""))
    return access.fetch_logs(ctx, rows, tuple(str(arguments.get("type") or "job").split(",")), tuple(arguments.get("filters") or ()))


def _ssh(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    target = arguments["target"]
    rows = access.chosen(ctx, task.deployment, str(target.get("job") or ""), ids=[str(item) for item in target.get("ids") or ()])
    return access.ssh(
        ctx, rows, arguments["command"], user=str(arguments.get("user") or ""), public_key=str(arguments.get("public_key") or ""),
        user_regex=str(arguments.get("user_regex") or ""),
    )


def _explain_name(_: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return dns_status.explain(ctx, ctx.store.instances.get(arguments["instance"]), str(arguments["name"]), str(arguments["type"]))


def _clean_up(_: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return cleanup.clean_up(
        ctx, remove_all=bool(arguments.get("remove_all")),
        keep_orphaned_disks=bool(arguments.get("keep_orphaned_disks")),
    )


def _check_cloud(_: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return cloud_checks.check_cloud(ctx, str(arguments.get("cpi") or ""), float(arguments.get("timeout") or cloud_checks.SECONDS))


def _cloud_orphans(_: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    if "remove" in arguments:
        return cloud_orphans.remove_orphans(ctx, arguments["remove"])
    return cloud_orphans.list_orphans(ctx, arguments.get("cpi"))


def _delete_disk(_: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return upkeep.delete_orphaned_disk(ctx, arguments["cid"])


def _delete_orphaned_vms(_: TaskContext, ctx: context.Context, __: Arguments) -> str:
    return f"Deleted {orphan_vm.delete_orphaned_vms(ctx)} orphaned vm(s)"


def _delete_old_networks(_: TaskContext, ctx: context.Context, __: Arguments) -> str:
    gone = networks.delete_orphaned(ctx, ctx.store.networks.orphans(older_than_seconds=networks.KEPT_SECONDS))
    return f"Deleted {gone} orphaned network(s)"


def _delete_network(_: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    return networks.delete_network(ctx, arguments["name"])


def _delete_old_disks(_: TaskContext, ctx: context.Context, __: Arguments) -> str:
    return upkeep.delete_old_disks(ctx)


def _rotate(task: TaskContext, ctx: context.Context, arguments: Arguments) -> str:
    """No deploy of those who use it runs meanwhile, since what such a deploy takes would be neither before nor after the step."""
    names, dry_run = rotate.names_of(ctx, arguments["names"], str(arguments.get("signed_by") or "")), bool(arguments.get("dry_run"))
    with contextlib.ExitStack() as held:
        for deployment in () if dry_run else rotate.deployments_of(ctx.store, names):
            held.enter_context(task.locks.deployment(deployment))
        return rotate.rotate(ctx, names, undo=bool(arguments.get("undo")), dry_run=dry_run)


KINDS: Mapping[str, Entry] = {
    "update_deployment": Entry("update_deployment", _deploy, lock=True),
    "change_state": Entry("update_deployment", _change_state, lock=True),
    "delete_deployment": Entry("delete_deployment", _delete_deployment, lock=True),
    "run_errand": Entry("run_errand", _run_errand, lock=True),
    "upload_release": Entry("update_release", _upload_release),
    "export_release": Entry("export_release", _export_release, lock=True),
    "upload_stemcell": Entry("update_stemcell", _upload_stemcell),
    "delete_release": Entry("delete_release", _delete_release),
    "delete_stemcell": Entry("delete_stemcell", _delete_stemcell),
    "fetch_instances": Entry("vms", _fetch_instances),
    "fetch_logs": Entry("fetch_logs", _fetch_logs),
    "ssh": Entry("ssh", _ssh),
    "cleanup": Entry("delete_artifacts", _clean_up),
    "rotate_variable": Entry("rotate_variable", _rotate),
    "check_cloud": Entry("check_cloud", _check_cloud),
    "cloud_orphans": Entry("cloud_orphans", _cloud_orphans),
    "delete_disk": Entry("delete_orphan_disks", _delete_disk),
    "delete_orphaned_vms": Entry("scheduled_orphaned_vm_cleanup", _delete_orphaned_vms),
    "delete_old_networks": Entry("scheduled_orphaned_network_cleanup", _delete_old_networks),
    "delete_network": Entry("delete_orphan_networks", _delete_network),
    "explain_name": Entry("explain_name", _explain_name),
    "sync_dns": Entry("scheduled_dns_catch_up", lambda _, ctx, __: dns.catch_up(ctx)),
    "delete_old_disks": Entry("scheduled_orphaned_disk_cleanup", _delete_old_disks),
}
