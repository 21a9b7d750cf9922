"""The site's own watch over the model in service, whether or not the hub answers; and the stop rule."""

import time
from collections.abc import Sequence
from datetime import datetime

import structlog

from pneumoscope.config import Settings
from pneumoscope.fleet.alarms import words
from pneumoscope.fleet.messages import Alarm, AlarmKind, Limits, Mode
from pneumoscope.fleet.watching import watch
from pneumoscope.member import membership
from pneumoscope.member.model import default_model
from pneumoscope.store import Store, alarms, evidence, now, service

#: What is found here; other alarms are the member's.
WATCHED = (
    AlarmKind.SCORE_DRIFT,
    AlarmKind.INPUT_DRIFT,
    AlarmKind.AGREEMENT,
    AlarmKind.CALIBRATION,
    AlarmKind.FAILURES,
    AlarmKind.REFUSALS,
    AlarmKind.LATE,
    AlarmKind.SUBGROUP,
)
#: A look that took so long is taken so many times more seldom: readings need the machine more.
SPARING = 100
log = structlog.get_logger()


class Guarding:
    """One of it."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._model = default_model(settings)
        self._seen: object = None
        self._due_s = 0.0

    def look(self) -> None:
        """Watch where there is something new: begin and end alarms, and stop the model where the policy says so."""
        if time.monotonic() < self._due_s:
            return
        place = membership.folder(self._settings)
        orders = membership.orders(place)
        limits = orders.policy.limits if orders else Limits()
        with self._store.database.look() as db:
            model, begin = service.current(db, self._model).model, evidence.since(db)
            seen = (model, begin, limits, evidence.extent(db, begin), now().date())
            if seen == self._seen:
                return
            started_s = time.monotonic()
            rows = evidence.gather(db, model, begin)
        found = watch(rows, limits).alarms if rows else ()
        self._due_s = time.monotonic() + SPARING * (time.monotonic() - started_s)
        self._act(found, model=model, begin=begin, limits=limits)
        self._seen = seen

    def _act(self, found: Sequence[Alarm], *, model: str, begin: datetime, limits: Limits) -> None:
        with self._store.database.begin() as db:
            state = service.current(db, self._model)
            if state.model != model or (evidence.since(db) - begin).total_seconds() > 1:
                return  # another model came, or people resumed this one, while we looked
            for one in alarms.settle(db, found, of=WATCHED):
                log.warning("The watch raises an alarm", kind=one.kind.value, subject=one.subject)
            reasons = [one for one in found if one.kind in limits.stops]
            if reasons and state.mode is Mode.LIVE:
                text = " ".join(words(one) for one in reasons)
                service.stop(db, actor=service.STOP_RULE, reason=text, default_model=self._model)
                log.error("The stop rule took the model out of service", model=model, kind=reasons[0].kind.value)
                state = service.current(db, self._model)
            stopped = state.mode is Mode.STOPPED and state.actor == service.STOP_RULE
            rule = [Alarm(kind=AlarmKind.STOP_RULE, subject=model.lower()[:60], since=state.since)] if stopped else []
            alarms.settle(db, rule, of=[AlarmKind.STOP_RULE])
