"""What a hub remembers, on both databases: windows once and as they came first, alarms, a whole roll-out from canary to all."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import databases
from fleet_maker import DAY, MODEL, NEW_MODEL, candidate, midnight, model_window, report, window
from pneumoscope.errors import Rejected
from pneumoscope.fleet.gates import Rules
from pneumoscope.fleet.messages import (
    Alarm,
    AlarmKind,
    Mode,
    Offer,
    Orders,
    Policy,
    Report,
    Stop,
    Window,
    Wish,
    WishKind,
    WishStage,
    WishState,
)
from pneumoscope.hub import moving, steering
from pneumoscope.hub.moving import stages_of
from pneumoscope.hub.taking import Said, take
from pneumoscope.store import Database, audit, now, rollouts, site_alarms, sites, stops
from pneumoscope.store.fleet_schema import alarm
from pneumoscope.store.hub_schema import province_day, rollout, rollout_site, site_window, window_total
from pneumoscope.store.rollouts import Phase, State
from pneumoscope.store.sites import Caller
from pneumoscope.store.stops import Heed

RULES = Rules(
    hours=24, sites_share=0.8, pairs=50, readings=20, answers=10, failed_share=0.05, same_share=0.8, difference=0.1,
    agreement=0.7, refused_sites_share=0.2,
)  # fmt: skip


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Database]:
    """SQLite, where the other database would say the same."""
    found = databases.sqlite(tmp_path / "hub.sqlite")
    yield found
    found.close()


def enrol(db: sa.Connection, title: str, *, province: str = "Hubei") -> Caller:
    site_id = sites.invite(db, title=title, province=province, secret=title, until=now() + DAY)
    sites.use_token(db, title)
    sites.joined(db, site_id, serial=f"5e{title}", until=now() + DAY)
    return Caller(site=site_id, serial=f"5e{title}")


def say(db: sa.Connection, caller: Caller, told: Report) -> Orders:
    (answer,) = take(db, [Said(caller=caller, report=told)], policy=Policy())
    assert isinstance(answer, Orders)
    return answer


def test_windows_are_kept_once_and_as_they_came_first(database: Database) -> None:
    first, second = midnight(days_ago=2), midnight(days_ago=1)
    hidden = window(second, model_window(read=30, sign=None, failed={"reader-crashed": None}), studies=None)
    with database.begin() as db:
        here = enrol(db, "A")
        assert say(db, here, report(window(first))).kept == (first,)
        assert say(db, here, report(window(first), hidden)).kept == (first, second)
        other = window(first, model_window(read=99))
        assert say(db, here, report(other, hidden)).kept == (first, second)
        assert say(db, here, report(other)).kept == (first,)
        assert db.execute(sa.select(sa.func.count()).select_from(site_window)).scalar() == 2
        rows = {row["day"]: row for row in db.execute(sa.select(province_day)).mappings()}
        assert (rows[f"{first:%Y-%m-%d}"]["read"], rows[f"{first:%Y-%m-%d}"]["studies"]) == (40, 40)
        unsure = rows[f"{second:%Y-%m-%d}"]
        assert (unsure["sign"], unsure["sign_most"], unsure["sign_likely"]) == (1, 3, 3)
        assert (unsure["studies"], unsure["studies_most"]) == (31, 34)
        alarms = site_alarms.of(db, here.site)
        assert [(one["kind"], one["subject"]) for one in alarms] == [("window-changed", f"{first:%Y-%m-%d %H:%M}")]


def test_windows_of_a_site_never_overlap(database: Database) -> None:
    """As where the policy's length was changed, and the site forgot what it had told."""
    day, hour = midnight(days_ago=2), timedelta(hours=1)

    def of(start: datetime, length: timedelta) -> Window:
        return window(start).model_copy(update={"start": start, "end": start + length})

    with database.begin() as db:
        here, other = enrol(db, "A"), enrol(db, "B")
        assert say(db, here, report()).windows_until is None
        orders = say(db, here, report(of(day, DAY)))
        assert (orders.kept, orders.windows_until) == ((day,), day + DAY)
        inside, across, after = of(day + hour, hour), of(day + 23 * hour, DAY), of(day + DAY, hour)
        orders = say(db, here, report(inside, across, after, of(day + 24.5 * hour, hour)))
        assert len(orders.kept) == 4, "or they would come for ever"
        assert orders.windows_until == after.end
        assert say(db, other, report(inside)).windows_until == inside.end
        assert say(db, here, report()).windows_until == after.end
        held = sa.select(site_window.c.start).where(site_window.c.site == here.site).order_by(site_window.c.start)
        assert db.execute(held).scalars().all() == [day, after.start]
        sums = {row["day"]: row["studies"] for row in db.execute(sa.select(province_day)).mappings()}
        assert sums == {f"{day:%Y-%m-%d}": 80, f"{after.start:%Y-%m-%d}": 40}
        alarms = {(one["kind"], one["subject"]) for one in site_alarms.of(db, here.site)}
        assert alarms == {
            ("window-overlaps", f"{start:%Y-%m-%d %H:%M}") for start in (inside.start, across.start, day + 24.5 * hour)
        }
        say(db, here, report())
        assert len([one for one in site_alarms.of(db, here.site) if one["ended_at"] is None]) == 3
        assert site_alarms.end_not_taken(db, here.site) == 3


