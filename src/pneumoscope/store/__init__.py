"""What the node remembers: studies, readings, deliveries, audit in a database; objects and results in a file store."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from pneumoscope.store.database import Database
from pneumoscope.store.files import FileStore, FolderStore

__all__ = ["Database", "FileStore", "FolderStore", "Store", "now"]


@dataclass(frozen=True, kw_only=True)
class Store:
    """Both halves, as every process of the node holds them."""

    database: Database
    files: FileStore

    @classmethod
    def open(cls, *, database_url: str, files: FileStore) -> Self:
        """The database at its place beside the files, its schema brought up to date. Raises OperatorNeeded."""
        database = Database(database_url)
        database.migrate()
        return cls(database=database, files=files)


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)
