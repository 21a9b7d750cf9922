"""A site towards a real hub: joining, reports, absence, certificates, clocks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hub_fleet import Running
from member_site import HOUR, Site, ear, give, this_hour

from pneumoscope.errors import Rejected, RetryLater
from pneumoscope.fleet.messages import AlarmKind, Mode, Orders, Policy, Window
from pneumoscope.fleet.token import Token
from pneumoscope.hub.authority import Authority
from pneumoscope.member import membership, reporting
from pneumoscope.node import fleetcheck
from pneumoscope.store import Database, alarms, now, service, site_alarms
from pneumoscope.store.fleet_schema import fleet_window
from pneumoscope.store.hub_schema import site_window
from servers import wait_for


def at_hub(hub: Running, site: Site) -> list[Window]:
    database = Database(hub.settings.database_url)
    with database.look() as db:
        query = sa.select(site_window.c.content).where(site_window.c.site == site.facts.site).order_by(site_window.c.start)
        found = [Window.model_validate_json(content) for content in db.execute(query).scalars()]
    database.close()
    return found


def standing(site: Site) -> list[AlarmKind]:
    with site.store.database.look() as db:
        return [one.kind for one in alarms.standing(db)]


def test_a_node_joins_in_shadow_and_again_without_loss(tmp_path: Path, hub: Running) -> None:
    token = hub.invite("a hospital").written()
    site = Site(tmp_path / "site", token)
    assert site.joined is not None
    assert (site.joined.mode, site.joined.fresh, site.joined.title) == ("shadow", True, "a hospital")
    place = membership.folder(site.settings)
    assert (place / "key.pem").stat().st_mode & 0o777 == 0o600
    key, joined_at = (place / "key.pem").read_bytes(), site.facts.joined_at
    with pytest.raises(Rejected, match="used before") as refused:
        site.join(token)
    assert (refused.value.code, refused.value.exit_status) == ("token-refused", 3)
    again = site.join(hub.invite("a hospital", again="a hospital").written())
    assert (again.fresh, again.mode) == (False, "shadow")
    assert ((place / "key.pem").read_bytes(), site.facts.joined_at) == (key, joined_at)
    with site.store.database.look() as db:
        assert [row["act"] for row in service.history(db)] == ["begin"]
    site.close()


def test_a_node_that_serves_may_go_on(tmp_path: Path, hub: Running) -> None:
    site = Site(tmp_path / "site", hub.invite("a serving one").written(), keep_live=True)
    with site.store.database.look() as db:
        assert service.current(db, "x 1").mode is Mode.LIVE
        assert service.history(db) == []
    site.close()


def test_tokens_that_are_none_or_of_another_authority(tmp_path: Path, hub: Running) -> None:
    site = Site(tmp_path / "site")
    with pytest.raises(Rejected) as refused:
        site.join("pneumoscope-join-abc")
    assert refused.value.code == "token-wrong"
    real = hub.invite("in between")
    with pytest.raises(Rejected, match="nothing was sent") as refused:
        site.join(Token(secret=real.secret, join_url=real.join_url, authority_sha256="0" * 64).written())
    assert refused.value.code == "hub-not-genuine"
    with pytest.raises(RetryLater) as away:
        site.join(Token(secret="x", join_url="https://localhost:9/fleet/join", authority_sha256="0" * 64).written())
    assert away.value.code == "hub-unreachable"
    assert not membership.is_member(site.settings)
    site.close()


def test_weeks_of_absence_are_caught_up_once(hub: Running, site: Site) -> None:
    """120 windows of an hour, of which two hold studies; the member is killed on the way, and an answer is lost."""
    first = this_hour() - 120 * HOUR
    site.alter(joined_at=first)
    site.observe(first + 3 * HOUR, 12)
    site.observe(first + 100 * HOUR, 7)
    assert [site.reporting.turn() for _ in range(2)] == [0.2, 0.2]
    with site.store.database.begin() as db:
        db.execute(fleet_window.update().values(kept_at=None))
    site.start()
    for _ in range(6):
        site.reporting.turn()
    held = at_hub(hub, site)
    assert [window.start for window in held] == [first + n * HOUR for n in range(len(held))]
    assert 119 <= len(held) <= 121  # an hour may end meanwhile
    assert [(n, window.studies) for n, window in enumerate(held) if window.studies] == [(3, 12), (100, 7)]
    assert all(row["kept_at"] for row in site.windows())


def test_a_node_that_lost_its_database_tells_nothing_twice(hub: Running, site: Site) -> None:
    """It begins where the hub's last window ended, although its own readings of that time are still there."""
    first = this_hour() - 6 * HOUR
    site.alter(joined_at=first)
    site.observe(first + HOUR, 12)
    for _ in range(3):
        site.reporting.turn()
    told = at_hub(hub, site)
    with site.store.database.begin() as db:
        db.execute(fleet_window.delete())
        db.execute(sa.text("DELETE FROM observation WHERE id LIKE '%-11'"))
    site.start()
    for _ in range(3):
        site.reporting.turn()
    assert at_hub(hub, site)[: len(told)] == told
    assert all(window["start"] >= told[-1].end for window in site.windows())
    database = Database(hub.settings.database_url)
    with database.look() as db:
        assert site_alarms.of(db, site.facts.site) == []
    database.close()


