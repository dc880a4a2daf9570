"""Runs the migrations of a service on a connection that Hearth has opened; Alembic executes this file."""

from alembic import context

from services.database.migrations import Migrations

migrations: Migrations = context.config.attributes["migrations"]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=migrations.tables,
    version_table=migrations.version_table,
    transactional_ddl=True,  # SQLite's too, once transactions begin when they are told to
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
