"""Which model serves: who may do which step, what each leads to, and that nothing is decided without a trace."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

import databases
from pneumoscope.fleet.messages import Limits, Mode
from pneumoscope.store import Database, audit, service
from pneumoscope.store.fleet_schema import service_act
from pneumoscope.store.service import HUB, STOP_RULE, NotAllowed, Service

ONE, TWO = "lung-lesion 1.0.0", "lung-lesion 2.0.0"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sa.Connection]:
    found = databases.sqlite(tmp_path / "node.sqlite")
    with found.begin() as connection:
        yield connection
    found.close()


def shown(db: sa.Connection) -> tuple[str, Mode, str, str]:
    found = service.current(db, ONE)
    return found.model, found.mode, found.candidate, found.previous


def test_where_nothing_was_decided_the_model_of_the_settings_is_live(db: sa.Connection) -> None:
    assert service.current(db, ONE) == Service(model=ONE, mode=Mode.LIVE)
    assert service.asked(db) is None


def test_a_model_is_released_tried_promoted_and_taken_back(db: sa.Connection) -> None:
    service.begin(db, model=ONE, actor=HUB)
    assert shown(db) == (ONE, Mode.SHADOW, "", "")
    service.release(db, actor="kim", second="lee", reason="20 cases, AUC 0.91")
    service.set_limits(db, actor="kim", no_sign_below=0.3, sign_from=0.8, allowed=Limits())
    service.propose(db, TWO, actor=HUB, rollout="r1")
    assert shown(db) == (ONE, Mode.LIVE, TWO, "")
    service.promote(db, actor="kim", second="lee")
    found = service.current(db, "")
    assert shown(db) == (TWO, Mode.LIVE, "", ONE)
    assert (found.no_sign_below, found.sign_from, found.rollout) == (None, None, "r1"), "limits are of a model"
    service.stop(db, actor=STOP_RULE, reason="agreement 0.4, limit 0.7")
    assert shown(db) == (TWO, Mode.STOPPED, "", ONE)
    service.back(db, actor="kim", reason="worse than before")
    found = service.current(db, "")
    assert shown(db) == (ONE, Mode.LIVE, "", "")
    assert (found.no_sign_below, found.sign_from) == (0.3, 0.8)
    acts = [row["detail"].split()[0] for row in audit.entries(db) if row["action"] == "service"]
    assert acts == ["begin", "release", "limits", "candidate", "promote", "stop", "back"]
    assert [row["act"] for row in reversed(service.history(db))] == acts


def test_a_step_back_first_leads_away_from_the_candidate(db: sa.Connection) -> None:
    service.propose(db, TWO, actor="kim", default_model=ONE)
    service.back(db, actor="kim", reason="slow")
    assert shown(db) == (ONE, Mode.LIVE, "", "")
    with pytest.raises(NotAllowed, match="neither a candidate nor"):
        service.back(db, actor="kim")


def test_it_takes_two_different_people_to_show_results(db: sa.Connection) -> None:
    service.begin(db, model=ONE, actor=HUB)
    for actor, second in (("kim", ""), ("kim", "Kim "), ("", "lee"), ("kim", HUB), (STOP_RULE, "kim")):
        with pytest.raises(NotAllowed) as fault:
            service.release(db, actor=actor, second=second)
        assert fault.value.code == "service-two-people"
    service.propose(db, TWO, actor=HUB)
    with pytest.raises(NotAllowed):
        service.promote(db, actor=HUB)
    service.promote(db, actor=HUB, by_hub=True)
    assert shown(db) == (TWO, Mode.LIVE, "", ONE)
    service.back(db, actor=HUB)
    assert shown(db)[:2] == (ONE, Mode.SHADOW), "what was never released is not released by a step back"


def test_who_stops_needs_a_reason_and_who_resumes_another_person(db: sa.Connection) -> None:
    with pytest.raises(NotAllowed, match="reason"):
        service.stop(db, actor="kim", reason=" ")
    service.stop(db, actor="kim", reason="new tube")
    with pytest.raises(NotAllowed, match="already"):
        service.stop(db, actor="kim", reason="new tube")
    with pytest.raises(NotAllowed, match="two"):
        service.resume(db, actor="kim", reason="calibrated")
    service.ask(db, "resume", actor="kim", reason="calibrated")
    wish = service.asked(db)
    assert wish is not None
    assert (wish.act, wish.actor, wish.reason) == ("resume", "kim", "calibrated")
    assert service.current(db, ONE).act == "stop", "a wish decides nothing"
    service.resume(db, actor="kim", second="lee", reason=wish.reason)
    assert shown(db)[:2] == (ONE, Mode.LIVE)
    assert service.asked(db) is None


def test_what_was_stopped_in_shadow_goes_back_to_shadow(db: sa.Connection) -> None:
    service.begin(db, model=ONE, actor=HUB)
    service.stop(db, actor="kim", reason="new tube")
    service.resume(db, actor="kim")
    assert shown(db)[:2] == (ONE, Mode.SHADOW)


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.9), (0.2, 0.4), (0.2, None)])
def test_own_limits_lie_in_those_of_the_hub(db: sa.Connection, low: float, high: float | None) -> None:
    with pytest.raises(NotAllowed) as fault:
        service.set_limits(db, actor="kim", no_sign_below=low, sign_from=high, allowed=Limits())
    assert fault.value.code == "service-limits"


def test_decisions_cannot_be_changed(db: sa.Connection) -> None:
    service.begin(db, model=ONE, actor=HUB)
    with pytest.raises(DatabaseError, match="only ever added"):
        db.execute(service_act.delete())


def test_who_joins_again_keeps_what_was_decided(db: sa.Connection) -> None:
    service.begin(db, model=ONE, actor=HUB)
    service.release(db, actor="kim", second="lee")
    assert service.begin(db, model=TWO, actor=HUB).mode is Mode.LIVE
    assert len(service.history(db)) == 2


def test_of_two_who_stop_at_once_one_comes_second(database: Database) -> None:
    faults: list[NotAllowed] = []

    def stop(actor: str) -> None:
        try:
            with database.begin() as db:
                service.stop(db, actor=actor, reason="new tube")
        except NotAllowed as fault:
            faults.append(fault)

    threads = [threading.Thread(target=stop, args=(name,)) for name in ("kim", "lee", "cho")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(faults) == 2
    with database.begin() as db:
        service.keep(db)
        assert len(service.history(db)) == 1
