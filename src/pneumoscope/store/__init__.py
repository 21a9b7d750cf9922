"""What the node remembers: studies, readings, deliveries, audit in a database; objects and results in a file store."""

from dataclasses import dataclass
from datetime import UTC, datetime

from pneumoscope.store.database import Database
from pneumoscope.store.files import FolderStore

__all__ = ["Database", "FolderStore", "Store", "now"]


@dataclass(frozen=True, kw_only=True)
class Store:
    """Both halves, as every process of the node holds them."""

    database: Database
    files: FolderStore


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)
