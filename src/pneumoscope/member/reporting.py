"""Reports to the hub, again and again, and what comes back; whatever the hub does, nothing but this waits for it."""

import math
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from pneumoscope.config import Settings
from pneumoscope.errors import PneumoscopeError
from pneumoscope.fleet.messages import Alarm, AlarmKind, Mode, Orders, Policy, Report, Service, WishState
from pneumoscope.member import membership
from pneumoscope.member.health import Looking
from pneumoscope.member.line import Line
from pneumoscope.member.membership import Membership
from pneumoscope.member.metrics import LAST_REPORT, REPORTS, WINDOWS
from pneumoscope.member.model import default_model, device_uid
from pneumoscope.member.pooling import Pooling
from pneumoscope.store import Store, alarms, now, service, tellings

#: While the hub is away it is asked ever more seldom, at most so many times the usual pause apart.
MOST_PAUSES = 5
#: Reports that catch up follow one another so fast.
CATCH_UP_S = 0.5
#: A hub that refuses a report gets some without windows for so long.
BARE_S = 3600.0
#: Between two tries to renew a certificate.
RENEW_EVERY_S = 3600.0
#: Our clock against the hub's.
CLOCK_TOLERANCE = timedelta(minutes=5)
#: What a policy may ask for; nothing that a hub sends shall keep this machine busy, or silent for ever.
EVERY_S, WINDOW_S = (0.1, 3600.0), (1.0, 31 * 86_400.0)
log = structlog.get_logger()


