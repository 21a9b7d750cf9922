"""Who is told of work items (PS3.4 CC.2.3), and the queue of what each is told.

Events stay for a day: a subscriber whose connection broke, or whose server was started again, goes on where it stopped.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from pneumoscope.dicomjson import Json, element
from pneumoscope.store import now
from pneumoscope.store.schema import mark
from pneumoscope.store.workitem_schema import event, subscription, workitem
from pneumoscope.ups import events
from pneumoscope.ups.matching import matches
from pneumoscope.ups.states import FINAL

#: Well-known instances: the worklist, and what of it matches.
EVERYTHING, FILTERED = events.WORKLIST, f"{events.WORKLIST}.1"
_GLOBAL = (EVERYTHING, FILTERED)
KEEP_EVENTS = timedelta(days=1)


def one_at_a_time(db: sa.Connection) -> None:
    """Until the transaction ends nobody else changes work items, as on SQLite. To be called before any other row is locked.

    Of two claims one comes second, and events are numbered in the order in which they become visible.
    """
    if db.dialect.name != "sqlite":
        db.execute(sa.text("SELECT pg_advisory_xact_lock(7366344)"))


def whole(row: sa.RowMapping | dict[str, Any]) -> Json:
    """A work item as others see it: never with its Transaction UID, which is the performer's key."""
    return dict(sorted((row["content"] | element("ProcedureStepState", str(row["state"]))).items()))


def subscribe(db: sa.Connection, ae_title: str, SOPInstanceUID: str) -> bool:
    """Tell ``ae_title`` of one work item from now on, beginning with its state; False where there is none."""
    one_at_a_time(db)
    row = db.execute(sa.select(workitem).where(workitem.c.SOPInstanceUID == SOPInstanceUID)).mappings().first()
    if row is None:
        return False
    _add(db, ae_title, SOPInstanceUID)
    _queue(db, [ae_title], [events.of_state(whole(row))])
    return True


def subscribe_globally(db: sa.Connection, ae_title: str, keys: Mapping[str, str] | None) -> None:
    """Tell ``ae_title`` of every work item that there is and will be, or of those that match ``keys``."""
    one_at_a_time(db)
    suspend(db, ae_title)  # the last word counts
    _add(db, ae_title, EVERYTHING if keys is None else FILTERED, keys)
    for row in db.execute(sa.select(workitem).where(workitem.c.state.not_in(FINAL))).mappings():
        if matches(whole(row), keys or {}):
            _add(db, ae_title, row["SOPInstanceUID"])


def suspend(db: sa.Connection, ae_title: str) -> bool:
    """Tell it of no further work items, only of those that it hears of already; False where it was not told of all."""
    own = subscription.c.ae_title == ae_title
    return db.execute(subscription.delete().where(own, subscription.c.SOPInstanceUID.in_(_GLOBAL))).rowcount > 0


def unsubscribe(db: sa.Connection, ae_title: str, SOPInstanceUID: str) -> bool:
    """Tell it no more of one work item, or, for the worklist, of any; False where it was not told."""
    wanted = [subscription.c.ae_title == ae_title]
    if SOPInstanceUID not in _GLOBAL:
        wanted.append(subscription.c.SOPInstanceUID == SOPInstanceUID)
    return db.execute(subscription.delete().where(*wanted)).rowcount > 0


def announce(db: sa.Connection, SOPInstanceUID: str, dataset: Json) -> None:
    """A work item is new: whoever is told of all is told of it."""
    rows = db.execute(sa.select(subscription).where(subscription.c.SOPInstanceUID.in_(_GLOBAL))).mappings()
    for row in list(rows):
        if matches(dataset, row["keys"]):
            _add(db, row["ae_title"], SOPInstanceUID)
    tell(db, SOPInstanceUID, events.of_change({}, dataset))


def tell(db: sa.Connection, SOPInstanceUID: str, told: Iterable[Json]) -> int:
    """Queue events for the subscribers of a work item; returns how many these are."""
    query = sa.select(subscription.c.ae_title).where(subscription.c.SOPInstanceUID == SOPInstanceUID)
    subscribers = list(db.execute(query).scalars())
    _queue(db, subscribers, told)
    return len(subscribers)


def tell_of_restart(db: sa.Connection) -> None:
    """Whoever subscribed to anything learns that the worklist is served again."""
    one_at_a_time(db)
    _queue(db, list(db.execute(sa.select(subscription.c.ae_title).distinct()).scalars()), [events.of_restart()])


def waiting(db: sa.Connection, ae_title: str, *, after: int) -> list[tuple[int, Json]]:
    """Events of a subscriber behind the one numbered ``after``."""
    query = sa.select(event.c.id, event.c.content).where(event.c.ae_title == ae_title, event.c.id > after)
    return [(row.id, row.content) for row in db.execute(query.order_by(event.c.id).limit(100))]


def heard(db: sa.Connection, ae_title: str) -> int:
    """The number of the last event that was sent to a subscriber."""
    return int(db.execute(sa.select(mark.c.value).where(mark.c.name == _mark(ae_title))).scalar() or 0)


def note_heard(db: sa.Connection, ae_title: str, number: int) -> None:
    """An event was sent."""
    db.execute(mark.update().where(mark.c.name == _mark(ae_title), mark.c.value < number).values(value=number))


def forget(db: sa.Connection, SOPInstanceUIDs: sa.ScalarSelect[str]) -> None:
    """Nobody is subscribed to these any more."""
    db.execute(subscription.delete().where(subscription.c.SOPInstanceUID.in_(SOPInstanceUIDs)))


def _mark(ae_title: str) -> str:
    return f"events {ae_title}"


def _add(db: sa.Connection, ae_title: str, SOPInstanceUID: str, keys: Mapping[str, str] | None = None) -> None:
    there = (subscription.c.ae_title == ae_title, subscription.c.SOPInstanceUID == SOPInstanceUID)
    if not db.execute(sa.select(subscription.c.ae_title).where(*there)).first():
        values = {"ae_title": ae_title, "SOPInstanceUID": SOPInstanceUID, "keys": dict(keys or {})}
        db.execute(subscription.insert().values(values))
    if not db.execute(sa.select(mark.c.value).where(mark.c.name == _mark(ae_title))).first():
        db.execute(mark.insert().values(name=_mark(ae_title), value=0))


def _queue(db: sa.Connection, ae_titles: Iterable[str], told: Iterable[Json]) -> None:
    told = list(told)
    rows = [{"ae_title": ae_title, "content": content, "at": now()} for content in told for ae_title in ae_titles]
    if rows:
        db.execute(event.insert(), rows)