def test_the_process_says_once_that_the_hub_is_away_and_goes_on(hub: Running, site: Site) -> None:
    real = site.facts.reports_url
    site.alter(reports_url="https://localhost:9", joined_at=this_hour() - 2 * HOUR)
    quick = Policy(window_s=3600, every_s=0.1)
    orders = Orders(now=now(), site=site.facts.site, title="a", province="b", policy=quick)
    membership.keep_orders(membership.folder(site.settings), orders)
    with site.member():
        wait_for(lambda: "hub-unreachable" in site.log(), seconds=180, what="the line in the log")
        site.alter(reports_url=real)
        wait_for(lambda: len(at_hub(hub, site)) == 2, seconds=180, what="the hub to have all windows")
    assert site.log().count("did not reach the hub") == 1
    assert "takes reports again" in site.log()


def test_a_man_in_the_middle_hears_nothing(tmp_path: Path, site: Site) -> None:
    """Another authority's certificate at the hub's address."""
    with ear(Authority(tmp_path / "other")) as heard:
        site.alter(reports_url=heard.url)
        site.reporting.turn()
    assert site.reporting.trouble == "hub-not-genuine"
    assert heard.bodies == []


def test_a_certificate_is_renewed_and_one_that_is_over_alarms(hub: Running, site: Site) -> None:
    """Certificates begin a day before they are made: one of 3 s is in its last third at once."""
    give(hub, site, days=3 / 86_400)
    before = membership.load(site.settings)
    assert before is not None
    site.reporting.turn()
    renewed = membership.load(site.settings)
    assert renewed is not None
    assert (site.reporting.trouble, renewed.certificate.serial_number == before.certificate.serial_number) == ("", False)
    assert renewed.days_left > 80
    give(hub, site, days=-1 / 86_400)
    site.start()
    site.reporting.turn()
    assert site.reporting.trouble == "certificate-over"
    assert standing(site) == [AlarmKind.CERTIFICATE]
    site.join(hub.invite("again", again=site.facts.title).written())
    site.reporting.turn()
    assert (site.reporting.trouble, standing(site)) == ("", [])


def test_the_check_says_how_the_fleet_stands(hub: Running, site: Site) -> None:
    def told() -> dict[str, tuple[str, str]]:
        return {title: look() for title, look in fleetcheck.things(site.settings, site.store.database)}

    assert told()["hub"] == ("look", "localhost answers; no report was taken yet.")
    site.reporting.turn()
    assert told()["hub"] == ("good", "localhost answers, and takes reports.")
    assert told()["fleet"][0] == "look"
    assert "is shadow; two people here put" in told()["fleet"][1]
    assert told()["certificate of the fleet"][0] == "good"
    give(hub, site, days=-1)
    verdict, text = told()["certificate of the fleet"]
    assert (verdict, "`pneumoscope join`" in text) == ("wrong", True)
    site.alter(reports_url="https://localhost:9")
    with pytest.raises(RetryLater, match="cannot be reached"):
        told()


def test_a_clock_that_is_hours_off(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    """No window is closed that has not passed by the hub's clock, and the alarm goes when the clock is right."""
    site.alter(joined_at=this_hour() - HOUR)
    monkeypatch.setattr(reporting, "now", lambda: now() + timedelta(hours=30))
    for _ in range(2):
        site.reporting.turn()
    assert [row["start"] for row in site.windows()] == [this_hour() - HOUR]
    assert standing(site) == [AlarmKind.CLOCK]
    monkeypatch.setattr(reporting, "now", lambda: now() - timedelta(hours=30))
    site.reporting.turn()
    assert standing(site) == [AlarmKind.CLOCK]
    monkeypatch.undo()
    site.reporting.turn()
    assert standing(site) == []
    assert datetime.now(UTC) - site.facts.joined_at < 2.5 * HOUR
