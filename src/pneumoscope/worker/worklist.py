"""Readings and work items, each as the other sees it: this node performs the work items of its own worklist.

A reading knows nothing of work items. What it came to is looked for here and written into them, so that whatever process dies,
another goes on from the rows.
"""

from collections.abc import Callable

import sqlalchemy as sa
import structlog
from pydicom.uid import generate_uid

from pneumoscope.dicomjson import Json, text
from pneumoscope.loops import Apart
from pneumoscope.records import Priority
from pneumoscope.store import now, readings, search, studies, workitems
from pneumoscope.store.schema import ReadingState
from pneumoscope.store.subscriptions import one_at_a_time
from pneumoscope.ups import ours
from pneumoscope.ups.ours import Reference
from pneumoscope.ups.requirements import created
from pneumoscope.ups.states import State
from pneumoscope.worker.workflow import Bench

_PRIORITY = {Priority.EMERGENCY: "HIGH", Priority.BACKFILL: "LOW"}
_URGENCY = {"HIGH": Priority.EMERGENCY, "MEDIUM": Priority.ROUTINE}
_STEPS = {
    ReadingState.WAITING: ours.progress(0, "The reading waits for its turn."),
    ReadingState.RUNNING: ours.progress(10, "The study is being read."),
}
_Act = tuple[Callable[[sa.Connection, str], None], str]
_DONE = ours.progress(100, "The study was read.")
log = structlog.get_logger()


class Worklist:
    """Every worker looks; the rows decide who acts."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._ae_title = bench.settings.dicom.ae_title
        self._apart = Apart("worklist")

    def look(self) -> None:
        """Take what is for this node, show what it does by itself, and follow what it has begun."""
        database = self._bench.store.database
        with database.look() as db:
            # asked first: whose study is whole then, is seen to be so below, and is taken before it is shown
            unlisted = readings.unlisted(db)
            wanted = [row for row in workitems.wanted(db) if ours.is_for_us(row["content"], self._ae_title)]
            behind = workitems.behind(db)
        acts: list[_Act] = [(self._take, row["SOPInstanceUID"]) for row in wanted]
        acts += [(self._show, row["id"]) for row in unlisted]
        acts += [(self._follow, SOPInstanceUID) for SOPInstanceUID in behind]
        self._apart.each(acts, self._act, key=lambda act: act[1])

    def _act(self, act: _Act) -> None:
        do, uid = act
        with self._bench.store.database.begin() as db:
            do(db, uid)

    def _take(self, db: sa.Connection, SOPInstanceUID: str) -> None:
        one_at_a_time(db)
        row = next(iter(workitems.wanted(db, SOPInstanceUID)), None)
        if row is None or not ours.is_for_us(row["content"], self._ae_title):  # another was faster, or it was changed
            return
        if not row["StudyInstanceUID"]:
            claimed = workitems.claim(db, row, {})
            reason = "Input Information Sequence has to name one study; this one names none, or several."
            workitems.write(db, claimed, ours.cancellation(now(), reason), state=State.CANCELED)
            return
        reading_id = self._reading_for(db, row)
        readings.listed(db, reading_id)
        workitems.claim(db, row, _STEPS[ReadingState.WAITING], reading_id=reading_id, shown=ReadingState.WAITING)
        log.info("A work item is taken", reading_id=reading_id)

    def _reading_for(self, db: sa.Connection, row: sa.RowMapping) -> str:
        """What answers it: a reading of the same images that is under way or done by this model, else a new one."""
        study = studies.get(db, row["StudyInstanceUID"])
        latest = next(iter(readings.versions(db, row["StudyInstanceUID"])), None)
        assert study is not None
        if latest is not None and latest["revision"] == study["revision"]:
            same_model = latest["state"] == ReadingState.READ and latest["model"] == self._bench.serving(db).model
            if same_model or latest["state"] in (ReadingState.WAITING, ReadingState.RUNNING):
                return str(latest["id"])
        urgency = _URGENCY.get(text(row["content"], "ScheduledProcedureStepPriority"))
        reading_id = studies.read_again(db, row["StudyInstanceUID"], urgency=urgency)
        assert reading_id is not None, "the study has images, or the work item would not be wanted"
        return reading_id

    def _show(self, db: sa.Connection, reading_id: str) -> None:
        """List a reading that nobody asked for by a work item, as one that this node scheduled and claimed."""
        one_at_a_time(db)
        reading = readings.find(db, reading_id)
        if reading is None or reading["listed"]:
            return
        readings.listed(db, reading_id)
        study = studies.get(db, reading["StudyInstanceUID"])
        assert study is not None, "a reading goes with its study"
        images = [_reference(row) for row in search.images(db, study["StudyInstanceUID"]) if not row["reading_id"]]
        priority = _PRIORITY.get(reading["priority"], "MEDIUM")
        wish = ours.scheduled(study, images, at=reading["created_at"], priority=priority, ae_title=self._ae_title)
        uid = generate_uid(prefix=None)
        workitems.create(db, uid, created(wish, uid, label=ours.LABEL))
        row = workitems.get(db, uid)
        assert row is not None
        workitems.claim(db, row, _STEPS[ReadingState.WAITING], reading_id=reading_id, shown=ReadingState.WAITING)

    def _follow(self, db: sa.Connection, SOPInstanceUID: str) -> None:
        one_at_a_time(db)
        row = workitems.get(db, SOPInstanceUID)
        if row is None or row["state"] != State.IN_PROGRESS:
            return
        reading = readings.find(db, row["reading_id"])
        state = ReadingState(reading["state"]) if reading else None
        if reading is None:
            workitems.write(db, row, ours.cancellation(now(), "The study was removed."), state=State.CANCELED)
        elif state in _STEPS:
            workitems.write(db, row, _STEPS[state], shown=state)
        elif state is ReadingState.READ:
            workitems.write(db, row, self._performed(db, reading) | _DONE, state=State.COMPLETED, shown=state)
        else:
            reason = f"{reading['message']} ({reading['code']})"
            workitems.write(db, row, ours.cancellation(now(), reason), state=State.CANCELED, shown=state)

    def _performed(self, db: sa.Connection, reading: sa.RowMapping) -> Json:
        output = [
            _reference(row) for row in search.images(db, reading["StudyInstanceUID"]) if row["reading_id"] == reading["id"]
        ]
        return ours.performed(
            began=reading["started_at"],
            ended=reading["finished_at"],
            output=output,
            ae_title=self._ae_title,
            model=reading["model"],
        )


def _reference(row: sa.RowMapping) -> Reference:
    return Reference(row["StudyInstanceUID"], row["SeriesInstanceUID"], row["SOPClassUID"], row["SOPInstanceUID"])