def test_one_transaction_answers_many_and_each_its_own(alone: Database) -> None:
    with alone.begin() as db:
        callers = [enrol(db, title) for title in "AB"]
        stranger = Caller(site=callers[0].site, serial="0")
        told = report(window(midnight(days_ago=1)))
        said = [Said(caller=one, report=told) for one in (*callers, callers[0], Caller(site="unknown", serial="1"))]
        answers = take(db, said, policy=Policy())
        assert [getattr(one, "title", "refused") for one in answers] == ["A", "B", "A", "refused"]
        assert isinstance(take(db, [Said(caller=stranger, report=told)], policy=Policy())[0], Rejected)
        assert db.execute(sa.select(sa.func.count()).select_from(window_total)).scalar() == 2
        # a certificate that was replaced gains nothing, and takes nothing, by calling beside the one that holds
        for order in (slice(None), slice(None, None, -1)):
            pair = [
                Said(caller=callers[0], report=told),
                Said(caller=stranger, report=report(window(midnight()))),
            ]
            answers = take(db, pair[order], policy=Policy())[order]
            assert [getattr(one, "title", "refused") for one in answers] == ["A", "refused"]
        assert db.execute(sa.select(sa.func.count()).select_from(window_total)).scalar() == 2


def test_alarms_begin_and_end_with_what_sites_say_and_silence_is_found(alone: Database) -> None:
    late = Alarm(kind=AlarmKind.LATE, since=now(), value=80, limit=60)
    with alone.begin() as db:
        here, gone = enrol(db, "A"), enrol(db, "B")
        say(db, here, report(alarms=(late, late)))
        say(db, here, report(alarms=(late.model_copy(update={"value": 90.0}),)))
        (held,) = site_alarms.of(db, here.site)
        assert (held["kind"], held["value"], held["ended_at"]) == ("late", 90.0, None)
        say(db, here, report())
        assert site_alarms.of(db, here.site)[0]["ended_at"] is not None
        later = now() + timedelta(minutes=5)
        assert sorted(site_alarms.silent(db, since=later)) == ["A", "B"]
        assert site_alarms.silent(db, since=later) == []
        say(db, gone, report())
        open_ = db.execute(sa.select(alarm.c.site).where(alarm.c.ended_at.is_(None))).scalars().all()
        assert open_ == [here.site]


