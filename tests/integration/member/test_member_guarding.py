"""The site's own watch, with no hub at all: an alarm, the stop rule once, and people who resume."""

from datetime import timedelta
from pathlib import Path

import pytest
from member_site import HOUR, Site, this_hour

from pneumoscope.fleet.messages import AlarmKind, Mode, Role
from pneumoscope.store import alarms, audit, service

DAY = 24 * HOUR


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Forty days of a model that worked, three in which half of the readings failed."""
    made = Site(tmp_path / "site")
    start = this_hour() - 44 * DAY
    for day in range(43):
        bad = day >= 40
        made.observe(start + day * DAY, 20)
        failed = {"outcome": "failed", "code": "disk-full", "probability": None, "category": ""}
        if bad:
            made.observe(start + day * DAY + HOUR, 20, **failed)
    return made


def kinds(site: Site) -> set[AlarmKind]:
    with site.store.database.look() as db:
        return {one.kind for one in alarms.standing(db)}


def state(site: Site) -> service.Service:
    with site.store.database.look() as db:
        return service.current(db, site.model)


def test_the_stop_rule_stops_once_and_people_resume(site: Site) -> None:
    site.guarding.look()
    assert {AlarmKind.FAILURES, AlarmKind.STOP_RULE} <= kinds(site)
    found = state(site)
    assert (found.mode, found.actor) == (Mode.STOPPED, service.STOP_RULE)
    assert "failed" in found.reason
    site.start()
    site.guarding.look()
    with site.store.database.begin() as db:
        assert len(service.history(db)) == 1
        service.resume(db, actor="anna", second="bert", reason="the disk was full")
    site.start()
    for hour in range(2):
        site.observe(this_hour() + timedelta(minutes=61 + hour), 20, mode=Mode.LIVE.value, role=Role.PRESENT.value)
        site.guarding.look()
        site.start()
    assert state(site).mode is Mode.LIVE
    assert kinds(site) == set()
    with site.store.database.look() as db:
        assert [row["actor"] for row in audit.entries(db) if row["action"] == "service"] == [service.STOP_RULE, "anna"]


def test_a_model_in_shadow_raises_alarms_and_is_not_stopped(site: Site) -> None:
    with site.store.database.begin() as db:
        service.begin(db, model=site.model, actor="join")
    site.guarding.look()
    assert state(site).mode is Mode.SHADOW
    assert AlarmKind.STOP_RULE not in kinds(site)
