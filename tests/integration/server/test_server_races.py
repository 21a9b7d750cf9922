"""Logging in while something else happens to the account."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from server_node import make_store

from pneumoscope.config import Settings
from pneumoscope.server import make_app
from pneumoscope.store import Store, accounts, passwords, sessions
from pneumoscope.store.people_schema import session

OLD, NEW, NEWEST = "first-password-of-kim", "a few words do well", "some other words do too"


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
