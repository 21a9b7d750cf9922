"""Logging in while something else happens to the account, and people whom a provider calls alike."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import anyio
import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from server_node import file_objects, finish_reading, make_store, phantom_datasets
from starlette.requests import Request

from pneumoscope.config import OpenId, Settings
from pneumoscope.records import Answer, Judgement
from pneumoscope.server import make_app
from pneumoscope.server.credentials import actor_of
from pneumoscope.server.openid import Provider
from pneumoscope.server.visitor import Visitor
from pneumoscope.store import Store, accounts, passwords, reviews, sessions
from pneumoscope.store.people_schema import session

OLD, NEW, NEWEST = "first-password-of-kim", "a few words do well", "some other words do too"
ISSUER = "https://id.hospital.example"


@dataclass
class House:
    app: FastAPI
    store: Store
    account_id: str

    def sessions(self) -> int:
        with self.store.database.look() as db:
            return len(list(db.execute(session.select())))

    def kept(self) -> str:
        with self.store.database.look() as db:
            return accounts.get(db, self.account_id)["password_hash"]

    def reset(self) -> None:
        """As an administrator does it."""
        with self.store.database.begin() as db:
            accounts.set_password(db, self.account_id, passwords.hashed(NEW), must_change=True)
            sessions.end_all(db, self.account_id)

    def shut(self) -> None:
        with self.store.database.begin() as db:
            accounts.set_disabled(db, self.account_id, True)

    def ask(self, *requests: Callable[[httpx.AsyncClient], object]) -> httpx.Response:
        """The answer to the last of these."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            async with (
                self.app.router.lifespan_context(self.app),
                httpx.AsyncClient(transport=transport, base_url="http://localhost:8042") as client,
            ):
                for request in requests:
                    answer = await request(client)
                return answer

        return anyio.run(ask)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    store = make_store(tmp_path)
    with store.database.begin() as db:
        account_id = accounts.add(db, login="kim", roles=["reader"])
        accounts.set_password(db, account_id, passwords.hashed(OLD))
    settings = Settings(node={"folder": tmp_path})
    yield House(make_app(settings, store), store, account_id)
    store.database.close()


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """``happens`` as soon as the next password was looked at, which takes a while."""
    real = passwords.fits

    def fits(password: str, kept: str) -> bool:
        found = real(password, kept)
        monkeypatch.setattr(passwords, "fits", real)
        happens()
        return found

    monkeypatch.setattr(passwords, "fits", fits)


def log_in(password: str, place: str = "/") -> Callable[[httpx.AsyncClient], object]:
    return lambda client: client.post("/login", data={"login": "kim", "password": password, "next": place})


@pytest.mark.parametrize("hasher", [PasswordHasher(), PasswordHasher(time_cost=1)], ids=["of-today", "of-once"])
def test_who_is_under_way_with_an_old_password_does_not_get_in(
    house: House, monkeypatch: pytest.MonkeyPatch, hasher: PasswordHasher
) -> None:
    with house.store.database.begin() as db:
        accounts.set_password(db, house.account_id, hasher.hash(OLD))
    meanwhile(monkeypatch, house.reset)
    assert house.ask(log_in(OLD)).status_code == 401
    assert house.sessions() == 0
    assert passwords.fits(NEW, house.kept())  # and the old one is not put back


def test_who_is_shut_out_while_logging_in_has_no_session_that_waits_for_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, house.shut)
    assert house.ask(log_in(OLD)).status_code == 401
    assert house.sessions() == 0


def test_a_password_that_was_made_better_still_lets_in(house: House) -> None:
    with house.store.database.begin() as db:
        accounts.set_password(db, house.account_id, PasswordHasher(time_cost=1).hash(OLD))
    assert house.ask(log_in(OLD)).status_code == 303
    assert house.sessions() == 1
    assert not passwords.is_outdated(house.kept())


def test_a_person_does_not_undo_what_an_administrator_did(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def change(client: httpx.AsyncClient) -> httpx.Response:
        csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', (await client.get("/account")).text)[1]
        meanwhile(monkeypatch, house.reset)
        return await client.post("/account/password", data={"csrf": csrf, "old": OLD, "new": NEWEST, "again": NEWEST})

    assert house.ask(log_in(OLD), change).status_code != 303
    assert passwords.fits(NEW, house.kept())
    assert house.sessions() == 0


def test_a_login_leads_to_a_long_place(house: House) -> None:
    place = "/?q=" + "%ED%99%8D" * 190  # as many letters as the search takes

    async def form(client: httpx.AsyncClient) -> httpx.Response:
        answer = await client.get("/login", params={"next": place})
        assert f'value="{place}"' in answer.text
        return answer

    answer = house.ask(form, log_in(OLD, place))
    assert (answer.status_code, answer.headers.get("location")) == (303, place)


def test_people_whom_a_provider_calls_alike_are_not_the_same_reader(house: House, tmp_path: Path) -> None:
    (dataset, *_) = phantom_datasets()
    file_objects(house.store, [dataset], settings=Settings(node={"folder": tmp_path}))
    reading_id, _ = finish_reading(house.store, dataset.StudyInstanceUID)
    provider = Provider(OpenId(issuer=ISSUER, client_id="pneumoscope", role_claim="groups", roles={"radiology": ["reader"]}))

    async def come(subject: str, username: str) -> str:
        """Whom the trail and the answers call the person."""
        scope = {"type": "http", "app": house.app, "visitor": Visitor(actor="", address=""), "headers": []}
        claims = {"sub": subject, "preferred_username": username, "name": "Kim", "groups": ["radiology"]}
        async with house.app.router.lifespan_context(house.app):
            row = provider._account(Request(scope), house.app.state.desk, claims)
        return actor_of(login=row["login"], issuer=row["issuer"])

    async def all_come() -> list[str]:
        return [await come(*who) for who in (("1", "kim"), ("2", "Kim"), ("1", "kim.lee"), ("3", "kim"), ("2", "kim"))]

    one, two, renamed, three, again = anyio.run(all_come)
    assert one == renamed == "kim (OpenID Connect)"
    assert two == again
    assert len({one, two, three}) == 3
    for reader, judgement in ((one, Judgement.ACCEPT), (two, Judgement.ACCEPT)):
        with house.store.database.begin() as db:
            reviews.add(db, reading_id, Answer(judgement=judgement), reader=reader)
    with house.store.database.look() as db:
        assert [row["reader"] for row in reviews.latest(db, [reading_id])[reading_id]] == [one, two]


def test_a_session_of_another_provider_holds_no_more(house: House, tmp_path: Path) -> None:
    limits = sessions.Limits(idle=timedelta(hours=1), longest=timedelta(hours=1))
    tokens = {}
    with house.store.database.begin() as db:
        for issuer in ("https://id.before.example", ISSUER):
            account_id = accounts.add(db, login="lee", roles=["reader"], issuer=issuer, subject="lee")
            tokens[issuer] = sessions.begin(db, account_id, address="", agent="", limits=limits)
    openid = {"issuer": ISSUER, "client_id": "x", "roles": {"radiology": ["reader"]}}
    house.app = make_app(Settings(node={"folder": tmp_path}, people={"ways": "both", "openid": openid}), house.store)
    answers = {}
    for issuer, token in tokens.items():
        headers = {"Cookie": f"pneumoscope-8042={token}"}
        answers[issuer] = house.ask(lambda client, headers=headers: client.get("/account", headers=headers)).status_code
    assert list(answers.values()) == [401, 200]
