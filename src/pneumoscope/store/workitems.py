"""Work items: created, claimed, changed and ended by whoever performs them, this node among others.

Every change is made by ``write``, which also puts the events for subscribers into their queue, in the same transaction.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydicom.uid import generate_uid

from pneumoscope.dicomjson import Json, element, values
from pneumoscope.store import now, readings, subscriptions
from pneumoscope.store.schema import ReadingState, reading, study
from pneumoscope.store.subscriptions import one_at_a_time, whole
from pneumoscope.store.workitem_schema import event, workitem
from pneumoscope.ups import events, ours, requirements, states
from pneumoscope.ups.matching import matches
from pneumoscope.ups.states import FINAL, State, Status

CALLED_OFF = "called-off"
_OPEN = (State.SCHEDULED, State.IN_PROGRESS)


def create(db: sa.Connection, SOPInstanceUID: str, content: Json) -> bool:
    """Add a work item; False where there is one of this UID. ``content``: as ``ups.requirements.created`` makes it."""
    one_at_a_time(db)
    if get(db, SOPInstanceUID) is not None:
        return False
    moment = now()
    content = content | element("ScheduledProcedureStepModificationDateTime", ours.moment(moment))
    db.execute(
        workitem.insert().values(
            SOPInstanceUID=SOPInstanceUID,
            state=State.SCHEDULED,
            created_at=moment,
            modified_at=moment,
            **_derived(content, State.SCHEDULED),
        )
    )
    subscriptions.announce(db, SOPInstanceUID, content | element("ProcedureStepState", State.SCHEDULED))
    return True


def get(db: sa.Connection, SOPInstanceUID: str) -> sa.RowMapping | None:
    """The row of a work item."""
    return db.execute(sa.select(workitem).where(workitem.c.SOPInstanceUID == SOPInstanceUID)).mappings().first()


def write(db: sa.Connection, row: sa.RowMapping, changes: Json, **columns: object) -> None:
    """Change attributes and columns (state, transaction_uid, reading_id, shown) of a work item, and tell its subscribers.

    ``row`` was read under ``one_at_a_time``.
    """
    moment = now()
    content = row["content"] | changes | element("ScheduledProcedureStepModificationDateTime", ours.moment(moment))
    after = {**row, "modified_at": moment, **columns, **_derived(content, State(str(columns.get("state", row["state"]))))}
    db.execute(workitem.update().where(workitem.c.SOPInstanceUID == row["SOPInstanceUID"]).values(after))
    subscriptions.tell(db, row["SOPInstanceUID"], events.of_change(whole(row), whole(after)))


def _derived(content: Json, state: State) -> dict[str, Any]:
    return {
        "content": content,
        "wanted": state is State.SCHEDULED and ours.is_reading(content),
        "StudyInstanceUID": ours.input_study(content),
    }


def claim(db: sa.Connection, row: sa.RowMapping, changes: Json, **columns: object) -> sa.RowMapping:
    """Begin a work item for this node, which holds its key; returns the row as it is then."""
    write(db, row, changes, state=State.IN_PROGRESS, transaction_uid=generate_uid(prefix=None), **columns)
    found = get(db, row["SOPInstanceUID"])
    assert found is not None
    return found


def change_state(db: sa.Connection, SOPInstanceUID: str, requested: State, *, key: str) -> Status:
    """Claim or end a work item for a performer elsewhere; ``key``: its Transaction UID."""
    one_at_a_time(db)
    row = get(db, SOPInstanceUID)
    if row is None:
        return Status.UNKNOWN
    status = states.change(State(row["state"]), requested, given=key, locking=row["transaction_uid"])
    if status is Status.DONE and requested in FINAL and requirements.missing_at_end(row["content"], requested):
        return Status.NOT_MET
    if status is Status.DONE:
        write(db, row, {}, state=requested, transaction_uid=key)
    return status


def update(db: sa.Connection, SOPInstanceUID: str, changes: Json, *, key: str) -> Status:
    """Change attributes of a work item for its performer, or for anyone while it is not claimed."""
    one_at_a_time(db)
    row = get(db, SOPInstanceUID)
    if row is None:
        return Status.UNKNOWN
    status = states.update(State(row["state"]), given=key, locking=row["transaction_uid"])
    if status is Status.DONE:
        write(db, row, requirements.changed(changes))
    return status


def request_cancel(db: sa.Connection, SOPInstanceUID: str, request: Json, *, requester: str) -> Status:
    """Cancel what nobody has claimed; ask the performer of what somebody has."""
    one_at_a_time(db)
    row = get(db, SOPInstanceUID)
    if row is None:
        return Status.UNKNOWN
    status = states.cancel(State(row["state"]))
    if status is not Status.DONE:
        return status
    asked = events.of_cancel_request(whole(row), request, requester=requester)
    if row["state"] == State.IN_PROGRESS and not row["reading_id"]:
        return Status.DONE if subscriptions.tell(db, SOPInstanceUID, [asked]) else Status.OUT_OF_REACH
    if row["reading_id"] and not _called_off(db, row):
        return Status.DECLINED
    subscriptions.tell(db, SOPInstanceUID, [asked])
    if row["state"] == State.SCHEDULED:
        row = claim(db, row, {})
    write(db, row, _cancellation(request), state=State.CANCELED)
    return Status.DONE


def _called_off(db: sa.Connection, row: sa.RowMapping) -> bool:
    """Whether this node gives a work item of its own up: only while the reading waits, which goes unless others want it."""
    found = readings.find(db, row["reading_id"])
    if found is None or found["state"] != ReadingState.WAITING:
        return False
    others = sa.select(workitem.c.SOPInstanceUID).where(
        workitem.c.reading_id == row["reading_id"],
        workitem.c.SOPInstanceUID != row["SOPInstanceUID"],
        workitem.c.state.in_(_OPEN),
    )
    if db.execute(others).first():
        return True
    message = "Its work item was canceled before it began."
    return readings.close(db, row["reading_id"], state=ReadingState.REFUSED, code=CALLED_OFF, message=message)


def _cancellation(request: Json) -> Json:
    reason = next(iter(values(request, "ReasonForCancellation")), "Canceled on request.")
    code = next(iter(values(request, "ProcedureStepDiscontinuationReasonCodeSequence")), None)
    return ours.cancellation(now(), reason, code)


def find(db: sa.Connection, keys: Mapping[str, str], *, limit: int, offset: int) -> list[Json]:
    """Work items that match, in the order they were created; ``keys`` as in ``ups.matching``."""
    query = sa.select(workitem).order_by(workitem.c.created_at, workitem.c.SOPInstanceUID)
    for keyword, column in (("ProcedureStepState", workitem.c.state), ("SOPInstanceUID", workitem.c.SOPInstanceUID)):
        wanted = keys.get(keyword, "")
        if wanted and not set(wanted) & set("*?,\\"):  # the rest is matched below
            query = query.where(column == wanted)
    rows = db.execute(query.execution_options(yield_per=200)).mappings()
    found = (dataset for row in rows if matches(dataset := whole(row), keys))
    return list(_page(found, limit=limit, offset=offset))


def _page(found: Iterator[Json], *, limit: int, offset: int) -> Iterator[Json]:
    for number, dataset in enumerate(found):
        if number >= offset + limit:
            return
        if number >= offset:
            yield dataset


def wanted(db: sa.Connection, SOPInstanceUID: str = "") -> list[sa.RowMapping]:
    """Those that wait for a performer of our code and can begin: their study is here and whole, or they name none.

    The first first; of one alone where ``SOPInstanceUID`` is given.
    """
    whole_study = sa.exists().where(
        study.c.StudyInstanceUID == workitem.c.StudyInstanceUID,
        study.c.revision > 0,
        study.c.revision == study.c.taken_revision,
    )
    query = sa.select(workitem).where(workitem.c.wanted, (workitem.c.StudyInstanceUID == "") | whole_study)
    if SOPInstanceUID:
        query = query.where(workitem.c.SOPInstanceUID == SOPInstanceUID)
    return list(db.execute(query.order_by(workitem.c.created_at)).mappings())


def behind(db: sa.Connection) -> list[str]:
    """Those that this node has begun and whose reading has come further than they tell, or is gone."""
    query = (
        sa.select(workitem.c.SOPInstanceUID)
        .outerjoin(reading, reading.c.id == workitem.c.reading_id)
        .where(workitem.c.state == State.IN_PROGRESS, workitem.c.reading_id.is_not(None))
        .where(reading.c.id.is_(None) | (reading.c.state != workitem.c.shown))
    )
    return list(db.execute(query).scalars())


def forget(db: sa.Connection, *, before: datetime) -> int:
    """Remove work items that ended before this moment, and events that nobody fetched in a day."""
    old = sa.select(workitem.c.SOPInstanceUID).where(workitem.c.state.in_(FINAL), workitem.c.modified_at < before)
    subscriptions.forget(db, old.scalar_subquery())
    db.execute(event.delete().where(event.c.at < now() - subscriptions.KEEP_EVENTS))
    done = db.execute(workitem.delete().where(workitem.c.SOPInstanceUID.in_(old.scalar_subquery())))
    return done.rowcount
