"""Processes of the node, whether they live, and what a dead one leaves behind."""

import os
import socket
import uuid
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from pneumoscope import __version__
from pneumoscope.store import now
from pneumoscope.store.schema import ProcessState, arrival, process

#: How long the row of a process that ended is kept.
KEEP_GONE = 200
#: What a dead process had open counts as open for so long, unless a receiver of its machine files what its spool holds and
#: closes it before; one that starts on a busy machine takes a minute to do so.
GRACE = timedelta(minutes=2)


def enter(db: sa.Connection, kind: str) -> str:
    """Enrol this process as a ``kind`` (receiver, worker, server) and return its id, which no other will ever have."""
    process_id = f"{kind}-{uuid.uuid4().hex[:12]}"
    db.execute(
        process.insert().values(
            id=process_id,
            kind=kind,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            state=ProcessState.ALIVE,
            started_at=now(),
            beat=0,
        )
    )
    return process_id


def beat(db: sa.Connection, process_id: str) -> bool:
    """Say that this process lives; False where it was taken for dead meanwhile and must end."""
    done = db.execute(
        process.update()
        .where(process.c.id == process_id, process.c.state == ProcessState.ALIVE)
        .values(beat=process.c.beat + 1)
    )
    return done.rowcount == 1


class Alive(NamedTuple):
    """A process that is taken to live."""

    id: str
    kind: str
    host: str
    pid: int
    beat: int


def alive(db: sa.Connection) -> list[Alive]:
    """Every process that is taken to live."""
    columns = (process.c.id, process.c.kind, process.c.host, process.c.pid, process.c.beat)
    return [Alive(*row) for row in db.execute(sa.select(*columns).where(process.c.state == ProcessState.ALIVE))]


def may_run(found: Alive) -> bool:
    """False only where it is sure that it does not: it was on this machine, which has no such process, or its number is ours.

    To be asked of processes other than this one.
    """
    if found.host != socket.gethostname():
        return True
    if found.pid == os.getpid():  # in a container the process that is started again often has the same number
        return False
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # dead, and not yet missed by its parent
        return Path(f"/proc/{found.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):  # not Linux
        return True


def bury(db: sa.Connection, process_id: str) -> bool:
    """Take a process for dead and close, after ``GRACE``, what it had open; False where another did so first."""
    done = db.execute(
        process.update()
        .where(process.c.id == process_id, process.c.state == ProcessState.ALIVE)
        .values(state=ProcessState.GONE)
    )
    if done.rowcount != 1:
        return False
    left = (arrival.c.process_id == process_id, arrival.c.closed_at.is_(None))
    db.execute(arrival.update().where(*left).values(closed_at=now() + GRACE))
    old = (
        sa.select(process.c.id)
        .where(process.c.state == ProcessState.GONE)
        .order_by(process.c.started_at.desc())
        .offset(KEEP_GONE)
    )
    db.execute(process.delete().where(process.c.id.in_(old.scalar_subquery())))
    return True
