"""Makes the folders, the database and the tables of the workflows, before any process needs them."""

import sqlalchemy as sa
from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.store import Database


def prepare(settings: Settings) -> None:
    """Bring everything that is kept up to date. Raises OperatorNeeded."""
    try:
        for folder in (settings.node.folder, settings.objects, settings.spool):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)  # patients' data
    except OSError as fault:
        raise OperatorNeeded("The node's folder cannot be made or written.", code="store-unwritable") from fault
    database = Database(settings.database_url)
    database.migrate()
    database.close()
    try:
        DBOS.migrate(settings.workflow_url)
        _log_ahead(settings.workflow_url)
    except SQLAlchemyError as fault:
        raise OperatorNeeded("The database of the workflows cannot be used.", code="database-unusable") from fault


def _log_ahead(url: str) -> None:
    """Have SQLite keep a write-ahead log, which the file remembers: a commit costs one flush, and nobody who reads waits."""
    if url.startswith("sqlite"):
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        engine.dispose()