class Fleet:
    """Ten sites and a roll-out; time goes by when it is told to."""

    def __init__(self, database: Database, *, shares: tuple[float, ...] = (0.5,)) -> None:
        self.database = database
        with database.begin() as db:
            self.sites = {title: enrol(db, title) for title in "ABCDEFGHIJ"}
            offered = Offer(model=NEW_MODEL, sha256="a" * 64, size_bytes=9)
            assert rollouts.add_offer(db, one=offered, device_uid="2.25.2", key="bundles/a.zip", signer="test")
            self.id = steering.roll_out(db, NEW_MODEL, canaries=["A", "B"], shares=shares, actor="admin")

    def row(self) -> sa.RowMapping:
        with self.database.look() as db:
            found = rollouts.get(db, self.id)
        assert found is not None
        return found

    def wish(self, title: str) -> Wish | None:
        with self.database.begin() as db:
            return say(db, self.sites[title], report()).wish

    def tell(self, titles: str, stage: WishStage, *, code: str = "") -> None:
        with self.database.begin() as db:
            for title in titles:
                say(db, self.sites[title], report(wish=WishState(rollout=self.id, stage=stage, code=code)))

    def send(self, titles: str, *models, days_ago: int = 0) -> None:
        with self.database.begin() as db:
            for title in titles:
                say(db, self.sites[title], report(window(midnight(days_ago=days_ago), *models)))

    def later(self, hours: float = 25) -> None:
        """As if the phase had begun earlier."""
        with self.database.begin() as db:
            earlier = timedelta(hours=hours)
            row = rollouts.get(db, self.id)
            assert row is not None
            values = {name: row[name] - earlier for name in ("phase_since",)}
            db.execute(rollout.update().values(values))

    def move(self) -> sa.RowMapping:
        with self.database.begin() as db:
            moving.move(db, RULES)
        return self.row()

    def asked(self) -> dict[str, str]:
        with self.database.look() as db:
            titles = {caller.site: title for title, caller in self.sites.items()}
            return {titles[row.site]: row.wish for row in db.execute(sa.select(rollout_site)) if row.wish}


def test_a_model_goes_from_canaries_to_all_through_its_gates(database: Database) -> None:
    fleet = Fleet(database)
    assert fleet.asked() == {"A": "shadow", "B": "shadow"}
    wish = fleet.wish("A")
    assert wish is not None
    assert (wish.kind, wish.paused, wish.offer) == (
        WishKind.SHADOW,
        False,
        Offer(model=NEW_MODEL, sha256="a" * 64, size_bytes=9),
    )
    assert fleet.wish("C") is None
    fleet.tell("AB", WishStage.SHADOW)
    fleet.send("AB", model_window(), candidate())
    assert fleet.move()["phase"] == Phase.SHADOW  # not for long enough
    fleet.later()
    assert fleet.move()["phase"] == Phase.LIVE
    assert fleet.asked() == {"A": "live", "B": "live"}
    fleet.tell("AB", WishStage.LIVE)
    fleet.later()
    assert fleet.move()["stage"] == 0  # nothing was read in service yet
    fleet.send("AB", model_window(model=NEW_MODEL), days_ago=-1)
    row = fleet.move()
    assert (row["stage"], row["phase"]) == (1, Phase.SHADOW)
    half = "".join(title for title, wish in fleet.asked().items() if wish == "shadow")
    assert len(half) == 3  # with the canaries half of all
    with database.begin() as db:
        fleet.sites["L"] = enrol(db, "L")  # goes with the last stage
    for stage in (1, 2):
        now_asked = "".join(title for title, wish in fleet.asked().items() if wish == "shadow")
        fleet.tell(now_asked, WishStage.SHADOW)
        fleet.send(now_asked, candidate(), days_ago=-3 * stage)
        fleet.later()
        assert fleet.move()["phase"] == Phase.LIVE
        fleet.tell(now_asked, WishStage.LIVE)
        fleet.send(now_asked, model_window(model=NEW_MODEL), days_ago=-3 * stage - 1)
        fleet.later()
        if stage == 1:
            assert fleet.move()["stage"] == 2
            assert fleet.asked()["L"] == "shadow"
    assert fleet.move()["state"] == State.DONE
    wish = fleet.wish("J")
    assert wish is not None
    assert wish.kind is WishKind.LIVE
    with database.look() as db:
        assert [act["act"] for act in rollouts.acts(db, fleet.id)][-1] == "begin"
        assert any("Roll-out of" in entry["detail"] for entry in audit.entries(db))


