"""Reading for another hospital: a real hub, two sites that report to it, and the pages of both."""

import sys
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from hub_fleet import Running
from member_site import Site

sys.path.append(str(Path(__file__).parents[1] / "server"))

from server_node import file_objects, finish_reading, phantom_datasets
from test_server_roles import WANTED

from pneumoscope.fleet import orders
from pneumoscope.fleet.pool_messages import Outcome
from pneumoscope.server import make_app, viewer
from pneumoscope.store import Database, accounts, audit, now, pool, readings, reviews, sessions, studies, verdicts
from pneumoscope.store.pool_schema import pool_offer
from pneumoscope.store.schema import reading
from pneumoscope.store.sessions import Limits

LIMITS = Limits(idle=timedelta(hours=1), longest=timedelta(hours=1))
OTHER = "2.25.4711"


class Hospital:
    """A site with people, pages and studies."""

    def __init__(self, folder: Path, hub: Running, title: str, *, more: str = "") -> None:
        self.title = title
        shared = f'[fleet]\nshare_readings = true\npages_url = "http://{title}.example:8042"\n{more}'
        self.site = Site(folder, hub.invite(title).written(), more=shared, keep_live=True)
        self.store, self.tokens = self.site.store, {}
        self.app = make_app(self.site.settings, self.store)
        with self.store.database.begin() as db:
            for login, role in (("ann", "reader"), ("bob", "reader"), ("kim", "administrator")):
                account_id = accounts.add(db, login=login, roles=[role], password_hash="none")
                accounts.set_password(db, account_id, "none")
                self.tokens[login] = sessions.begin(db, account_id, address="", agent="", limits=LIMITS)

    def client(self, login: str = "") -> httpx.AsyncClient:
        cookies = {"pneumoscope-8042": self.tokens[login]} if login else None
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        headers = {"X-Requested-With": "pneumoscope"}
        return httpx.AsyncClient(
            transport=transport, base_url=f"http://{self.title}.example:8042", cookies=cookies, headers=headers
        )

    async def post(self, login: str, path: str, **data: str) -> httpx.Response:
        async with self.client(login) as client:
            return await client.post(path, data=data)

    async def get(self, login: str, path: str) -> httpx.Response:
        async with self.client(login) as client:
            return await client.get(path)

    def report(self) -> None:
        self.site.reporting.turn()
        assert self.site.reporting.trouble == ""

    @property
    def id(self) -> str:
        return self.site.facts.site

    def trail(self) -> list[str]:
        with self.store.database.look() as db:
            return [f"{row['actor']}: {row['detail']}" for row in audit.entries(db) if row["action"] == "pool"]


class Two:
    def __init__(self, folder: Path, hub: Running) -> None:
        name = folder.name.lower().replace("_", "-")[-30:]
        self.hub, self.owner = hub, Hospital(folder / "owner", hub, f"owner-{name}")
        self.taker = Hospital(folder / "taker", hub, f"taker-{name}")
        datasets = phantom_datasets()
        self.study = datasets[0].StudyInstanceUID
        file_objects(self.owner.store, datasets, settings=self.owner.site.settings)
        self.reading_id, _ = finish_reading(self.owner.store, self.study)
        for n, dataset in enumerate(datasets[:2]):  # another patient's, and nobody's business
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = OTHER, OTHER + ".1", "P-2"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{OTHER}.1.{n}"
        file_objects(self.owner.store, datasets[:2], settings=self.owner.site.settings)
        self.other_reading, _ = finish_reading(self.owner.store, OTHER)

    def report(self, times: int = 1) -> None:
        for _ in range(times):
            self.owner.report()
            self.taker.report()

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            async with (
                self.owner.app.router.lifespan_context(self.owner.app),
                self.taker.app.router.lifespan_context(self.taker.app),
            ):
                await work()

        anyio.run(whole)

    def hold(self) -> None:
        """The study is read by a model whose word is not shown, and never was."""
        with self.owner.store.database.begin() as db:
            db.execute(reading.update().where(reading.c.StudyInstanceUID == self.study).values(state="held"))
            reading_id = studies.read_again(db, self.study)
            readings.start(db, reading_id, process_id="worker-x")
            held = {"code": "shadow-mode", "message": "Not released."}
            readings.hold(db, reading_id, **held, model="lung-lesion 0.1.0", device_uid="2.25.9")

    async def agree(self) -> None:
        self.report(2)
        for one, other in ((self.owner, self.taker), (self.taker, self.owner)):
            assert (await one.post("kim", f"/partners/{other.id}/agree")).status_code == 303
        self.report()

    async def link(self) -> str:
        """Offered, taken, invited: where the taker's reader goes."""
        assert (await self.owner.post("bob", f"/studies/{self.study}/offer", urgency="urgent")).status_code == 303
        self.report()
        [found] = orders.pool(self.taker.site.settings.node.folder).open
        assert (await self.taker.post("ann", f"/others/{found.task.id}/take")).status_code == 303
        self.taker.report()
        self.report(2)
        assert (await self.taker.get("bob", f"/others/{found.task.id}/open")).status_code == 404, "bob did not take it"
        answer = await self.taker.get("ann", f"/others/{found.task.id}/open")
        assert answer.status_code == 303
        return answer.headers["location"]

    async def enter(self, link: str) -> httpx.AsyncClient:
        """A guest's browser, after the link."""
        parts = urlsplit(link)
        client = self.owner.client()
        assert (await client.get(f"{parts.path}?{parts.query}")).status_code == 200
        answer = await client.post(parts.path, data={"secret": parts.query.removeprefix("secret=")})
        assert (answer.status_code, answer.headers.get("location")) == (303, f"/studies/{self.study}")
        return client


