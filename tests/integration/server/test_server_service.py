"""The page of the model in service, the banner of every page, and a study whose reading is held: blind, and judged blind."""

import json
import re
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from server_node import finish_reading, make_store

from pneumoscope.config import Settings
from pneumoscope.fleet.messages import Mode, Orders, Role, Stop
from pneumoscope.records import Study
from pneumoscope.server import make_app
from pneumoscope.store import (
    Store,
    accounts,
    arrivals,
    audit,
    now,
    observations,
    readings,
    service,
    sessions,
    studies,
    verdicts,
)
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.observations import Observed
from pneumoscope.store.schema import parcel, reading
from pneumoscope.store.sessions import Limits

STUDY = "1.2.826.0.1.3680043.10.7"
MODEL = "lung-lesion 0.1.0"
TOKEN = "a-program-that-reads-reports"
PEOPLE = {"kim": "administrator", "lee": "administrator", "cho": "reader", "park": "auditor", "han": "technician"}


@dataclass
class House:
    app: FastAPI
    store: Store
    study: str
    tokens: dict[str, str] = field(default_factory=dict)

    def client(self, login: str) -> httpx.AsyncClient:
        cookie = {"Cookie": f"pneumoscope-8042={self.tokens[login]}"} if login else {}
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost:8042", headers=cookie)

    async def fetch(self, login: str, path: str) -> httpx.Response:
        async with self.client(login) as client:
            return await client.get(path)

    async def get(self, login: str, path: str) -> str:
        async with self.client(login) as client:
            answer = await client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        return answer.text

    async def post(self, login: str, path: str, **given: Any) -> httpx.Response:
        async with self.client(login) as client:
            return await client.post(path, headers={"X-Requested-With": "pneumoscope"}, **given)

    async def say(self, login: str, path: str, **fields: str) -> tuple[int, str]:
        answer = await self.post(login, path, data=fields)
        return answer.status_code, "" if answer.status_code == 303 else answer.json()["code"]

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            async with self.app.router.lifespan_context(self.app):
                await work()

        anyio.run(whole)

    def hold(self, *, from_the_start: bool = True) -> None:
        """The study is read by a model that is in shadow; ``from_the_start``: as it always was."""
        with self.store.database.begin() as db:
            if from_the_start:
                db.execute(parcel.delete())
                db.execute(reading.update().values(state="held", category="", headline="", probability=None))
            reading_id = studies.read_again(db, self.study)
            assert reading_id
            readings.start(db, reading_id, process_id="worker-x")
            readings.hold(db, reading_id, code="shadow-mode", message="Not released.", model=MODEL, device_uid="2.25.9")
            for role, model in ((Role.PRESENT, MODEL), (Role.CANDIDATE, "lung-lesion 0.2.0")):
                one = Observed(
                    reading_id=reading_id,
                    StudyInstanceUID=self.study,
                    model=model,
                    role=role,
                    mode=Mode.SHADOW,
                    outcome="read",
                    probability=0.9 if role is Role.PRESENT else 0.7,
                    category=observations.Answer.SIGN,
                )
                observations.record(db, one)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    store = make_store(tmp_path)
    programs = ({"name": "reports", "token": TOKEN, "roles": ("reader",)},)
    settings = Settings(node={"folder": tmp_path}, http={"programs": programs})
    one = Filed(
        study=Study(StudyInstanceUID=STUDY, PatientName="Yamada^Tarou", PatientID="P-1_x"),
        SeriesInstanceUID=f"{STUDY}.1",
        SOPInstanceUID=f"{STUDY}.1.1",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        TransferSyntaxUID="1.2.840.10008.1.2.1",
        key="studies/x",
        sha256="0" * 64,
        size_bytes=1000,
        received_at=now(),
    )
    with store.database.begin() as db:
        arrivals.file_images(db, [one])
    finish_reading(store, STUDY)
    found = House(make_app(settings, store), store, STUDY)
    limits = Limits(idle=timedelta(hours=1), longest=timedelta(hours=1))
    with store.database.begin() as db:
        for login, role in PEOPLE.items():
            account_id = accounts.add(db, login=login, roles=[role], password_hash="none")
            accounts.set_password(db, account_id, "none")
            found.tokens[login] = sessions.begin(db, account_id, address="", agent="", limits=limits)
    yield found
    store.database.close()


def assessment(**changes: Any) -> dict[str, Any]:
    document = {
        "schema_version": 1,
        "made_at": "2026-01-02T03:04:05+00:00",
        "model": {"name": "lung-lesion", "version": "0.1.0"},
        "cases": {"n": 30, "positive": 12, "scored": 30},
        "leakage": {"in_training": []},
        "auc": {"value": 0.9, "low": 0.8, "high": 0.97},
    }
    return {"assessment": ("assessment.json", json.dumps(document | changes).encode(), "application/json")}


