"""What Alembic runs for each command: the migrations, on the connection and in the transaction it is given."""

from __future__ import annotations

from alembic import context

from director.state import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