@pytest.fixture
def two(tmp_path: Path, hub: Running) -> Iterator[Two]:
    made = Two(tmp_path, hub)
    yield made
    made.owner.site.close()
    made.taker.site.close()


def test_a_study_is_offered_taken_read_there_and_answered(two: Two) -> None:
    async def work() -> None:
        await two.agree()
        client = await two.enter(await two.link())
        page = await client.get(f"/studies/{two.study}")
        assert page.status_code == 200
        for word in ("/together", "/offer", "/audit", "/upload", OTHER):
            assert word not in page.text, word
        answer = await client.post(f"/readings/{two.reading_id}/review", data={"judgement": "accept"})
        assert (answer.status_code, answer.headers["location"].split("/")[-1]) == (303, "done")
        assert "Your answer is kept" in (await client.get(answer.headers["location"])).text
        assert (await client.get(f"/studies/{two.study}")).status_code == 401, "it ends with the answer"
        two.report(2)
        assert "answered" in (await two.taker.get("ann", "/others")).text
        assert two.taker.title in (await two.owner.get("bob", f"/studies/{two.study}")).text

    two.run(work)
    with two.owner.store.database.look() as db:
        [review] = reviews.of_reading(db, two.reading_id)
    assert review["reader"] == f"reader ({two.taker.title})"
    assert [line.partition(": ")[0] for line in two.owner.trail()] == [
        "kim",
        "bob",
        "this node",
        f"reader ({two.taker.title})",
        f"reader ({two.taker.title})",
    ]
    assert [line.partition(": ")[0] for line in two.taker.trail()] == ["kim", "ann", "this node", "ann", "this node"]
    assert two.taker.trail()[-1].endswith("ended: answered.")
    database = Database(two.hub.settings.database_url)
    with database.look() as db:
        told = repr([dict(row) for row in audit.entries(db, limit=100_000)])
    database.close()
    content = b"".join(path.read_bytes() for path in (two.hub.config.parent / "hub").rglob("*") if path.is_file())
    for secret in (two.study, "Yamada", "secret="):
        assert secret not in told
        assert secret.encode() not in content, "the hub knows nothing of the patient, and no link"