def test_one_person_asks_for_release_and_another_confirms_it(house: House) -> None:
    with house.store.database.begin() as db:
        service.begin(db, model=MODEL, actor=service.HUB)

    async def work() -> None:
        assert "has not been released here" in await house.get("cho", "/")
        weak = assessment(auc={"value": 0.5, "low": 0.4, "high": 0.6})
        answer = await house.post("kim", "/service/ask", data={"act": "release"}, files=weak)
        assert (answer.status_code, answer.json()["code"]) == (400, "service-assessment")
        assert await house.say("lee", "/service/confirm", act="release") == (409, "service-step")
        answer = await house.post("kim", "/service/ask", data={"act": "release", "reason": "<b>"}, files=assessment())
        assert answer.status_code == 303
        assert "Another person has to confirm it." in await house.get("kim", "/service")
        assert await house.say("kim", "/service/confirm", act="release") == (409, "service-two-people")
        assert await house.say("lee", "/service/confirm", act="promote") == (409, "service-step")
        page = await house.get("lee", "/service")
        assert "AUC 0.900" in page
        assert "&lt;b&gt;" in page
        assert await house.say("lee", "/service/confirm", act="release") == (303, "")
        assert "has not been released here" not in await house.get("cho", "/")

    house.run(work)
    with house.store.database.look() as db:
        found = service.current(db, "")
        row = service.last(db, "release")
        told = [entry["detail"] for entry in audit.entries(db) if entry["action"] == "service"]
    assert found.is_live
    assert row is not None
    assert (row["actor"], row["second"]) == ("kim", "lee")
    assert "on 30 cases of this site" in row["reason"]
    assert told[-1].startswith("release by kim and lee: lung-lesion 0.1.0, live.")


def test_readers_are_told_that_the_model_was_stopped_and_why(house: House) -> None:
    async def work() -> None:
        assert await house.say("kim", "/service/stop") == (400, "service-reason")
        assert await house.say("kim", "/service/stop", reason="<i>new tube</i>") == (303, "")
        for path in ("/", f"/studies/{house.study}", "/account"):
            page = await house.get("cho", path)
            assert "Downtime notice" in page
            assert "&lt;i&gt;new tube&lt;/i&gt;" in page
            assert re.search("by kim", page)
        assert await house.say("kim", "/service/limits", no_sign_below="0.9", sign_from="0.95") == (400, "service-limits")
        assert await house.say("kim", "/service/limits", no_sign_below="nan", sign_from="1") == (422, "service-limits")
        assert await house.say("kim", "/service/limits", no_sign_below="0,2", sign_from="0.6") == (303, "")
        assert "new tube" in await house.get("cho", "/"), "as after any other act"
        async with house.client("") as stranger:
            assert "new tube" not in (await stranger.get("/login")).text
        answer = await house.post("kim", "/service/ask", data={"act": "resume", "reason": "calibrated"})
        assert answer.status_code == 303
        assert await house.say("lee", "/service/confirm", act="resume") == (303, "")
        assert "Downtime notice" not in await house.get("cho", "/")

    house.run(work)


def _hub_asks(tmp_path: Path, model: str) -> None:
    stop = Stop(id="0a", model=model, reason="wrong <on> some")
    orders = Orders(now=now(), site="0b", title="a", province="b", stops=(stop,))
    (tmp_path / "fleet").mkdir(exist_ok=True)
    (tmp_path / "fleet" / "orders.json").write_text(orders.model_dump_json())


def test_until_people_decide_all_are_told_that_the_hub_wants_the_model_stopped(house: House, tmp_path: Path) -> None:
    said = re.compile(rf"The hub asks that {MODEL} be taken out of service\.</b> <q><bdi>wrong &lt;on&gt; some</bdi></q>")

    async def work() -> None:
        assert "The hub asks" not in await house.get("cho", "/")
        _hub_asks(tmp_path, MODEL)
        for login in ("cho", "han", "kim"):
            assert said.search(await house.get(login, "/")), login
        assert "An administrator of this site decides" in await house.get("cho", "/")
        assert "An administrator of this site decides" not in await house.get("kim", "/")
        for login, may in (("kim", True), ("park", False)):
            page = await house.get(login, "/service")
            assert len(said.findall(page)) == 2, "in the banner and on the page"
            assert "Any administrator of this site may do so" in page
            assert ('value="wrong &lt;on&gt; some"><button' in page) is may
        assert await house.say("kim", "/service/stop", reason="wrong <on> some") == (303, "")
        for login, path in (("cho", "/"), ("kim", "/service"), ("park", "/service")):
            page = await house.get(login, path)
            assert "The hub asks" not in page and "Downtime notice" in page

    house.run(work)


def test_of_a_candidate_that_the_hub_wants_stopped_its_page_tells(house: House, tmp_path: Path) -> None:
    with house.store.database.begin() as db:
        service.propose(db, "lung-lesion 7.0.0", actor="kim", default_model=MODEL)
    _hub_asks(tmp_path, "lung-lesion 7.0.0")

    async def work() -> None:
        assert "The hub asks that lung-lesion 7.0.0" in await house.get("park", "/service")
        assert "The hub asks" not in await house.get("cho", "/"), "readers are shown nothing of it"
        assert await house.say("kim", "/service/back", reason="wrong <on> some") == (303, "")
        page = await house.get("kim", "/service")
        assert "The hub asks" not in page and "wrong &lt;on&gt; some" in page

    house.run(work)


