"""What the threads of a receiver share."""

import threading
from collections import deque
from dataclasses import dataclass, field
from queue import SimpleQueue

from pneumoscope.children import Children
from pneumoscope.config import Sender, Settings
from pneumoscope.filing.spool import Spool
from pneumoscope.receiver.room import Room
from pneumoscope.records import Priority
from pneumoscope.store import Store

#: Audit entries that wait to be written while the database is away; older ones go first.
MOST_ENTRIES = 10_000


@dataclass
class Caller:
    """An association that was let in. ``arrival_id``: empty until it brings an object. ``over``: it brings no more."""

    sender: Sender
    calling: str
    address: str
    arrival_id: str = ""
    images: int = 0
    over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something for the audit trail; the clerk writes it, so that a sender does not wait for the database."""

    action: str
    outcome: str = "success"
    actor: str
    address: str
    StudyInstanceUID: str = ""
    detail: str = ""


@dataclass(frozen=True)
class House:
    """Settings, store, spool, and arrivals that are over and wait to be filed and closed."""

    settings: Settings
    store: Store
    spool: Spool
    room: Room
    process_id: str
    children: Children = field(default_factory=Children)  # they decode what goes to peers that take it no other way
    priorities: dict[str, Priority] = field(default_factory=dict)  # of arrivals that are open or not filed yet
    elsewhere: set[str] = field(default_factory=set)  # arrivals that another thread files
    over: "SimpleQueue[str]" = field(default_factory=SimpleQueue)
    entries: "deque[Entry]" = field(default_factory=lambda: deque(maxlen=MOST_ENTRIES))
