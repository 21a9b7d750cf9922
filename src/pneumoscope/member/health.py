"""How the node is, as it is told to the hub: codes and shares, and no study."""

import time

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope import __version__
from pneumoscope.config import Settings
from pneumoscope.errors import PneumoscopeError
from pneumoscope.fleet.cells import hide
from pneumoscope.fleet.messages import Health
from pneumoscope.store import Store, processes
from pneumoscope.store.schema import StudyState, study

#: A process whose beat does not grow for so long is taken for dead.
SILENCE_S = 8.0


class Looking:
    """Looks at what ``/ready`` looks at."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._seen: dict[str, tuple[int, float, str]] = {}  # beat, when it last grew, kind

    def listen(self) -> None:
        """Note whose beat grows; to be called every second or so."""
        with self._store.database.look() as db:
            others = processes.alive(db)
        moment_s, seen = time.monotonic(), {}
        for other in others:
            beat, grew_s, _ = self._seen.get(other.id, (-1, moment_s, ""))
            seen[other.id] = (other.beat, moment_s if beat != other.beat else grew_s, other.kind)
        self._seen = seen

    def health(self, *, certificate_days: float) -> Health:
        """What it finds now."""
        faults = []
        waiting, free = 0, 0.0
        try:
            with self._store.database.look() as db:
                query = sa.select(sa.func.count()).select_from(study)
                waiting = db.execute(query.where(study.c.state.in_((StudyState.WAITING, StudyState.READING)))).scalar_one()
        except SQLAlchemyError:
            faults.append("database-unreachable")
        try:
            self._store.files.probe()
            free = self._store.files.free_share()
            if free <= self._settings.disk.watermark:
                faults.append("disk-full")
        except (PneumoscopeError, OSError):
            faults.append("store-unwritable")
        since_s = time.monotonic() - SILENCE_S
        living = {kind for beat, grew_s, kind in self._seen.values() if beat and grew_s > since_s}
        faults += [f"no-{kind}" for kind in ("receiver", "server", "worker") if kind not in living]
        return Health(
            ready=not faults,
            faults=tuple(faults),
            waiting=hide(waiting),
            disk_free_share=round(min(max(free, 0.0), 1.0), 3),
            certificate_days=round(certificate_days, 2),
            software=__version__,
        )
