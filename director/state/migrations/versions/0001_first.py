"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _deployments()
    _deployment_releases()
    _deployment_stemcells()
    _instances()
    _vms()
    _orphaned_vms()
    _disks()
    _snapshots()
    _addresses()
    _release_versions()
    _jobs()
    _packages()
    _release_version_jobs()
    _release_version_packages()
    _compiled_packages()
    _stemcells()
    _blobs()
    _configs()
    _variables()
    _variable_sets()
    _variable_pins()
    _link_providers()
    _numeric_ids()
    _dns_versions()
    _tasks()
    _locks()
    _journal()
    _events()
    _errand_runs()
    _users()
    _settings()


def _deployments() -> None:
    op.create_table("deployments",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("manifest", sa.Text),
        sa.Column("resolved", sa.JSON),
        sa.Column("cloud_config_ids", sa.JSON, nullable=False),
        sa.Column("runtime_config_ids", sa.JSON, nullable=False),
        sa.Column("teams", sa.JSON, nullable=False),
        sa.Column("succeeded", sa.Boolean, nullable=False),
        sa.Column("links_serial", sa.Integer, nullable=False),
        sa.Column("variable_set_id", sa.Integer),
        sa.Column("created_at", sa.Double, nullable=False),
    )


def _deployment_releases() -> None:
    op.create_table("deployment_releases",
        sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
    )


def _deployment_stemcells() -> None:
    op.create_table("deployment_stemcells",
        sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
    )


