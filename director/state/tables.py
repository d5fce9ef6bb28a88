"""All tables. Column names are the field names of the row classes, so that a row fills its class without a map.

Kept to what SQLite and PostgreSQL both have. A change here needs a migration in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from director.state.columns import Numbers, Strings

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key() -> sa.Column[Any]:
    """A number that only grows: never given twice, not even after its row was deleted (see `_growing`)."""
    return sa.Column("id", sa.Integer, primary_key=True)


def _text(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=False, **options)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON, nullable=False)


def _integer(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, nullable=False, **options)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(create_constraint=False), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _reference(name: str, target: str, *, nullable: bool = False, **actions: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, sa.ForeignKey(target, **actions), nullable=nullable, index=True)


_growing: dict[str, Any] = {"sqlite_autoincrement": True}

deployments = sa.Table(
    "deployments", metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("manifest", sa.Text),
    sa.Column("resolved", sa.JSON(none_as_null=True)),
    sa.Column("cloud_config_ids", Numbers, nullable=False),
    sa.Column("runtime_config_ids", Numbers, nullable=False),
    sa.Column("teams", Strings, nullable=False),
    _flag("succeeded"),
    _integer("links_serial"),
    sa.Column("variable_set_id", sa.Integer),
    _time("created_at"),
)

deployment_releases = sa.Table(
    "deployment_releases", metadata,
    sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
)

deployment_stemcells = sa.Table(
    "deployment_stemcells", metadata,
    sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
)

instances = sa.Table(
    "instances", metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _reference("deployment", "deployments.name"),
    _text("group"),
    _integer("index"),
    _text("az"),
    _text("lifecycle"),
    _flag("bootstrap"),
    _flag("ignored"),
    _text("state"),
    _flag("dirty"),
    _json("applied"),
    sa.Column("variable_set_id", sa.Integer),
    _integer("dns_version"),
    _time("created_at"),
    sa.UniqueConstraint("deployment", "group", "index"),
)

vms = sa.Table(
    "vms", metadata,
    sa.Column("cid", sa.Text, primary_key=True),
    _text("token", unique=True),
    _text("cpi"),
    _reference("deployment", "deployments.name"),
    _reference("instance_id", "instances.id", nullable=True),
    _text("agent_id"),
    _flag("active"),
    _text("az"),
    _text("stemcell_name"),
    _text("stemcell_version"),
    _text("address"),
    _integer("ssh_port"),
    _text("ssh_user"),
    _text("host_public_key"),
    _text("pending_host_public_key"),
    _json("networks"),
    _json("cloud_properties"),
    _json("notes"),
    _time("created_at"),
)

orphaned_vms = sa.Table(
    "orphaned_vms", metadata,
    sa.Column("cid", sa.Text, primary_key=True),
    _text("cpi"),
    _text("az"),
    _text("deployment"),
    _text("instance_name"),
    _time("orphaned_at"),
)

disks = sa.Table(
    "disks", metadata,
    sa.Column("cid", sa.Text, primary_key=True),
    _text("token", unique=True),
    _text("cpi"),
    _text("name"),
    _integer("size_mib"),
    _json("cloud_properties"),
    _reference("instance_id", "instances.id", nullable=True),
    _flag("active"),
    _text("az"),
    _time("created_at"),
    _time("orphaned_at", nullable=True),
    _text("orphan_deployment"),
    _text("orphan_instance"),
)

snapshots = sa.Table(
    "snapshots", metadata,
    sa.Column("cid", sa.Text, primary_key=True),
    _text("token", unique=True),
    _reference("disk_cid", "disks.cid", ondelete="CASCADE", onupdate="CASCADE"),
    _flag("clean"),
    _time("created_at"),
)

addresses = sa.Table(
    "addresses", metadata,
    _key(),
    _text("ip"),
    _text("network"),
    _text("kind"),
    _text("deployment"),
    _reference("instance_id", "instances.id", nullable=True, ondelete="CASCADE"),
    _reference("orphaned_vm_cid", "orphaned_vms.cid", nullable=True, ondelete="CASCADE"),
    _text("purpose"),
    _time("created_at"),
)
# What a cloud chooses is not ours to reserve: two of its networks may well use the same range.
sa.Index(
    "uq_addresses_ip", addresses.c.ip, unique=True,
    sqlite_where=addresses.c.kind != sa.literal_column("'cloud'"), postgresql_where=addresses.c.kind != sa.literal_column("'cloud'"),
)

networks = sa.Table(
    "networks", metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _text("type"),
    _time("created_at"),
    _time("orphaned_at", nullable=True),
)

subnets = sa.Table(
    "subnets", metadata,
    sa.Column("network", sa.Text, sa.ForeignKey("networks.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    _text("cid"),
    _text("cpi"),
    _json("wanted"),
    _text("range"),
    _text("gateway"),
    sa.Column("reserved", Strings, nullable=False),
    _json("cloud_properties"),
)

deployment_networks = sa.Table(
    "deployment_networks", metadata,
    sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("network", sa.Text, sa.ForeignKey("networks.name", ondelete="CASCADE"), primary_key=True),
)

release_versions = sa.Table(
    "release_versions", metadata,
    _key(),
    _text("name"),
    _text("version"),
    _text("commit_hash"),
    _flag("uncommitted_changes"),
    _flag("complete"),
    _time("created_at"),
    sa.UniqueConstraint("name", "version"),
)

jobs = sa.Table(
    "jobs", metadata,
    _key(),
    _text("release"),
    _text("name"),
    _text("version"),
    _text("fingerprint"),
    _text("digest"),
    _text("blob_id"),
    _json("spec"),
    sa.UniqueConstraint("release", "name", "fingerprint", "version"),
)

packages = sa.Table(
    "packages", metadata,
    _key(),
    _text("release"),
    _text("name"),
    _text("version"),
    _text("fingerprint", index=True),
    _text("digest"),
    _text("blob_id"),
    sa.Column("dependencies", Strings, nullable=False),
    sa.UniqueConstraint("release", "name", "fingerprint", "version"),
)

release_version_jobs = sa.Table(
    "release_version_jobs", metadata,
    sa.Column("release_version_id", sa.Integer, sa.ForeignKey("release_versions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id"), primary_key=True, index=True),
)

release_version_packages = sa.Table(
    "release_version_packages", metadata,
    sa.Column("release_version_id", sa.Integer, sa.ForeignKey("release_versions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("package_id", sa.Integer, sa.ForeignKey("packages.id"), primary_key=True, index=True),
)

compiled_packages = sa.Table(
    "compiled_packages", metadata,
    sa.Column("key", sa.Text, primary_key=True),
    _text("name"),
    _text("version"),
    _text("fingerprint", index=True),
    _text("stemcell_os"),
    _text("stemcell_version"),
    _text("dependency_key"),
    _integer("build"),
    _text("blob_id"),
    _text("digest"),
    _integer("size"),
    _time("created_at"),
)

stemcells = sa.Table(
    "stemcells", metadata,
    _key(),
    _text("name"),
    _text("version"),
    _text("os"),
    _text("cpi"),
    _text("cid"),
    _text("token", unique=True),
    _integer("api_version"),
    _json("cloud_properties"),
    _time("created_at"),
    sa.UniqueConstraint("name", "version", "cpi"),
)

configs = sa.Table(
    "configs", metadata,
    _key(),
    _text("type"),
    _text("name"),
    _text("content"),
    _text("team"),
    _flag("deleted"),
    _time("created_at"),
    sa.Index("ix_configs_type_name", "type", "name"),
    **_growing,
)

variables = sa.Table(
    "variables", metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    _text("id", unique=True),
    _text("name", index=True),
    _text("type"),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    _text("definition_digest"),
    _text("signed_by"),
    _time("expires_at", nullable=True),
    _time("created_at"),
    sa.Column("options", sa.LargeBinary),
    **_growing,
)

rotations = sa.Table(
    "rotations", metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _integer("stage"),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    _json("versions"),
    _text("user"),
    _time("started_at"),
    _time("changed_at"),
    _json("facts"),
)

variable_sets = sa.Table(
    "variable_sets", metadata,
    _key(),
    _reference("deployment", "deployments.name", ondelete="CASCADE"),
    _flag("deployed"),
    _time("created_at"),
    **_growing,
)

variable_pins = sa.Table(
    "variable_pins", metadata,
    sa.Column("set_id", sa.Integer, sa.ForeignKey("variable_sets.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    _reference("variable_id", "variables.id"),
)

link_providers = sa.Table(
    "link_providers", metadata,
    _key(),
    _reference("deployment", "deployments.name", ondelete="CASCADE"),
    _text("group"),
    _text("job"),
    _text("name"),
    _text("original_name"),
    _text("type"),
    _flag("shared"),
    _json("content"),
    sa.UniqueConstraint("deployment", "group", "job", "original_name", "type"),
)

consumed_links = sa.Table(
    "consumed_links", metadata,
    sa.Column("consumer", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    _text("deployment"),
    _text("group"),
    _text("job"),
    _text("name"),
    _text("original_name"),
    _text("type"),
    _json("content"),
)

numeric_ids = sa.Table(
    "numeric_ids", metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    _integer("number"),
    sa.UniqueConstraint("kind", "number"),
)

dns_versions = sa.Table(
    "dns_versions", metadata,
    sa.Column("version", sa.Integer, primary_key=True),
    _text("blob_id"),
    _text("digest"),
    _text("content_digest"),
    _time("created_at"),
    **_growing,
)

blobs = sa.Table(
    "blobs", metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("kind", index=True),
    _text("sha256", index=True),
    _text("sha1"),
    sa.Column("size", sa.BigInteger, nullable=False),
    _time("created_at"),
)

tasks = sa.Table(
    "tasks", metadata,
    _key(),
    _text("type"),
    _text("state", index=True),
    _text("description"),
    _text("user"),
    _text("deployment", index=True),
    _text("context_id"),
    _json("arguments"),
    _text("result"),
    _time("created_at"),
    _time("started_at", nullable=True),
    _time("finished_at", nullable=True),
    _time("checkpoint_at", nullable=True),
    _text("worker"),
    _integer("resumptions"),
    **_growing,
)

locks = sa.Table(
    "locks", metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _text("uid"),
    sa.Column("task_id", sa.Integer),
    _time("expires_at"),
)

journal = sa.Table(
    "journal", metadata,
    _key(),
    sa.Column("task_id", sa.Integer, index=True),
    _text("deployment", index=True),
    _text("effect"),
    _text("token", unique=True),
    _json("arguments"),
    _text("state", index=True),
    _json("result"),
    _text("error"),
    _time("created_at"),
    _time("ended_at", nullable=True),
    **_growing,
)

events = sa.Table(
    "events", metadata,
    _key(),
    sa.Column("parent_id", sa.Integer),
    _time("timestamp"),
    _text("user"),
    _text("action"),
    _text("object_type"),
    _text("object_name"),
    _text("error"),
    _text("task", index=True),
    _text("deployment", index=True),
    _text("instance"),
    _json("context"),
    **_growing,
)

errand_runs = sa.Table(
    "errand_runs", metadata,
    sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("errand", sa.Text, primary_key=True),
    sa.Column("instance_id", sa.Text, sa.ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
    _text("configuration"),
    _time("succeeded_at"),
)

users = sa.Table(
    "users", metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _text("password_hash"),
    sa.Column("scopes", Strings, nullable=False),
    _time("created_at"),
)

settings = sa.Table(
    "settings", metadata,
    sa.Column("key", sa.Text, primary_key=True),
    _text("value"),
)