def test_a_guest_gets_nowhere_else(two: Two) -> None:
    own = {"study": two.study, "reading_id": two.reading_id}
    others = {"study": OTHER, "reading_id": two.other_reading, "series": f"{OTHER}.1", "instance": f"{OTHER}.1.0"}
    fill = {"numbers": "1", "number": "1", "name": "report.html", "place:path": "viewer", "address:path": "00091010"}
    wrong: dict[str, int] = {}

    async def work() -> None:
        await two.agree()
        client = await two.enter(await two.link())
        for route, need in WANTED.items():
            method, _, path = route.partition(" ")
            if need in ("free", "entrance") or method == "WS" or path == "/events":
                continue
            for name, value in (fill | others).items():
                path = path.replace(f"{{{name}}}", value)
            for name in ("delivery_id", "account_id", "session_id", "meeting_id", "task_id", "site", "workitem", "ae_title"):
                path = path.replace(f"{{{name}}}", "none")
            answer = await client.request(method, path)
            if answer.status_code not in (401, 403, 404):
                wrong[route] = answer.status_code
        for path in (
            "/dicom-web/studies",
            f"/dicom-web/studies?StudyInstanceUID={OTHER}",
            f"/dicom-web/studies?StudyInstanceUID={two.study}&StudyInstanceUID={OTHER}",
            f"/dicom-web/studies?StudyInstanceUID={two.study}&0020000D={OTHER}",
            f"/dicom-web/studies?studyinstanceuid={two.study}",
            f"/dicom-web/studies?0020000d={two.study}",
            f"/dicom-web/studies?StudyInstanceUID={two.study}\\{OTHER}",
            f"/dicom-web/studies/{two.study}/../{OTHER}/series",
            f"/dicom-web/studies/{two.study}%2F..%2F{OTHER}/series",
            f"/viewer/viewer?StudyInstanceUIDs={two.study}&StudyInstanceUIDs={OTHER}",
            f"/viewer/viewer?StudyInstanceUIDs={two.study},{OTHER}",
            f"/api/studies/{two.study}",
            "/",
        ):
            status = (await client.get(path)).status_code
            if status not in (401, 403, 404):
                wrong[path] = status
        for path in (f"/studies/{two.study}/together", f"/studies/{two.study}/read", f"/studies/{two.study}/offer/end"):
            status = (await client.post(path)).status_code
            if status not in (403, 404):
                wrong[path] = status
        right = [f"/studies/{own['study']}", f"/readings/{own['reading_id']}/report.html"]
        right += [f"/dicom-web/studies/{two.study}/series", f"/dicom-web/studies?StudyInstanceUID={two.study}"]
        listed = await client.get(f"/dicom-web/studies?0020000D={two.study}&includefield=all")
        assert [found["0020000D"]["Value"] for found in listed.json()] == [[two.study]]
        for tag in ("0x20000D", "%20%2020000D", "%2B020000D", "2_0_000D"):  # that int() takes for the same number
            listed = await client.get(f"/dicom-web/studies?StudyInstanceUID={two.study}&{tag}={OTHER}")
            assert [found["0020000D"]["Value"] for found in listed.json()] == [[two.study]], tag
        assert {path: (await client.get(path)).status_code for path in right} == dict.fromkeys(right, 200)
        del client.headers["X-Requested-With"]
        forged = await client.post(f"/readings/{two.reading_id}/review", data={"judgement": "accept"})
        assert forged.status_code == 403
        client.headers["X-Requested-With"] = "pneumoscope"
        two.hold()
        assert "What do you see?" in (await client.get(f"/studies/{two.study}")).text
        answer = await client.post(f"/studies/{two.study}/verdict", data={"category": "no-sign"})
        assert answer.headers["location"].endswith("/done")
        assert (await client.post(f"/studies/{two.study}/verdict", data={"category": "sign"})).status_code == 401

    two.run(work)
    assert wrong == {}
    with two.owner.store.database.look() as db:
        found = verdicts.of_study(db, two.study)
    assert [(row["reader"], row["category"], row["source"]) for row in found] == [
        (f"reader ({two.taker.title})", "no-sign", "page")
    ]


def asked_by_the_viewer(study: str, series: str, instance: str) -> list[str]:
    """What OHIF asks for from its first page to a slice on the screen."""
    place = f"/dicom-web/studies/{study}"
    image = f"{place}/series/{series}/instances/{instance}"
    searches = [f"/dicom-web/studies?limit=101&offset=0&fuzzymatching=false&includefield=00081030&StudyInstanceUID={study}"]
    searches += [f"{place}/series?includefield=00080021", f"{place}/instances", f"{place}/series/{series}/metadata"]
    return [*searches, f"{place}/metadata", f"{place}/thumbnail", image, f"{image}/rendered", f"{image}/frames/1"]


def test_a_guest_opens_the_viewer_on_the_one_study(two: Two) -> None:
    async def statuses(client: httpx.AsyncClient, paths: list[str]) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for path in paths:
            found.setdefault((await client.get(path)).status_code, []).append(path)
        return found

    async def work() -> None:
        await two.agree()
        client = await two.enter(await two.link())
        place = f"/viewer/viewer?StudyInstanceUIDs={two.study}"
        assert f'href="{place}"' in (await client.get(f"/studies/{two.study}")).text
        opened = await client.get(place)
        assert opened.status_code == (200 if (viewer.FOLDER / "index.html").is_file() else 503)
        assert opened.headers["cache-control"] == "no-store"
        assert (await client.get("/app-config.js")).status_code == 200
        images = (await client.get(f"/dicom-web/studies/{two.study}/instances?Modality=CT")).json()
        series, instance = (images[0][tag]["Value"][0] for tag in ("0020000E", "00080018"))
        own = asked_by_the_viewer(two.study, series, instance)
        assert await statuses(client, own) == {200: own}
        others = [f"/viewer/viewer?StudyInstanceUIDs={OTHER}", *asked_by_the_viewer(OTHER, f"{OTHER}.1", f"{OTHER}.1.0")]
        others += asked_by_the_viewer(OTHER, series, instance)
        assert await statuses(client, others) == {404: others}
        assert await statuses(two.owner.client("bob"), others[:10]) == {opened.status_code: others[:1], 200: others[1:10]}
        # no copy of an image stays in the browser of another hospital; the owner's own readers need not fetch it again
        frame = own[-1]
        assert (await client.get(frame)).headers["cache-control"] == "no-store"
        assert "max-age" in (await two.owner.get("bob", frame)).headers["cache-control"]
        await two.owner.post("bob", f"/studies/{two.study}/offer/end")
        gone = [place, *own, *others]
        assert await statuses(client, gone) == {401: gone}

    two.run(work)


