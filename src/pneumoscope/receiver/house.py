"""What the threads of a receiver share."""

from dataclasses import dataclass, field
from queue import SimpleQueue

from pneumoscope.config import Sender, Settings
from pneumoscope.filing import Spool
from pneumoscope.store import Store
from pneumoscope.store.schema import Priority


@dataclass
class Caller:
    """An association that was let in. ``arrival_id``: empty until it brings an object."""

    sender: Sender
    calling: str
    address: str
    arrival_id: str = ""
    images: int = 0


@dataclass(frozen=True)
class House:
    """Settings, store, spool, and arrivals that are over and wait to be filed and closed."""

    settings: Settings
    store: Store
    spool: Spool
    process_id: str
    priorities: dict[str, Priority] = field(default_factory=dict)  # of arrivals that are open or not filed yet
    over: "SimpleQueue[str]" = field(default_factory=SimpleQueue)
