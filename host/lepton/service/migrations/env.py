"""Run by Alembic: migrates over the connection that `migrate` gives."""

from alembic import context

from lepton.service import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
context.run_migrations()
