"""Makes the folders, the database and the tables of the workflows, before any process needs them."""

import sqlalchemy as sa
from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.config import Role, Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.opening import make_folders
from pneumoscope.store import Database, accounts, audit, passwords

#: The account that a new node has.
FIRST = "admin"


def prepare(settings: Settings) -> None:
    """Bring everything that is kept up to date. Raises OperatorNeeded."""
    make_folders(settings, settings.spool)
    database = Database(settings.database_url)
    database.migrate()
    database.close()
    try:
        DBOS.migrate(settings.workflow_url)
        _log_ahead(settings.workflow_url)
    except SQLAlchemyError as fault:
        raise OperatorNeeded("The database of the workflows cannot be used.", code="database-unusable") from fault


def is_anybody_there(settings: Settings) -> bool:
    """Whether someone can log in, or nobody should by a password of ours."""
    database = Database(settings.database_url)
    try:
        with database.look() as db:
            return not settings.people.by_password or accounts.has_local(db)
    finally:
        database.close()


def first_account(settings: Settings) -> str:
    """Make the first account of a node where people log in by password and nobody can; its first password, else empty.

    In a small place one person does everything, so it has every role of people; others can be set.
    """
    if is_anybody_there(settings):
        return ""
    database = Database(settings.database_url)
    try:
        password = passwords.make()
        kept = passwords.hashed(password)
        with database.begin() as db:
            roles = [role for role in Role if role is not Role.MONITOR]
            if accounts.add(db, login=FIRST, name="Administrator", roles=roles, password_hash=kept) is None:
                return ""
            audit.record(db, action="people", actor="first start", detail=f"{FIRST} was added: {', '.join(roles)}.")
        return password
    finally:
        database.close()


def _log_ahead(url: str) -> None:
    """Have SQLite keep a write-ahead log, which the file remembers: a commit costs one flush, and nobody who reads waits."""
    if url.startswith("sqlite"):
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        engine.dispose()
