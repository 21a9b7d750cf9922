"""Models that the hub wants stopped everywhere, taken out of service here; once, since people have the last word."""

import sqlalchemy as sa
import structlog

from pneumoscope.config import Settings
from pneumoscope.fleet.messages import Mode, Stop
from pneumoscope.loops import Apart
from pneumoscope.member import membership
from pneumoscope.member.model import default_model
from pneumoscope.store import Store, audit, service

log = structlog.get_logger()


class Stopping:
    """One of it."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._model = default_model(settings)
        self._apart = Apart("stops")
        self._over: set[str] = set()  # ids of stops that were done, or that people were told of

    def look(self) -> None:
        """Do what the last orders want stopped, or have people decide."""
        orders = membership.orders(membership.folder(self._settings)) if membership.is_member(self._settings) else None
        stops = [stop for stop in orders.stops if stop.id not in self._over] if orders else []
        self._apart.each(stops, self._do, key=lambda stop: stop.id)

    def _do(self, stop: Stop) -> None:
        with self._store.database.look() as db:
            concerned = self._concerned(db, stop)
        if concerned:
            with self._store.database.begin() as db:
                self._heed(db, stop)
            self._over.add(stop.id)

    def _concerned(self, db: sa.Connection, stop: Stop) -> bool:
        """Whether the model serves here, or is tried."""
        state = service.current(db, self._model)
        return state.candidate == stop.model or (state.model == stop.model and state.mode is not Mode.STOPPED)

    def _heed(self, db: sa.Connection, stop: Stop) -> None:
        if service.was_heeded(db, stop.id) or not self._concerned(db, stop):
            return  # before a restart, or by people just now
        if self._settings.fleet.stops == "people":
            self._ask(db, stop)
            return
        facts = {"actor": service.HUB, "reason": stop.reason, "rollout": stop.id, "default_model": self._model}
        if service.current(db, self._model).candidate == stop.model:
            service.withdraw(db, **facts)
            log.warning("The hub wants a model stopped: it is tried here no more", model=stop.model)
        else:
            service.stop(db, **facts)
            log.error("The hub wants a model stopped: it was taken out of service", model=stop.model)

    def _ask(self, db: sa.Connection, stop: Stop) -> None:
        """Say so once to people, who decide here."""
        detail = f"The hub asks that {stop.model} be taken out of service: {stop.reason}"
        told = audit.search(db, audit.Asked(actor=service.HUB, action="service"), limit=100)
        if any(row["detail"] == detail for row in told):  # before a restart
            return
        audit.record(db, action="service", actor=service.HUB, detail=detail)
        log.warning("The hub asks that a model be taken out of service; people decide here", model=stop.model)
