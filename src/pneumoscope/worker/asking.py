"""Asks the PACS how many images it has of a study that arrives, once its sender is done."""

import threading

import sqlalchemy as sa
import structlog

from pneumoscope.archive import open_archive
from pneumoscope.errors import PneumoscopeError
from pneumoscope.store import arrivals
from pneumoscope.store.schema import series
from pneumoscope.store.studies import Arriving
from pneumoscope.worker.workflow import Bench

log = structlog.get_logger()


class Asking:
    """One question for each revision of a study."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        wanted = bench.settings.arrival.ask
        pacs = next((pacs for pacs in bench.settings.pacs if pacs.name == wanted), None)
        self._archive = open_archive(pacs, bench.settings) if pacs else None
        self._asked: dict[str, int] = {}
        self._open: set[str] = set()

    def ask(self, study: Arriving) -> bool:
        """Ask where that makes sense; True while the answer, which is noted for everyone, is not there yet."""
        if not self._archive or study.open_arrivals or study.expectation_source in ("mpps", "ian"):
            return False
        if self._asked.get(study.StudyInstanceUID) != study.revision:
            self._asked[study.StudyInstanceUID] = study.revision
            self._open.add(study.StudyInstanceUID)
            threading.Thread(target=self._ask, args=(study.StudyInstanceUID,), name="asking", daemon=True).start()
        return study.StudyInstanceUID in self._open

    def forget(self, keep: set[str]) -> None:
        """Forget studies that do not arrive any more."""
        self._asked = {uid: revision for uid, revision in self._asked.items() if uid in keep}

    def _ask(self, StudyInstanceUID: str) -> None:
        assert self._archive is not None
        try:
            self._note(StudyInstanceUID, self._archive.series_sizes(StudyInstanceUID))
        except PneumoscopeError as fault:
            log.info("The PACS does not tell how many images there are", code=fault.code)
        finally:
            self._open.discard(StudyInstanceUID)

    def _note(self, StudyInstanceUID: str, sizes: dict[str, int]) -> None:
        database = self._bench.store.database
        with database.look() as db:
            here = db.execute(
                sa.select(series.c.SeriesInstanceUID).where(series.c.StudyInstanceUID == StudyInstanceUID)
            ).scalars()
            # only of series that were sent to us: others may never be
            images = sum(sizes.get(uid, 0) for uid in here)
        database.insist(lambda db: arrivals.expect(db, StudyInstanceUID, images=images or None, source="pacs"))
