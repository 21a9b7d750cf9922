"""Run by Alembic within a connection that ``database.py`` hands over."""

from alembic import context

from pneumoscope.store import (  # noqa: F401 - their tables belong to the metadata
    fleet_schema,
    hub_schema,
    people_schema,
    pool_schema,
    workitem_schema,
)
from pneumoscope.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True, transactional_ddl=False
)
context.run_migrations()
