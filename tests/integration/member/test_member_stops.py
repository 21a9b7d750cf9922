"""A model that the hub wants in service nowhere: heard from a real hub, done once and as far as the site's people leave it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hub_fleet import Running
from member_site import Site, ear

from pneumoscope.fleet.messages import Mode, Orders, Stop
from pneumoscope.hub import steering
from pneumoscope.hub.authority import Authority
from pneumoscope.member import membership
from pneumoscope.node import fleetcheck
from pneumoscope.store import Database, audit, now, service, stops
from pneumoscope.store.stops import Heed

REASON = "wrong on <2 mm> slices"


@contextmanager
def stopped(hub: Running, model: str) -> Iterator[Database]:
    """A hub whose operator stops a model, and lifts that in the end."""
    database = Database(hub.settings.database_url)
    with database.begin() as db:
        steering.stop(db, model, actor="operator", reason=REASON)
    try:
        yield database
    finally:
        with database.begin() as db:
            steering.lift(db, steering.find_stop(db, model), actor="operator")
        database.close()


def turn(site: Site) -> service.Service:
    """Report, hear, do; and what serves then."""
    site.reporting.turn()
    assert site.reporting.trouble == ""
    site.stopping.look()
    with site.store.database.look() as db:
        return service.current(db, site.model)


def noted(site: Site) -> list[str]:
    with site.store.database.look() as db:
        return [row["detail"] for row in audit.entries(db) if row["actor"] == service.HUB]


def release(site: Site) -> None:
    with site.store.database.begin() as db:
        service.release(db, actor="anna", second="bert", reason="it passed")


def test_a_site_takes_the_model_out_of_service_once_and_people_have_the_last_word(hub: Running, site: Site) -> None:
    release(site)
    assert turn(site).mode is Mode.LIVE
    with stopped(hub, site.model) as at_hub:
        found = turn(site)
        assert (found.mode, found.actor, found.reason) == (Mode.STOPPED, "the hub", REASON)
        (entry,) = noted(site)
        assert entry.startswith("stop by the hub:")
        assert REASON in entry
        site.reporting.turn()
        with at_hub.look() as db:
            heeds = {row["id"]: row["heed"] for row in stops.sites_of(db, steering.find_stop(db, site.model), limit=99)}
        assert heeds[site.facts.site] == Heed.STOPPED
        with site.store.database.begin() as db:
            service.resume(db, actor="anna", second="bert", reason="there are no such slices here")
        site.start()
        assert turn(site).mode is Mode.LIVE
    assert turn(site).mode is Mode.LIVE
    assert len(noted(site)) == 1
    with stopped(hub, site.model):
        assert turn(site).mode is Mode.STOPPED, "another stop is another word"
    assert turn(site).mode is Mode.STOPPED, "what was lifted is resumed by people alone"


def test_where_people_decide_they_are_told_and_the_model_serves_on(tmp_path: Path, hub: Running) -> None:
    site = Site(tmp_path / "site", hub.invite("people decide").written(), more='[fleet]\nstops = "people"\n')
    release(site)
    turn(site)
    with stopped(hub, site.model):
        assert turn(site).mode is Mode.LIVE
        site.start()
        assert turn(site).mode is Mode.LIVE
        assert noted(site) == [f"The hub asks that {site.model} be taken out of service: {REASON}"]
        told = dict(fleetcheck.things(site.settings, site.store.database))
        verdict, text = told["fleet"]()
        assert (verdict, REASON in text) == ("wrong", True)
        with site.store.database.begin() as db:
            service.stop(db, actor="anna", reason="as the hub says", default_model=site.model)
        assert turn(site).actor == "anna"
        assert told["fleet"]()[0] == "look"
    site.close()


def test_a_model_that_is_tried_is_tried_no_more(hub: Running, site: Site) -> None:
    with site.store.database.begin() as db:
        service.propose(db, "lung-lesion 7.0.0", actor="anna", default_model=site.model)
    assert turn(site).candidate
    with stopped(hub, "lung-lesion 7.0.0"):
        found = turn(site)
        assert (found.candidate, found.mode, found.act) == ("", Mode.SHADOW, "withdraw")
        with site.store.database.begin() as db:
            service.propose(db, "lung-lesion 7.0.0", actor="anna", default_model=site.model)
        assert turn(site).candidate, "people have the last word"


@pytest.mark.parametrize("of_the_hub", [True, False])
def test_nobody_but_the_hub_stops_a_model(tmp_path: Path, hub: Running, site: Site, of_the_hub: bool) -> None:
    """The same words from the hub's own authority and from another one; and orders for another site."""
    release(site)
    authority = Authority(hub.settings.node.folder / "hub") if of_the_hub else Authority(tmp_path / "other")
    with ear(authority) as heard:
        orders = Orders(now=now(), site=site.facts.site, title="a", province="b")
        orders = orders.model_copy(update={"stops": (Stop(id="0a", model=site.model, reason="none"),)})
        site.alter(reports_url=heard.url)
        for who in ("0" * 36, site.facts.site):
            heard.answer = orders.model_copy(update={"site": who}).model_dump_json().encode()
            site.reporting.turn()
            site.stopping.look()
            with site.store.database.look() as db:
                expected = Mode.STOPPED if of_the_hub and who == site.facts.site else Mode.LIVE
                assert service.current(db, site.model).mode is expected
    assert membership.is_member(site.settings)