def test_who_may_see_and_who_may_act(house: House) -> None:
    async def work() -> None:
        assert "Nothing was decided yet" in await house.get("park", "/service")
        assert "What can be done" not in await house.get("park", "/service")
        assert "/service" not in await house.get("cho", "/")
        for login in ("cho", "han", "park"):
            assert await house.say(login, "/service/stop", reason="r") == (403, "not-allowed")
        async with house.client("kim") as client:
            answer = await client.post("/service/stop", data={"reason": "r"})
        assert (answer.status_code, answer.json()["code"]) == (403, "not-our-form")

    house.run(work)


def test_of_a_study_that_is_held_no_word_of_a_model_is_shown(house: House) -> None:
    async def work() -> None:
        before = await house.get("cho", f"/studies/{house.study}")
        assert "report.html" in before
        assert "0.83" in before
        house.hold()
        page = await house.get("cho", f"/studies/{house.study}")
        assert "Not released." in page
        for word in ("0.83", "0.90", "12 %", "report.html", "slices-card", "finding-card", "Sign of pneumonia", "review card"):
            assert word not in page, word
        listed = await house.get("cho", "/?state=held")
        assert house.study in listed
        assert "Not released." in listed
        assert "score" not in listed.partition("<tbody>")[2].partition("</tbody>")[0]
        assert house.study not in await house.get("cho", "/?category=sign+of+pneumonia+of+the+COVID-19+pattern")

    house.run(work)


def test_what_an_earlier_version_showed_while_the_model_was_live_stays_and_is_marked(house: House) -> None:
    """Pages, list, API and DICOMweb alike: it was delivered, and nobody is blind to it."""

    async def work() -> None:
        objects = (await house.fetch("cho", f"/dicom-web/studies/{house.study}/instances")).json()
        house.hold(from_the_start=False)
        page = await house.get("cho", f"/studies/{house.study}")
        assert "Not released." in page
        assert "What follows is of version 1, the last that has a result." in page
        for word in ("0.83", "report.html", "finding-card", "review card", "superseded"):
            assert word in page, word
        assert "What do you see?" not in page
        listed = await house.get("cho", "/?state=held")
        assert "of version 1, the last that has a result" in listed
        assert "Not released." in listed
        told = (await house.fetch("cho", f"/api/studies/{house.study}")).json()
        versions = [(one["version"], one["state"], one["superseded"], bool(one["results"])) for one in told["readings"]]
        assert versions == [(2, "held", False, False), (1, "read", True, True)]
        assert told["readings"][0]["probability"] is None
        assert (await house.fetch("cho", f"/dicom-web/studies/{house.study}/instances")).json() == objects
        assert (await house.fetch("cho", f"/readings/{told['readings'][1]['id']}/report.html")).status_code == 200
        assert await house.say("cho", f"/studies/{house.study}/verdict", category="sign") == (409, "not-blind")

    house.run(work)


def test_a_verdict_is_given_blind_and_counts_beside_the_model(house: House) -> None:
    place = f"/studies/{house.study}/verdict"
    with house.store.database.begin() as db:
        service.propose(db, "lung-lesion 0.2.0", actor="kim", default_model=MODEL)

    async def work() -> None:
        assert await house.say("cho", place, category="sign") == (409, "not-blind")
        house.hold()
        assert await house.say("cho", place, category="maybe") == (422, "verdict-wrong")
        assert await house.say("han", place, category="sign") == (404, "no-such-study")
        for _ in range(2):
            assert await house.say("cho", place, category="sign") == (303, "")
        assert "Your verdict is kept" in await house.get("cho", f"/studies/{house.study}")
        page = await house.get("kim", "/service")
        assert re.search(r"studies that both have read</dt><dd>1<.*same category</dt><dd>1 \(100 %\)", page, re.DOTALL)
        assert "-0.200" in page.replace("−", "-")
        async with house.client("") as client:
            told = {"Authorization": f"Bearer {TOKEN}"}
            answer = await client.post(place, json={"category": "no-sign"}, headers=told)
            assert answer.status_code == 201
            assert (await client.post(place, content=b"[", headers=told)).status_code == 422

    house.run(work)
    with house.store.database.look() as db:
        rows = verdicts.of_study(db, house.study)
        beside = verdicts.beside(db, MODEL)
        noted = [row["detail"] for row in audit.entries(db) if row["action"] == "verdict"]
    assert {(row["reader"], row["source"], row["category"]) for row in rows} == {
        ("cho", "page", "sign"),
        ("reports", "report", "no-sign"),
    }
    assert sorted(one.said == one.model_said for one in beside) == [False, True]
    assert len(noted) == 3