def _instances() -> None:
    op.create_table("instances",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name"), nullable=False),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("az", sa.Text, nullable=False),
        sa.Column("lifecycle", sa.Text, nullable=False),
        sa.Column("bootstrap", sa.Boolean, nullable=False),
        sa.Column("ignored", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("dirty", sa.Boolean, nullable=False),
        sa.Column("applied", sa.JSON, nullable=False),
        sa.Column("variable_set_id", sa.Integer),
        sa.Column("dns_version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("deployment", "group", "index"),
    )
    op.create_index("ix_instances_deployment", "instances", ["deployment"])


def _vms() -> None:
    op.create_table("vms",
        sa.Column("cid", sa.Text, primary_key=True),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("cpi", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name"), nullable=False),
        sa.Column("instance_id", sa.Text, sa.ForeignKey("instances.id")),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("az", sa.Text, nullable=False),
        sa.Column("stemcell_name", sa.Text, nullable=False),
        sa.Column("stemcell_version", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("ssh_port", sa.Integer, nullable=False),
        sa.Column("ssh_user", sa.Text, nullable=False),
        sa.Column("host_public_key", sa.Text, nullable=False),
        sa.Column("pending_host_public_key", sa.Text, nullable=False),
        sa.Column("networks", sa.JSON, nullable=False),
        sa.Column("cloud_properties", sa.JSON, nullable=False),
        sa.Column("notes", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("token"),
    )
    op.create_index("ix_vms_deployment", "vms", ["deployment"])
    op.create_index("ix_vms_instance_id", "vms", ["instance_id"])


def _orphaned_vms() -> None:
    op.create_table("orphaned_vms",
        sa.Column("cid", sa.Text, primary_key=True),
        sa.Column("cpi", sa.Text, nullable=False),
        sa.Column("az", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("instance_name", sa.Text, nullable=False),
        sa.Column("orphaned_at", sa.Double, nullable=False),
    )


def _disks() -> None:
    op.create_table("disks",
        sa.Column("cid", sa.Text, primary_key=True),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("cpi", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size_mib", sa.Integer, nullable=False),
        sa.Column("cloud_properties", sa.JSON, nullable=False),
        sa.Column("instance_id", sa.Text, sa.ForeignKey("instances.id")),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("az", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("orphaned_at", sa.Double),
        sa.Column("orphan_deployment", sa.Text, nullable=False),
        sa.Column("orphan_instance", sa.Text, nullable=False),
        sa.UniqueConstraint("token"),
    )
    op.create_index("ix_disks_instance_id", "disks", ["instance_id"])


def _snapshots() -> None:
    op.create_table("snapshots",
        sa.Column("cid", sa.Text, primary_key=True),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("disk_cid", sa.Text, sa.ForeignKey("disks.cid", ondelete="CASCADE", onupdate="CASCADE"), nullable=False),
        sa.Column("clean", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("token"),
    )
    op.create_index("ix_snapshots_disk_cid", "snapshots", ["disk_cid"])


def _addresses() -> None:
    op.create_table("addresses",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ip", sa.Text, nullable=False),
        sa.Column("network", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("instance_id", sa.Text, sa.ForeignKey("instances.id", ondelete="CASCADE")),
        sa.Column("orphaned_vm_cid", sa.Text, sa.ForeignKey("orphaned_vms.cid", ondelete="CASCADE")),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("ix_addresses_instance_id", "addresses", ["instance_id"])
    op.create_index("ix_addresses_orphaned_vm_cid", "addresses", ["orphaned_vm_cid"])
    reserved = sa.text("kind != 'cloud'")
    op.create_index("uq_addresses_ip", "addresses", ["ip"], unique=True, sqlite_where=reserved, postgresql_where=reserved)


def _release_versions() -> None:
    op.create_table("release_versions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("commit_hash", sa.Text, nullable=False),
        sa.Column("uncommitted_changes", sa.Boolean, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("name", "version"),
    )


def _jobs() -> None:
    op.create_table("jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("blob_id", sa.Text, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.UniqueConstraint("release", "name", "fingerprint", "version"),
    )


def _packages() -> None:
    op.create_table("packages",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("blob_id", sa.Text, nullable=False),
        sa.Column("dependencies", sa.JSON, nullable=False),
        sa.UniqueConstraint("release", "name", "fingerprint", "version"),
    )
    op.create_index("ix_packages_fingerprint", "packages", ["fingerprint"])


def _release_version_jobs() -> None:
    op.create_table("release_version_jobs",
        sa.Column("release_version_id", sa.Integer, sa.ForeignKey("release_versions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id"), primary_key=True),
    )
    op.create_index("ix_release_version_jobs_job_id", "release_version_jobs", ["job_id"])


def _release_version_packages() -> None:
    op.create_table("release_version_packages",
        sa.Column("release_version_id", sa.Integer, sa.ForeignKey("release_versions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("package_id", sa.Integer, sa.ForeignKey("packages.id"), primary_key=True),
    )
    op.create_index("ix_release_version_packages_package_id", "release_version_packages", ["package_id"])


def _compiled_packages() -> None:
    op.create_table("compiled_packages",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("stemcell_os", sa.Text, nullable=False),
        sa.Column("stemcell_version", sa.Text, nullable=False),
        sa.Column("dependency_key", sa.Text, nullable=False),
        sa.Column("build", sa.Integer, nullable=False),
        sa.Column("blob_id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("ix_compiled_packages_fingerprint", "compiled_packages", ["fingerprint"])


def _stemcells() -> None:
    op.create_table("stemcells",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("os", sa.Text, nullable=False),
        sa.Column("cpi", sa.Text, nullable=False),
        sa.Column("cid", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("api_version", sa.Integer, nullable=False),
        sa.Column("cloud_properties", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("name", "version", "cpi"),
        sa.UniqueConstraint("token"),
    )


def _blobs() -> None:
    op.create_table("blobs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("sha1", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("ix_blobs_kind", "blobs", ["kind"])
    op.create_index("ix_blobs_sha256", "blobs", ["sha256"])


def _configs() -> None:
    op.create_table("configs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_configs_type_name", "configs", ["type", "name"])


def _variables() -> None:
    op.create_table("variables",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("definition_digest", sa.Text, nullable=False),
        sa.Column("signed_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_variables_name", "variables", ["name"])


def _variable_sets() -> None:
    op.create_table("variable_sets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), nullable=False),
        sa.Column("deployed", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_variable_sets_deployment", "variable_sets", ["deployment"])


def _variable_pins() -> None:
    op.create_table("variable_pins",
        sa.Column("set_id", sa.Integer, sa.ForeignKey("variable_sets.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("variable_id", sa.Text, sa.ForeignKey("variables.id"), nullable=False),
    )
    op.create_index("ix_variable_pins_variable_id", "variable_pins", ["variable_id"])


def _link_providers() -> None:
    op.create_table("link_providers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), nullable=False),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("original_name", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("shared", sa.Boolean, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.UniqueConstraint("deployment", "group", "job", "original_name", "type"),
    )
    op.create_index("ix_link_providers_deployment", "link_providers", ["deployment"])


def _numeric_ids() -> None:
    op.create_table("numeric_ids",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.UniqueConstraint("kind", "number"),
    )


def _dns_versions() -> None:
    op.create_table("dns_versions",
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("blob_id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("content_digest", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )


def _tasks() -> None:
    op.create_table("tasks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("context_id", sa.Text, nullable=False),
        sa.Column("arguments", sa.JSON, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("checkpoint_at", sa.Double),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("resumptions", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tasks_deployment", "tasks", ["deployment"])
    op.create_index("ix_tasks_state", "tasks", ["state"])


def _locks() -> None:
    op.create_table("locks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("task_id", sa.Integer),
        sa.Column("expires_at", sa.Double, nullable=False),
    )


def _journal() -> None:
    op.create_table("journal",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("task_id", sa.Integer),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("arguments", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.UniqueConstraint("token"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_journal_deployment", "journal", ["deployment"])
    op.create_index("ix_journal_state", "journal", ["state"])
    op.create_index("ix_journal_task_id", "journal", ["task_id"])


def _events() -> None:
    op.create_table("events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("parent_id", sa.Integer),
        sa.Column("timestamp", sa.Double, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object_type", sa.Text, nullable=False),
        sa.Column("object_name", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("context", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_deployment", "events", ["deployment"])
    op.create_index("ix_events_task", "events", ["task"])


def _errand_runs() -> None:
    op.create_table("errand_runs",
        sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("errand", sa.Text, primary_key=True),
        sa.Column("instance_id", sa.Text, sa.ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("configuration", sa.Text, nullable=False),
        sa.Column("succeeded_at", sa.Double, nullable=False),
    )


def _users() -> None:
    op.create_table("users",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )


def _settings() -> None:
    op.create_table("settings",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