def test_a_model_that_fails_is_paused_and_taken_back_by_itself_and_may_begin_anew(alone: Database) -> None:
    fleet = Fleet(alone)
    fleet.tell("AB", WishStage.SHADOW)
    fleet.send("AB", candidate(failed={"reader-crashed": 40}))
    row = fleet.move()
    assert row["state"] == State.PAUSED
    assert "80 of 280 readings failed" in row["reason"]
    assert fleet.asked() == {"A": "back", "B": "back"}
    wish = fleet.wish("A")
    assert wish is not None
    assert (wish.kind, wish.paused, wish.offer) == (WishKind.BACK, False, None)
    with alone.begin() as db:
        steering.resume(db, fleet.row(), settings_hub(), actor="admin")
        with pytest.raises(Rejected, match="is running"):
            steering.resume(db, rollouts.get(db, fleet.id), settings_hub(), actor="admin")
    assert fleet.asked() == {"A": "shadow", "B": "shadow"}
    assert fleet.move()["state"] == State.RUNNING  # what it showed before counts no more


def settings_hub():
    from pneumoscope.config import Hub

    return Hub()


def test_drift_pauses_and_leaves_sites_where_they_are(alone: Database) -> None:
    fleet = Fleet(alone)
    fleet.tell("AB", WishStage.SHADOW)
    fleet.send("AB", candidate(same=20))
    row = fleet.move()
    assert row["state"] == State.PAUSED
    assert "same category" in row["reason"]
    assert fleet.asked() == {"A": "shadow", "B": "shadow"}


def test_people_take_back_one_site_or_all(alone: Database) -> None:
    fleet = Fleet(alone)
    with alone.begin() as db:
        steering.back_site(db, fleet.row(), "A", actor="admin", reason="odd scores")
        steering.pause(db, fleet.row(), actor="admin")
        steering.resume(db, rollouts.get(db, fleet.id), settings_hub(), actor="admin")
    assert fleet.asked() == {"A": "back", "B": "shadow"}
    with alone.begin() as db, pytest.raises(Rejected, match="not over"):
        steering.roll_out(db, NEW_MODEL, canaries=["A"], shares=(), actor="admin")
    with alone.begin() as db:
        assert steering.back(db, fleet.row(), actor="admin", reason="withdrawn") == 1
    assert fleet.asked() == {"A": "back", "B": "back"}
    assert fleet.row()["reason"] == "withdrawn"
    fleet.tell("B", WishStage.BACK)
    with alone.begin() as db:
        steering.roll_out(db, NEW_MODEL, canaries=["C"], shares=(), actor="admin")
    wish = fleet.wish("A")
    assert wish is not None
    assert (wish.kind, wish.rollout) == (WishKind.BACK, fleet.id)


def test_stages_are_all_sites_once() -> None:
    members = [f"site {number}" for number in range(1000)]
    stages = stages_of(members, canaries=members[:3], shares=[0.1, 0.5, 1.0], model=NEW_MODEL)
    assert [len(stage) for stage in stages] == [3, 97, 400, 500]
    assert sorted(site for stage in stages for site in stage) == sorted(members)
    assert stages_of(members[:3], canaries=members[:3], shares=[0.5, 1.0], model=MODEL) == [members[:3], [], []]