class Reporting:
    """One of it; ``wish`` tells how far this site has come with the hub's wish."""

    def __init__(self, settings: Settings, store: Store, looking: Looking, wish: Callable[[], WishState | None]) -> None:
        self._settings = settings
        self._store = store
        self._looking = looking
        self._pooling = Pooling(settings, store)
        self._wish = wish
        self._model = default_model(settings)
        self._failures = 0
        self.trouble = ""  # code of what keeps reports from the hub
        self._renew_at_s = self._bare_until_s = 0.0
        self._stuck = False  # the hub took a report and kept none of its windows
        self._ahead = timedelta(0)  # our clock before the hub's, as last heard
        self._devices: dict[str, str] = {}

    def turn(self) -> float:
        """Report, keep the answer, close windows; returns after how many seconds to do so again. Raises nothing on purpose."""
        policy, place = Policy(), None
        try:
            place = membership.load(self._settings)
            if place is None:
                return CATCH_UP_S
            orders = membership.orders(place.folder)
            policy = orders.policy if orders else policy
            self._certificate(place)
            orders = self._report(place)
            policy = orders.policy
            more = self._close(place, orders) and not self._stuck
        except PneumoscopeError as fault:
            if place is not None and place.days_left <= 0:  # the hub just hangs up
                return self._failed("certificate-over", "This node's certificate in its fleet is over.", policy)
            return self._failed(fault.code, str(fault), policy)
        every_s = _sane(policy.every_s, EVERY_S)
        return min(CATCH_UP_S, every_s) if more else every_s

    def _close(self, place: Membership, orders: Orders) -> bool:
        """Close windows that are over by the hub's clock and by ours, now that the hub has told its own; whether some wait.

        A window is never changed again, and a clock that goes ahead would end it before its readings were made.
        """
        until = now() - max(self._ahead, timedelta(0))
        with self._store.database.begin() as db:
            window_s = _sane(orders.policy.window_s, WINDOW_S)
            since, not_before = place.facts.joined_at, orders.windows_until
            tellings.close(db, since=since, until=until, window_s=window_s, not_before=not_before)
            waiting = tellings.waiting(db)
        WINDOWS.set(waiting)
        return waiting > 0

    def _report(self, place: Membership) -> Orders:
        line = Line(place, proxy=self._settings.fleet.proxy)
        report = self._made(place)
        orders = line.report(report)
        heard_at = now()
        self._stuck = not orders.kept and (bool(report.windows) or self._bare)
        membership.keep_orders(place.folder, orders)
        with self._store.database.begin() as db:
            tellings.kept(db, orders.kept)
        self._pooling.heard(place, orders.pool)
        self._set_clock(orders.now, sent_at=report.sent_at, heard_at=heard_at)
        REPORTS.labels("taken").inc()
        LAST_REPORT.set(heard_at.timestamp())
        if self.trouble:
            log.info("The hub takes reports again", failures=self._failures)
        self._failures, self.trouble = 0, ""
        return orders

    def _made(self, place: Membership) -> Report:
        with self._store.database.look() as db:
            state = service.current(db, self._model)
            standing = alarms.standing(db)
            windows = [] if self._bare else tellings.due(db)
        wish = self._wish()
        return Report(
            sent_at=now(),
            health=self._looking.health(certificate_days=place.days_left),
            service=Service(
                model=state.model,
                device_uid=self._device(state.model),
                mode=Mode(state.mode),
                since=state.since,
                candidate=state.candidate,
                previous=state.previous,
                waits_for_people=wish is not None and wish.stage == "waits",
            ),
            alarms=tuple(standing),
            windows=tuple(windows),
            wish=wish,
            pool=self._pooling.told(place),
        )

    @property
    def _bare(self) -> bool:
        """Whether reports go without windows, so that the site is heard although the hub refuses what they hold."""
        return time.monotonic() < self._bare_until_s

    def _device(self, model: str) -> str:
        if model not in self._devices:
            self._devices[model] = device_uid(model, self._settings)
        return self._devices[model]

    def _set_clock(self, hub_now: datetime, *, sent_at: datetime, heard_at: datetime) -> None:
        """An alarm where our clock is off the hub's by more than the answer took and a tolerance."""
        self._ahead = sent_at - hub_now if sent_at > hub_now else min(heard_at - hub_now, timedelta(0))
        off = abs(self._ahead) > CLOCK_TOLERANCE
        limit_s = CLOCK_TOLERANCE.total_seconds()
        found = (
            [Alarm(kind=AlarmKind.CLOCK, since=heard_at, value=round(abs(self._ahead.total_seconds())), limit=limit_s)]
            if off
            else []
        )
        with self._store.database.begin() as db:
            fresh = alarms.settle(db, found, of=[AlarmKind.CLOCK])
        if fresh:
            log.warning("The clock of this machine is off the hub's", off_s=round(self._ahead.total_seconds()))

    def _certificate(self, place: Membership) -> None:
        """Renew the certificate in its last third; an alarm where that does not succeed for half of the time, or it is over."""
        days = place.days_left
        left = Alarm(
            kind=AlarmKind.CERTIFICATE, since=now(), value=max(math.floor(days), 0), limit=round(place.alarm_at_days, 1)
        )
        with self._store.database.begin() as db:
            fresh = alarms.settle(db, [left] if days < place.alarm_at_days else [], of=[AlarmKind.CERTIFICATE])
        if fresh and days <= 0:
            log.error("The node's certificate in its fleet is over; it reads on, and joins again by a new token of the hub")
        if not place.wants_renewal or days <= 0 or time.monotonic() < self._renew_at_s:
            return
        self._renew_at_s = time.monotonic() + min(RENEW_EVERY_S, max(days, 0) * 86_400 / 10)
        try:
            membership.keep_certificate(place.folder, Line(place, proxy=self._settings.fleet.proxy).renew())
            log.info("The node's certificate in its fleet was renewed")
        except PneumoscopeError as fault:
            log.warning("The node's certificate in its fleet could not be renewed", code=fault.code)
        except ValueError:
            log.warning("The node's certificate in its fleet could not be renewed", code="hub-answer")

    def _failed(self, code: str, text: str, policy: Policy) -> float:
        REPORTS.labels(code).inc()
        if code == "report-refused":
            self._bare_until_s = time.monotonic() + BARE_S
        if code != self.trouble:  # once, not with every try
            log.warning(f"A report did not reach the hub. {text}", code=code)
        self._failures, self.trouble = self._failures + 1, code
        pause_s = _sane(policy.every_s, EVERY_S) * min(2.0 ** min(self._failures - 1, 10), MOST_PAUSES)
        return pause_s * random.uniform(0.9, 1.1)  # noqa: S311 - so that sites do not all come at once


def _sane(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
