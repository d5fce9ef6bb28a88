"""The table of actions, one file each."""

from __future__ import annotations

from typing import Dict

from . import (
    apply,
    bootstrap,
    compile_package,
    disk,
    drain,
    fetch_blob,
    fetch_logs,
    get_state,
    missing_blobs,
    ping,
    prepare,
    remove_file,
    rotate_host_key,
    run_errand,
    run_script,
    shutdown,
    ssh,
    start,
    stop,
    store_file,
    sync_dns,
    tail_logs,
    update_settings,
)
from .base import Action

ACTIONS: Dict[str, Action] = {
    "ping": ping.ACTION,
    "bootstrap": bootstrap.ACTION,
    "rotate_host_key": rotate_host_key.ACTION,
    "get_state": get_state.ACTION,
    "update_settings": update_settings.ACTION,
    "missing_blobs": missing_blobs.ACTION,
    "fetch_blob": fetch_blob.ACTION,
    "store_file": store_file.ACTION,
    "remove_file": remove_file.ACTION,
    "prepare": prepare.ACTION,
    "apply": apply.ACTION,
    "start": start.ACTION,
    "stop": stop.ACTION,
    "run_script": run_script.ACTION,
    "drain": drain.ACTION,
    "run_errand": run_errand.ACTION,
    "compile_package": compile_package.ACTION,
    "list_disk": disk.LIST,
    "mount_disk": disk.MOUNT,
    "unmount_disk": disk.UNMOUNT,
    "migrate_disk": disk.MIGRATE,
    "resize_disk": disk.RESIZE,
    "remove_persistent_disk": disk.REMOVE,
    "sync_dns": sync_dns.ACTION,
    "fetch_logs": fetch_logs.ACTION,
    "tail_logs": tail_logs.ACTION,
    "ssh": ssh.ACTION,
    "shutdown": shutdown.ACTION,
}