def refused(db: sa.Connection, work, **given: str) -> str:
    with pytest.raises(Rejected) as found:
        work(db, actor="admin", **given)
    return found.value.code


def test_a_model_is_stopped_everywhere_until_that_is_lifted(database: Database) -> None:
    fleet = Fleet(database)
    with database.begin() as db:
        say(db, fleet.sites["E"], report(model=NEW_MODEL))
        assert refused(db, steering.stop, model=NEW_MODEL, reason=" ") == "service-reason"
        assert refused(db, steering.stop, model="lung-lesion 3.0.0", reason="odd") == "stop-model"
        stop_id = steering.stop(db, NEW_MODEL, actor="admin", reason="odd\nscores")
        assert refused(db, steering.stop, model=NEW_MODEL, reason="once more") == "stop-stands"
        assert fleet_state(db, fleet.id) == (State.PAUSED, "the model is to be stopped everywhere: odd scores")
        assert refused(db, steering.roll_out, model=NEW_MODEL, canaries=["A"], shares=()) == "stop-stands"
        with pytest.raises(Rejected, match="lift that first"):
            steering.resume(db, rollouts.get(db, fleet.id), settings_hub(), actor="admin")
        for title, told in {
            "A": report(model=NEW_MODEL),
            "B": report(model=NEW_MODEL, mode=Mode.STOPPED),
            "C": report(model=NEW_MODEL, mode=Mode.SHADOW),
            "D": report(candidate=NEW_MODEL),
        }.items():
            orders = say(db, fleet.sites[title], told)
            assert orders.stops == (Stop(id=stop_id, model=NEW_MODEL, reason="odd scores"),)
            assert orders.wish is None or orders.wish.paused
        row = steering.find_stop(db, NEW_MODEL)
        assert stops.counts(db, row) == dict.fromkeys(Heed, 1)
        assert [(one["title"], one["heed"]) for one in stops.sites_of(db, row, limit=9)] == [
            ("A", "serves"), ("E", "unheard"), ("C", "shadow"), ("D", "tries"), ("B", "stopped"),
        ]  # fmt: skip
        assert stops.stoppable(db) == [MODEL]
        steering.lift(db, row, actor="admin", reason="it was the scanner")
        with pytest.raises(Rejected, match="lifted before"):
            steering.lift(db, stops.get(db, stop_id), actor="admin")
        assert say(db, fleet.sites["A"], report(model=NEW_MODEL)).stops == ()
        assert stops.stoppable(db) == [MODEL, NEW_MODEL]
        details = [entry["detail"] for entry in audit.entries(db)]
    assert "lung-lesion 2.0.0 is to be stopped at every site: odd scores" in details
    assert "The stop of lung-lesion 2.0.0 was lifted: it was the scanner" in details


def test_a_model_that_is_everywhere_comes_to_nobody_who_is_late_once_it_is_stopped(alone: Database) -> None:
    fleet = Fleet(alone, shares=())
    with alone.begin() as db:
        rollouts.change(db, fleet.id, state=State.DONE, stage=1)
        fleet.sites["L"] = enrol(db, "L")
        moving.move(db, RULES)
        wish = say(db, fleet.sites["L"], report()).wish
        assert wish is not None
        assert (wish.kind, wish.paused) == (WishKind.LIVE, False)
        steering.stop(db, NEW_MODEL, actor="admin", reason="odd scores")
        wish = say(db, fleet.sites["L"], report()).wish
        assert wish is not None
        assert wish.paused
        assert fleet_state(db, fleet.id)[0] == State.DONE
        steering.back(db, rollouts.get(db, fleet.id), actor="admin")
        back = say(db, fleet.sites["L"], report()).wish
        assert back is not None
        assert (back.kind, back.paused) == (WishKind.BACK, False)


def fleet_state(db: sa.Connection, rollout_id: str) -> tuple[str, str]:
    row = rollouts.get(db, rollout_id)
    assert row is not None
    return row["state"], row["reason"]
