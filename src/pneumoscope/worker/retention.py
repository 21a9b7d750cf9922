"""Removes old studies, by age and by the disk's share; never one with something not yet delivered."""

from datetime import datetime, timedelta

import structlog

from pneumoscope.loops import Apart
from pneumoscope.store import audit, now, retention, workitems
from pneumoscope.worker.clock import Clock
from pneumoscope.worker.workflow import Bench

BATCH = 50
log = structlog.get_logger()


class Retention:
    """Looks once a minute; several workers may do so at once."""

    def __init__(self, bench: Bench, clock: Clock) -> None:
        self._bench, self._clock = bench, clock
        self._apart = Apart("retention")

    def look(self) -> None:
        """Remove what is past its time, and more where the disk is too full."""
        disk = self._bench.settings.disk
        if self._clock.is_trusted():
            old = now() - timedelta(days=disk.keep_days)
            with self._bench.store.database.begin() as db:
                workitems.forget(db, before=old)
            self._remove(before=old)
            self._forget_aside(before=old)
        if self._bench.store.files.is_crowded(disk.max_share):
            self._remove(before=None)

    def _remove(self, *, before: datetime | None) -> None:
        store = self._bench.store
        with store.database.look() as db:
            studies = retention.removable(db, before=before, limit=BATCH)
        self._apart.each(studies, self._remove_one, key=str)

    def _remove_one(self, StudyInstanceUID: str) -> None:
        store = self._bench.store
        with store.database.begin() as db:
            keys = retention.remove(db, StudyInstanceUID)
            if keys:
                audit.record(db, action="remove", actor="retention", StudyInstanceUID=StudyInstanceUID)
                store.files.delete(*keys)  # before the rows are gone for sure, so that no file is forgotten
        if keys:
            log.info("A study was removed by age or for room", files=len(keys))

    def _forget_aside(self, *, before: datetime) -> None:
        """Damaged files and others of which nobody knows a study would fill the disk in the end."""
        store = self._bench.store
        with store.database.begin() as db:
            keys = retention.forget_aside(db, before=before)
            if keys:
                store.files.delete(*keys)
        if keys:
            log.info("Objects that were set aside were removed by age", files=len(keys))
