"""Accounts, sessions and tries on both databases."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

import databases
from pneumoscope.store import Database, accounts, attempts, now, passwords, sessions
from pneumoscope.store.people_schema import attempt, session

LIMITS = sessions.Limits(idle=timedelta(minutes=30), longest=timedelta(hours=12))
PAUSE = timedelta(minutes=15)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with databases.on(request.param, request, tmp_path_factory.mktemp("people")) as found:
        yield found


def counted(db: sa.Connection) -> dict[str, int]:
    return {row.key: row.failures for row in db.execute(sa.select(attempt))}


def test_a_login_name_is_one_person_s(database: Database) -> None:
    with database.begin() as db:
        kim = accounts.add(db, login="Kim", roles=["reader"], password_hash="x")
        assert accounts.add(db, login="kIM", roles=["reader"], password_hash="y") is None
        assert accounts.add(db, login="Kim", roles=[], issuer="https://id", subject="kim")  # another's, at the provider
        assert accounts.find(db, subject="KIM")["id"] == kim
        assert accounts.find(db, subject="KIM", issuer="https://id") is None
        assert accounts.get(db, kim)["must_change"] is True
        accounts.set_roles(db, kim, ["administrator", "reader"])
        assert accounts.holders(db, "administrator") == {kim}
        accounts.set_disabled(db, kim, True)
        assert accounts.holders(db, "administrator") == set()


@pytest.mark.parametrize("act", ["roles", "shut"])
def test_two_who_take_each_other_s_last_role_at_once_leave_one(database: Database, act: str) -> None:
    with database.begin() as db:
        for row in accounts.everyone(db):
            accounts.set_roles(db, row["id"], [])
        pair = [accounts.add(db, login=f"{act}-{n}", roles=["administrator"]) for n in range(2)]

    def take_from(account_id: str, *, meanwhile: threading.Event | None = None) -> bool:
        with database.begin() as db:
            if accounts.holders(db, "administrator") == {account_id}:
                return False
            if meanwhile:  # the other begins now, and waits for us or is done before us
                began.set()
                meanwhile.wait(1)
            accounts.set_roles(db, account_id, []) if act == "roles" else accounts.set_disabled(db, account_id, True)
            return True

    began, done = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(take_from, pair[0], meanwhile=done)
        assert began.wait(20)
        second = take_from(pair[1])
        done.set()
        assert (first.result(), second) == (True, False)
    with database.look() as db:
        assert accounts.holders(db, "administrator") == {pair[1]}


def test_a_session_holds_until_it_is_over(database: Database) -> None:
    with database.begin() as db:
        lee = accounts.add(db, login="lee", roles=["reader"])
        token = sessions.begin(db, lee, address="10.0.0.1", agent="x" * 5000, limits=LIMITS)
        found = sessions.find(db, token, limits=LIMITS)
        assert (found["id"], found["roles"]) == (lee, ["reader"])
        assert not sessions.end(db, found["session_id"], account_id="another")
        assert sessions.find(db, token + "x", limits=LIMITS) is None
        for column, age in ((session.c.seen_at, LIMITS.idle), (session.c.created_at, LIMITS.longest)):
            db.execute(session.update().values(seen_at=now(), created_at=now()))
            db.execute(session.update().values({column: now() - age + timedelta(seconds=30)}))
            assert sessions.find(db, token, limits=LIMITS)
            db.execute(session.update().values({column: now() - age - timedelta(seconds=1)}))
            assert sessions.find(db, token, limits=LIMITS) is None
        other = sessions.begin(db, lee, address="", agent="", limits=LIMITS)  # what is over goes
        assert (
            len(sessions.of(db, lee, limits=LIMITS))
            == db.execute(sa.select(sa.func.count()).select_from(session)).scalar()
            == 1
        )
        accounts.set_disabled(db, lee, True)
        assert sessions.find(db, other, limits=LIMITS) is None


def test_tries_are_counted_however_many_at_once(database: Database) -> None:
    account, address = attempts.account_key("park"), attempts.key("address", "10.0.0.2")
    entered: list[bool] = []

    def attack() -> None:
        with database.begin() as db:
            found = attempts.enter(db, {account: 5, address: 50}, pause=PAUSE)
        entered.append(found)

    threads = [threading.Thread(target=attack) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entered) == [False] * 7 + [True] * 5
    with database.begin() as db:
        counts = counted(db)
        assert counts == {account: 5, address: 5}
        assert attempts.is_locked(db, account, limit=5, pause=PAUSE)
        db.execute(attempt.update().values(last_at=now() - PAUSE - timedelta(seconds=1)))
        assert not attempts.is_locked(db, account, limit=5, pause=PAUSE)
        assert attempts.enter(db, {account: 5, address: 50}, pause=PAUSE)  # and the count begins anew
        assert counted(db) == {account: 1, address: 1}
        attempts.take_back(db, address)
        attempts.forget(db, account)
        assert counted(db) == {address: 0}


def test_passwords() -> None:
    kept = passwords.hashed("a few words do well")
    assert passwords.fits("a few words do well", kept)
    assert not passwords.fits("a few words do well ", kept)
    assert not passwords.fits("a few words do well", "")
    assert not passwords.fits("a few words do well", "damaged")
    assert not passwords.is_outdated(kept)
    assert passwords.is_outdated("$argon2id$v=19$m=8192,t=1,p=1$" + kept.split("$", 4)[4])
    assert len({passwords.make() for _ in range(100)}) == 100
    for password, fault in (
        ("elevenchars", "too-short"),
        ("x" * 201, "too-long"),
        ("abababababab", "too-simple"),
        ("my name is KIM ok", "too-simple"),
        ("a few words do well", ""),
    ):
        assert passwords.fault(password, login="kim") == fault
