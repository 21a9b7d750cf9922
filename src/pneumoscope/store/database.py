"""One database by URL: SQLite for one machine, PostgreSQL for many; brought to the newest schema when it is opened."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from pneumoscope.errors import OperatorNeeded

#: How long a writer waits for another on one SQLite file, in ms.
BUSY_TIMEOUT_MS = 30_000
Result = TypeVar("Result")
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Connections to the node's database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.engine = sa.create_engine(url, pool_pre_ping=True, **({} if self.is_sqlite else {"pool_size": 8}))
        if self.is_sqlite:
            sa.event.listen(self.engine, "connect", _set_up_sqlite)
            sa.event.listen(self.engine, "begin", _begin_immediately)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction that is committed unless something is raised."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def look(self) -> Iterator[sa.Connection]:
        """A connection that only reads, and so waits for no writer."""
        with self.engine.connect() as connection, connection.execution_options(read_only=True).begin():
            yield connection

    def insist(self, work: Callable[[sa.Connection], Result], *, patience_s: float = 600) -> Result:
        """Do ``work`` in a transaction, again while the database is away; ``work`` may be done more than once.

        Raises the last fault when ``patience_s`` is over.
        """
        give_up_at = time.monotonic() + patience_s
        for wait_s in chain((0.1, 0.3, 1.0), repeat(2.0)):
            try:
                with self.begin() as connection:
                    return work(connection)
            except (OperationalError, InterfaceError):
                if time.monotonic() + wait_s > give_up_at:
                    raise
                time.sleep(wait_s)
        raise AssertionError("the waits never end")

    def migrate(self) -> None:
        """Bring the schema up to date; several processes may do so at once. Raises OperatorNeeded."""
        try:
            with self.engine.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(7366343)"))
                if _revision(connection) != newest():
                    _upgrade(connection)
        except SQLAlchemyError as fault:
            self.close()
            raise OperatorNeeded(
                f"The database cannot be used ({_why(fault)}); needed is one that can be reached and written.",
                code="database-unusable",
            ) from fault

    def ping(self) -> None:
        """Raise OperatorNeeded where the database does not answer."""
        try:
            with self.engine.connect() as connection:
                connection.execute(sa.text("SELECT 1"))
        except OperationalError as fault:
            raise OperatorNeeded("The database does not answer.", code="database-unreachable") from fault

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def newest() -> str:
    """The revision that the last migration leads to, by the name of its file."""
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).split("_")[0]


def _why(fault: SQLAlchemyError) -> str:
    """What the driver says of the connection; of other faults the kind alone, since they may quote values."""
    said = str(fault.orig).strip() if isinstance(fault, OperationalError | InterfaceError) else ""
    return said.splitlines()[0] if said else type(fault).__name__


def _revision(connection: sa.Connection) -> str | None:
    """That of the schema, as Alembic notes it; None in an empty database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: sa.Connection) -> None:
    # imported here: every process asks for the newest schema when it starts, and almost always has it
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    cursor = connection.cursor()
    # what is committed outlives a power cut: senders and storage commitments rely on it
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediately(connection: sa.Connection) -> None:
    """Take the write lock at once: a transaction that reads first and then writes would fail instead of waiting."""
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
