"""Something on every page of a node: people, answers over months, a hub's word, an offer, a model in shadow."""

import random
import uuid
from dataclasses import dataclass
from datetime import timedelta

from pneumoscope.config import Role
from pneumoscope.fleet.messages import Mode, Orders
from pneumoscope.fleet.messages import Role as ModelRole
from pneumoscope.fleet.orders import NAME
from pneumoscope.fleet.pool_messages import Amount, Neighbour, Open, PoolOrders, Task, Urgency
from pneumoscope.records import Category, Judgement
from pneumoscope.store import Database, accounts, now, observations, pool, readings, service, sessions, studies
from pneumoscope.store.observations import Observed
from pneumoscope.store.pool import Who
from pneumoscope.store.schema import review
from pneumoscope.store.sessions import Limits
from servers import Node

#: What a node needs in its settings, so that studies can be offered.
SETTINGS = '[fleet]\nshare_readings = true\npages_url = "http://ct.example:8042"\n'
PRESENT, CANDIDATE = "lung-lesion 1.0.0", "lung-lesion 1.1.0"
_OTHERS = (
    ("2b5b4a0e-0000-4000-8000-000000000001", "Kreiskrankenhaus Nord"),
    ("2b5b4a0e-0000-4000-8000-000000000002", "도립병원"),
)


@dataclass(frozen=True)
class Person:
    """Someone with every role, logged in: the session's token, for the cookie, and who the account is."""

    token: str
    account_id: str


def furnish(node: Node, *, offered: str, held: str) -> Person:
    """Put it there, with an offer of one study, and another read by a model in shadow."""
    database = Database(f"sqlite:///{node.folder / 'kept' / 'node.sqlite'}")
    day, who, chance = timedelta(days=1), Who(actor="kim"), random.Random(3)
    orders = Orders(
        now=now(), site="2b5b4a0e-0000-4000-8000-000000000000", title="Universitätsklinikum", province="Hubei", pool=_heard()
    )
    (node.folder / "kept" / "fleet").mkdir()
    (node.folder / "kept" / "fleet" / NAME).write_text(orders.model_dump_json())
    with database.begin() as db:
        ids = {}
        for login, roles in (("kim", list(Role)), ("lee", ["reader", "administrator"]), ("park", ["technician"])):
            ids[login] = accounts.add(db, login=login, name=f"Dr {login.title()}", roles=roles)
            accounts.set_password(db, ids[login], "none")
        accounts.set_disabled(db, ids["park"], True)
        agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36"
        limits = Limits(idle=day, longest=day)
        sessions.begin(db, ids["kim"], address="192.0.2.7", agent=agent, limits=limits)
        token = sessions.begin(db, ids["kim"], address="127.0.0.1", agent=agent, limits=limits)
        _answers(db, chance)
        for site, title in _OTHERS:
            pool.agree(db, site, title=title, who=who)
        taken = Task(id=str(uuid.uuid4()), urgency=Urgency.ROUTINE, images=Amount.FEW, until=now() + day)
        pool.take(db, Open(owner=_OTHERS[1][0], task=taken), title=_OTHERS[1][1], who=who)
        pool.offer(db, offered, urgency=Urgency.URGENT, images=28, longest=day, who=who)
        service.begin(db, model=PRESENT, actor="kim", reason="joined the fleet")
        service.propose(db, CANDIDATE, actor="the hub", reason="stage 1 of 3", default_model=PRESENT)
        service.ask(db, "release", actor="lee", reason="20 cases, AUC 0.93 (0.82 to 0.98)", default_model=PRESENT)
        _hold(db, held, chance)
    database.close()
    return Person(token, ids["kim"])


def _heard() -> PoolOrders:
    neighbours = tuple(Neighbour(site=site, title=title, agrees=not n) for n, (site, title) in enumerate(_OTHERS))
    task = Task(id=str(uuid.uuid4()), urgency=Urgency.URGENT, images=Amount.SOME, until=now() + timedelta(hours=8))
    return PoolOrders(neighbours=neighbours, open=(Open(owner=_OTHERS[0][0], task=task),))


def _answers(db, chance: random.Random) -> None:
    """Those of readings that are no longer here."""
    for n in range(90):
        judgement = chance.choices(list(Judgement), (85, 10, 5))[0]
        values = {"id": str(uuid.uuid4()), "reading_id": str(uuid.uuid4()), "number": 1, "StudyInstanceUID": f"2.25.{n + 1}"}
        values |= {
            "version": 1,
            "model": PRESENT if n > 30 else "lung-lesion 0.9.0",
            "device_uid": "2.25.9",
            "probability": 0.7,
        }
        values |= {"found_category": Category.SIGN, "site": chance.choice(["CT1", "CT2", "upload"])}
        values |= {"reader": chance.choice(["kim", "lee"]), "judgement": judgement, "added": [], "removed": []}
        db.execute(review.insert().values(**values, at=now() - timedelta(days=180 - 2 * n)))


def _hold(db, study: str, chance: random.Random) -> None:
    reading_id = studies.read_again(db, study)
    readings.start(db, reading_id, process_id="worker-x")
    readings.hold(db, reading_id, code="shadow-mode", message="Not released.", model=PRESENT, device_uid="2.25.9")
    for _ in range(24):
        score = chance.random()
        same = {"reading_id": str(uuid.uuid4()), "StudyInstanceUID": study, "mode": Mode.SHADOW, "outcome": "read"}
        for role, model, other in ((ModelRole.PRESENT, PRESENT, 0.0), (ModelRole.CANDIDATE, CANDIDATE, chance.gauss(0, 0.04))):
            shown = min(1.0, max(0.0, score + other))
            category = observations.Answer.SIGN if shown > 0.5 else observations.Answer.NO_SIGN
            observations.record(db, Observed(**same, model=model, role=role, probability=shown, category=category))
