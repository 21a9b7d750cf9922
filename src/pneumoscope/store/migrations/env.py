"""Run by Alembic within a connection that ``database.py`` hands over."""

from alembic import context

from pneumoscope.store import fleet_schema, hub_schema, pool_schema  # noqa: F401 - their tables belong to the metadata
from pneumoscope.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True, transactional_ddl=False
)
context.run_migrations()
