"""Tasks of reading for another hospital, at the hub and at a node, on both databases."""

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from pneumoscope.fleet.pool_messages import Amount, Ended, Outcome, Pool, Sealed, Take, Task, Urgency
from pneumoscope.store import Database, now, pool, pool_tasks, sites
from pneumoscope.store.pool import Who
from pneumoscope.store.pool_schema import pool_consent

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
T1 = "00000000-0000-4000-8000-000000000001"


def enrol(db: sa.Connection, *titles: str) -> list[str]:
    later = now() + timedelta(days=1)
    return [sites.invite(db, title=title, province="Hubei", secret=title, until=later) for title in titles]


def task(**changes: object) -> Task:
    given = {"id": T1, "urgency": Urgency.URGENT, "images": Amount.SOME, "until": now() + timedelta(hours=1)}
    return Task.model_validate(given | changes)


def says(partners: Sequence[str], **more: object) -> Pool:
    return Pool.model_validate({"partners": tuple(partners)} | more)


def test_the_hub_gives_a_task_to_the_first_that_both_sides_agreed_with(database: Database) -> None:
    with database.begin() as db:
        a, b, c, d = enrol(db, "a", "b", "c", "d")
        everyone = [a, b, c, d]
        offers = says([b, c], offers=(task(),))
        pool_tasks.exchange(db, {a: offers, b: says([a]), c: says([a]), d: says(everyone)})
        heard = pool_tasks.exchange(db, {a: offers, b: says([a]), c: says([a]), d: says(everyone)})
        assert {site: len(answer.open) for site, answer in heard.items()} == {a: 0, b: 1, c: 1, d: 0}
        wish = (Take(id=T1, certificate=PEM),)
        heard = pool_tasks.exchange(db, {d: says(everyone, takes=wish), c: says([a], takes=wish), b: says([a], takes=wish)})
        assert {site: answer.progress[0].lost for site, answer in heard.items()} == {d: True, c: False, b: True}
        heard = pool_tasks.exchange(db, {a: offers})
        assert [(one.id, one.taker, one.certificate) for one in heard[a].assigned] == [(T1, c, PEM)]
        sealed = Sealed(id=T1, key="AAAA", content="AAAA")
        pool_tasks.exchange(db, {b: says([a], invitations=(sealed,))})
        assert pool_tasks.exchange(db, {c: says([a])})[c].progress[0].invitation is None, "b is not the owner"
        pool_tasks.exchange(db, {a: says([b, c], offers=(task(),), invitations=(sealed,))})
        assert pool_tasks.exchange(db, {c: says([a])})[c].progress[0].invitation == sealed
        pool_tasks.exchange(db, {a: says([b, c], ended=(Ended(id=T1, outcome=Outcome.ANSWERED),))})
        [told] = pool_tasks.exchange(db, {c: says([a])})[c].progress
        assert (told.outcome, told.invitation) == (Outcome.ANSWERED, None)


def test_an_agreement_that_ends_hides_what_was_on_offer(database: Database) -> None:
    with database.begin() as db:
        a, b = enrol(db, "a", "b")
        for mine, theirs, seen in (([b], [a], 1), ([], [a], 0), ([b], [], 0), ([b], [a], 1)):
            pool_tasks.exchange(db, {a: says(mine, offers=(task(),)), b: says(theirs)})
            assert len(pool_tasks.exchange(db, {b: says(theirs)})[b].open) == seen
        pool_tasks.exchange(db, {b: says([a], offers=(task(urgency=Urgency.ROUTINE),))})
        assert pool_tasks.exchange(db, {b: says([a])})[b].open[0].owner == a, "nobody takes a task's name over"
        sites.shut(db, a)
        assert pool_tasks.exchange(db, {b: says([a])})[b].open == ()
        late = task(until=now() - timedelta(seconds=1), id="0" * 36)
        pool_tasks.exchange(db, {b: says([a], offers=(late,))})
        assert db.execute(sa.select(sa.func.count()).select_from(pool_consent)).scalar_one() == 4


def test_partners_at_a_node(database: Database) -> None:
    who = Who(actor="kim")
    with database.begin() as db:
        for _ in range(2):
            pool.agree(db, "s-1", title="one", who=who)
        assert [row["title"] for row in pool.partners(db)] == ["one"]
        for _ in range(2):
            pool.part(db, "s-1", who=who)
        assert pool.partners(db) == []
        assert pool.unanswered(db) == []
        assert pool.guest(db, "") is None
        assert pool.enter(db, T1, "", address="") is None
