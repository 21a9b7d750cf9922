"""That something changed which the worklist shows, by whatever process: asked of the database without asking for the rows."""

import time
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from pneumoscope.store.database import Database

CHANNEL = "pneumoscope_changes"
#: How often SQLite is asked; PostgreSQL tells by itself.
EVERY_S = 0.2


class Changes:
    """One connection that watches; for one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._faults = (SQLAlchemyError, database.engine.dialect.loaded_dbapi.Error)
        self._connection: PoolProxiedConnection | None = None
        self._seen = (-1, -1)

    def wait(self, *, seconds: float) -> bool:
        """Whether studies, readings or deliveries changed since the last call, waiting up to ``seconds`` for it.

        While the database is away nothing changes; once it is back something may have.
        """
        try:
            if self._connection is None:
                self._open()
                return True
            return self._counted(seconds) if self._database.is_sqlite else self._notified(seconds)
        except self._faults:
            self.close()
            time.sleep(min(seconds, 1.0))
            return False

    def close(self) -> None:
        """Let go of the connection; it is no good for other uses."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()

    def _open(self) -> None:
        # the driver's own, outside of transactions: each question sees what was committed by then
        self._connection = self._database.engine.raw_connection()
        if self._database.is_sqlite:
            self._seen = (self._ask("PRAGMA data_version"), self._ask("SELECT value FROM mark WHERE name = 'changes'"))
        else:
            self._driver.autocommit = True
            self._driver.execute(f"LISTEN {CHANNEL}")

    @property
    def _driver(self) -> Any:  # noqa: ANN401 - of sqlite3 or psycopg
        assert self._connection is not None
        return self._connection.driver_connection

    def _counted(self, seconds: float) -> bool:
        give_up_at = time.monotonic() + seconds
        while True:
            version = self._ask("PRAGMA data_version")
            if version != self._seen[0]:  # some process wrote something, which may be a beat
                before, count = self._seen[1], self._ask("SELECT value FROM mark WHERE name = 'changes'")
                self._seen = (version, count)
                if count != before:
                    return True
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(EVERY_S)

    def _ask(self, question: str) -> int:
        return int(self._driver.execute(question).fetchone()[0])

    def _notified(self, seconds: float) -> bool:
        return any(True for _ in self._driver.notifies(timeout=seconds, stop_after=1))
