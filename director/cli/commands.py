"""The one table of commands: name, aliases, module under `director.cli.verbs`, and what it does.

Modules are imported when their command runs, so that `--help` and offline commands start fast.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Entry:
    name: str
    module: str
    summary: str
    aliases: tuple[str, ...] = ()


SECTIONS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    ("Environments", (
        Entry("environment", "environment", "Show the director's name, version and who you are", ("env",)),
        Entry("environments", "environments", "List environments with an alias", ("envs",)),
        Entry("alias-env", "alias_env", "Give a director an alias and remember its certificate"),
        Entry("unalias-env", "unalias_env", "Forget an alias"),
        Entry("log-in", "log_in", "Log in and remember the credentials", ("l", "login")),
        Entry("log-out", "log_out", "Forget the credentials", ("logout",)),
        Entry("director", "director", "Start, stop or look at the director on this computer"),
    )),
    ("Deployments", (
        Entry("deploy", "deploy", "Create or update a deployment", ("d",)),
        Entry("plan", "plan", "Show what a deploy would do, and keep it for `deploy --plan`"),
        Entry("portability", "portability", "Show whether a deployment runs on other clouds, here"),
        Entry("deployments", "deployments", "List deployments", ("ds", "deps")),
        Entry("deployment", "deployment", "Show one deployment", ("dep",)),
        Entry("manifest", "manifest", "Show the manifest last deployed", ("man",)),
        Entry("delete-deployment", "delete_deployment", "Delete a deployment with its machines", ("deld",)),
        Entry("variables", "variables", "List the variables of a deployment", ("vars",)),
        Entry("variable", "variable", "Show the versions of a variable, or its value"),
        Entry("set-variable", "set_variable", "Set the value of a variable that was made elsewhere"),
        Entry("rotate", "rotate", "Give a variable a new value; for a CA the next of three steps"),
        Entry("rotations", "rotations", "Show how far rotations of CAs are"),
        Entry("certificates", "certificates", "List certificates and when they end"),
        Entry("interpolate", "interpolate", "Fill in variables and apply ops files, here", ("int",)),
    )),
    ("Instances", (
        Entry("instances", "instances", "List instances and what they say of themselves", ("is",)),
        Entry("vms", "vms", "List machines"),
        Entry("why", "why", "Tell why an instance was last changed, by whom and when"),
        Entry("start", "start", "Start instances"),
        Entry("stop", "stop", "Stop instances"),
        Entry("restart", "restart", "Restart instances"),
        Entry("recreate", "recreate", "Replace the machines of instances, keep their disks"),
        Entry("ignore", "ignore", "Leave an instance as it is in later deploys"),
        Entry("unignore", "unignore", "Let deploys change an ignored instance again"),
        Entry("ssh", "ssh", "Open a terminal or run a command on instances"),
        Entry("logs", "logs", "Fetch or follow the logs of instances"),
        Entry("errands", "errands", "List errands", ("es",)),
        Entry("run-errand", "run_errand", "Run an errand"),
    )),
    ("Releases and stemcells", (
        Entry("lint", "lint", "Find mistakes in a release directory, here"),
        Entry("template", "template", "Fill in one template with a context, here"),
        Entry("upload-release", "upload_release", "Upload a release", ("ur",)),
        Entry("releases", "releases", "List releases", ("rs",)),
        Entry("inspect-release", "inspect_release", "List the jobs and packages of a release"),
        Entry("export-release", "export_release", "Compile a release for a stemcell, and download it"),
        Entry("delete-release", "delete_release", "Delete a release", ("delr",)),
        Entry("inspect-local-release", "inspect_local_release", "Verify a release archive, and list what it holds"),
        Entry("sha2ify-release", "sha2ify_release", "Write a release archive anew with SHA-256 digests"),
        Entry("sha1ify-release", "sha1ify_release", "Write a release archive anew with SHA-1 digests"),
        Entry("upload-stemcell", "upload_stemcell", "Upload a stemcell", ("us",)),
        Entry("stemcells", "stemcells", "List stemcells", ("ss",)),
        Entry("delete-stemcell", "delete_stemcell", "Delete a stemcell", ("dels",)),
        Entry("inspect-local-stemcell", "inspect_local_stemcell", "Show what a stemcell archive says of itself"),
        Entry("repack-stemcell", "repack_stemcell", "Write a stemcell archive anew with another name, version or format"),
    )),
    ("Making releases", (
        Entry("init-release", "init_release", "Make a release directory"),
        Entry("generate-job", "generate_job", "Add a job to a release directory"),
        Entry("generate-package", "generate_package", "Add a package to a release directory"),
        Entry("vendor-package", "vendor_package", "Take over a package of another release directory"),
        Entry("create-release", "create_release", "Make a release archive of a release directory", ("cr",)),
        Entry("finalize-release", "finalize_release", "Make a final release of an archive"),
        Entry("blobs", "blobs", "List the blobs of a release directory"),
        Entry("add-blob", "add_blob", "Add a blob"),
        Entry("remove-blob", "remove_blob", "Remove a blob"),
        Entry("sync-blobs", "sync_blobs", "Fetch missing blobs"),
        Entry("upload-blobs", "upload_blobs", "Upload blobs that were added"),
        Entry("reset-release", "reset_release", "Remove dev releases, builds and fetched blobs"),
    )),
    ("Configs", (
        Entry("config", "config", "Show a config", ("c",)),
        Entry("configs", "configs", "List configs", ("cs",)),
        Entry("update-config", "update_config", "Update a config", ("uc",)),
        Entry("delete-config", "delete_config", "Delete a config", ("dc",)),
        Entry("diff-config", "diff_config", "Compare two configs"),
        Entry("cloud-config", "cloud_config", "Show the cloud config", ("cc",)),
        Entry("update-cloud-config", "update_cloud_config", "Update the cloud config", ("ucc",)),
        Entry("runtime-config", "runtime_config", "Show the runtime config", ("rc",)),
        Entry("update-runtime-config", "update_runtime_config", "Update the runtime config", ("urc",)),
        Entry("cpi-config", "cpi_config", "Show the CPI config"),
        Entry("update-cpi-config", "update_cpi_config", "Update the CPI config"),
    )),
    ("Tasks and upkeep", (
        Entry("task", "task", "Show a task and follow it", ("t",)),
        Entry("tasks", "tasks", "List tasks", ("ts",)),
        Entry("cancel-task", "cancel_task", "Cancel a task", ("ct",)),
        Entry("cancel-tasks", "cancel_tasks", "Cancel many tasks", ("cts",)),
        Entry("events", "events", "List what was done by whom"),
        Entry("event", "event", "Show one event"),
        Entry("locks", "locks", "List locks"),
        Entry("disks", "disks", "List orphaned disks"),
        Entry("delete-disk", "delete_disk", "Delete an orphaned disk"),
        Entry("networks", "networks", "List orphaned networks"),
        Entry("delete-network", "delete_network", "Delete an orphaned network"),
        Entry("orphaned-vms", "orphaned_vms", "List machines that were replaced and wait to be deleted"),
        Entry("clean-up", "clean_up", "Delete what nothing uses"),
        Entry("orphans", "orphans", "List what is left over: in the records, or in the clouds"),
        Entry("cloud", "cloud", "Check whether a cloud is ready for what the cloud config asks of it"),
        Entry("curl", "curl", "Ask the director's API yourself"),
        Entry("help", "help", "Show the commands, or how to use one"),
        Entry("conformance", "conformance", "Try every promise of a CPI on an account of yours"),
        Entry("dns", "dns", "Show how far names have come, and why a machine answers as it does"),
        Entry("docs", "docs", "Show an annotated example of a part of a manifest"),
    )),
)

ENTRIES: tuple[Entry, ...] = tuple(entry for _title, entries in SECTIONS for entry in entries)
BY_NAME: dict[str, Entry] = {name: entry for entry in ENTRIES for name in (entry.name, *entry.aliases)}