def test_a_right_ends_at_once(two: Two) -> None:
    ways = {
        "taken back": Outcome.WITHDRAWN,
        "expired": Outcome.EXPIRED,
        "agreement ended": Outcome.WITHDRAWN,
    }

    async def end(how: str) -> None:
        if how == "taken back":
            await two.owner.post("bob", f"/studies/{two.study}/offer/end")
        elif how == "agreement ended":
            await two.owner.post("kim", f"/partners/{two.taker.id}/end")
        else:
            with two.owner.store.database.begin() as db:
                db.execute(pool_offer.update().where(pool_offer.c.state.in_(pool.LIVE)).values(until=now()))

    def refused() -> tuple[str, str]:
        with two.owner.store.database.look() as db:
            found = [row for row in audit.entries(db, limit=100_000) if row["action"] == "pool" and row["outcome"] == "refused"]
        return found[-1]["StudyInstanceUID"], found[-1]["detail"]

    async def work() -> None:
        await two.agree()
        for how, outcome in ways.items():
            link = await two.link()
            path = urlsplit(link).path
            assert (await two.owner.client().post(path, data={"secret": "guess"})).status_code == 404
            assert refused() == (two.study, f"A wrong link of task {path.removeprefix('/guest/')} was refused.")
            client = await two.enter(link)
            await end(how)
            assert (await client.get(f"/studies/{two.study}")).status_code == 401
            late = await client.post(f"/readings/{two.reading_id}/review", data={"judgement": "accept"})
            assert late.status_code == 401
            parts = urlsplit(link)
            again = await client.post(parts.path, data={"secret": parts.query.removeprefix("secret=")})
            assert again.status_code == 404
            assert refused()[0] == two.study
            assert f"which is over ({outcome}), was refused" in refused()[1]
            two.report(2)
            with two.taker.store.database.look() as db:
                row = pool.takes(db)[0]
            assert (row["state"], row["link"]) == (outcome, ""), how
        stranger = two.owner.client()
        answers = [(await stranger.post("/guest/<i>", data={"secret": "guess"})).status_code for _ in range(20)]
        assert (answers[0], answers[-1]) == (404, 429)
        assert refused() == ("", "A link of a task that was never offered here was refused.")

    two.run(work)


def test_nothing_is_offered_to_whom_only_one_side_agreed_with(two: Two) -> None:
    async def work() -> None:
        two.report(2)
        assert (await two.owner.post("kim", f"/partners/{two.taker.id}/agree")).status_code == 303
        assert (await two.owner.post("bob", f"/partners/{two.taker.id}/agree")).status_code == 403
        assert (await two.owner.post("bob", f"/studies/{two.study}/offer")).status_code == 303
        two.report(2)

    two.run(work)
    heard = orders.pool(two.taker.site.settings.node.folder)
    assert heard.open == ()
    assert [one.agrees for one in heard.neighbours if one.site == two.owner.id] == [True]


def test_too_many_that_wait_are_offered_by_the_rule(tmp_path: Path, hub: Running) -> None:
    hospital = Hospital(tmp_path / "busy", hub, f"busy-{tmp_path.name.lower()[-8:]}", more="offer_above = 1\n")
    datasets = phantom_datasets()
    for n in range(3):
        dataset = datasets[n]
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{OTHER}.{n}", f"{OTHER}.{n}.1"
        file_objects(hospital.store, [dataset], settings=hospital.site.settings)
        finish_reading(hospital.store, f"{OTHER}.{n}")
    hospital.report()
    with hospital.store.database.look() as db:
        offered = [one for one in range(3) if pool.of_study(db, f"{OTHER}.{one}")]
    assert offered == [0, 1]
    hospital.site.close()
