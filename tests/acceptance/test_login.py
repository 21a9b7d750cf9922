"""People log in, in a real browser: the first password, being locked out, a real provider of OpenID Connect."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import databases
from openid_server import OpenIdProvider, openid_provider
from pneumoscope.store import Store, accounts, audit, passwords
from servers import free_port, wait_for

FIRST, OWN = "first-password-of-kim", "a few words do well"
#: Where set, pictures of the pages are put.
PICTURES = os.environ.get("PNEUMOSCOPE_TEST_PICTURES")


@dataclass
class House:
    url: str
    store: Store
    provider_port: int
    folder: Path

    def trail(self) -> list[tuple[str, str, str]]:
        with self.store.database.look() as db:
            return [(row["action"], row["outcome"], row["actor"]) for row in audit.entries(db, limit=10_000)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port, provider_port = tmp_path_factory.mktemp("login"), free_port(), free_port()
    store = databases.store(folder)
    url = f"http://127.0.0.1:{port}"
    (folder / "node.toml").write_text(f"""
[node]
folder = "{folder}"
[http]
port = {port}
[people]
ways = "both"
tries = 3
[people.openid]
issuer = "http://127.0.0.1:{provider_port}"
client_id = "pneumoscope"
client_secret = "{OpenIdProvider.SECRET}"
title = "the hospital's login"
[people.openid.roles]
radiologists = ["reader"]
it = ["administrator"]
""")
    log = folder / "log"
    with log.open("wb") as file:
        variables = {key: value for key, value in os.environ.items() if not key.startswith("PNEUMOSCOPE_")}
        variables["PNEUMOSCOPE_CONFIG"] = str(folder / "node.toml")
        command = [sys.executable, "-W", "error", "-m", "pneumoscope.server"]
        process = subprocess.Popen(command, env=variables, stderr=file)
    try:
        wait_for(lambda: _answers(url, process, log), seconds=120, what="the server")
        yield House(url, store, provider_port, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        store.database.close()
    told = log.read_text()
    assert "Traceback" not in told
    for secret in (FIRST, OWN, OpenIdProvider.SECRET, "code="):
        assert secret not in told


@pytest.fixture(scope="module")
def provider(house: House) -> Iterator[OpenIdProvider]:
    # the house asks for its provider when the first person wants to go there, and says so where it is away
    assert httpx.get(f"{house.url}/login/openid", timeout=60).status_code == 503
    with openid_provider(house.folder, port=house.provider_port, root=house.url) as running:
        yield running


def _answers(url: str, process: subprocess.Popen, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def person(house: House, login: str, *roles: str, must_change: bool = True) -> None:
    with house.store.database.begin() as db:
        account_id = accounts.add(db, login=login, name=f"Dr {login}", roles=roles)
        accounts.set_password(db, account_id, passwords.hashed(FIRST), must_change=must_change)


@pytest.fixture
def browse(browser, house: House):
    """Opens browsers that know nothing of one another; what a page complains of fails the test."""
    contexts, complaints = [], []

    def _browse():
        context = browser.new_context(viewport={"width": 1366, "height": 768}, color_scheme="dark", base_url=house.url)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console", lambda message: complaints.append(message.text) if "Content Security Policy" in message.text else None
        )
        return page

    yield _browse
    for context in contexts:
        context.close()
    assert complaints == []


def picture(page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def log_in(page, login: str, password: str) -> None:
    page.get_by_label("Name", exact=True).fill(login)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()


def test_the_first_login(house: House, browse) -> None:
    person(house, "kim", "reader", "technician", "administrator", "auditor")
    page = browse()
    page.goto("/?state=read")
    assert "/login" in page.url
    picture(page, "login")
    log_in(page, "kim", FIRST)
    page.get_by_text("choose a password of your own").wait_for()
    picture(page, "first")
    page.get_by_label("Old password").fill(FIRST)
    page.get_by_label("New password", exact=True).fill(OWN)
    page.get_by_label("New password, again").fill(OWN)
    page.get_by_role("button", name="Change the password").click()
    page.get_by_text("Your password is changed").wait_for()
    picture(page, "account")
    page.get_by_role("link", name="Pneumoscope").click()
    page.get_by_role("heading", name="Studies").wait_for()
    picture(page, "studies")

    page.get_by_role("link", name="People").click()
    page.get_by_label("Login name").fill("lee")
    page.get_by_label("Full name").fill("Dr Lee")
    page.locator("fieldset input[name=roles][value=reader]").check()
    page.get_by_role("button", name="Add", exact=True).click()
    assert re.fullmatch(r"([a-z0-9]{5}-){3}[a-z0-9]{5}", page.locator("#first-password").inner_text())
    picture(page, "people")
    page.get_by_role("link", name="Audit trail").click()
    page.get_by_label("Person").fill("kim")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("lee was added: reader.").wait_for()
    picture(page, "audit")
    beside = page.context.new_page()
    beside.goto("/?state=read")
    page.get_by_role("button", name="Log out").click()
    page.get_by_text("You are logged out.").wait_for()
    beside.wait_for_url("**/login?next=%2F%3Fstate%3Dread")  # nothing of anyone stays on a screen
    page.goto("/")
    assert "/login" in page.url


def test_wrong_passwords_lock_out(house: House, browse) -> None:
    person(house, "park", "reader", must_change=False)
    page = browse()
    page.goto("/login")
    for _ in range(3):
        log_in(page, "park", "not the password")
        page.get_by_text("The name or the password is wrong.").wait_for()
    log_in(page, "park", FIRST)
    page.get_by_text("Too many wrong passwords.").wait_for()
    picture(page, "locked")
    assert ("lock-out", "refused", "park") in house.trail()


def at_provider(page, login: str) -> None:
    page.get_by_role("link", name="Log in by the hospital's login").click()
    page.locator('input[name="login"]').fill(login)
    page.locator('input[name="password"]').fill("anything")
    page.locator('button[type="submit"]').click()
    page.get_by_role("button", name="Continue").click()


def test_a_person_of_the_provider_logs_in(house: House, browse, provider) -> None:
    page = browse()
    page.goto("/account")
    at_provider(page, "choi:radiologists,canteen")
    page.get_by_text("choi of the provider").first.wait_for()
    assert page.url == f"{house.url}/account"
    assert "reader" in page.locator(".facts").inner_text()
    assert page.get_by_label("Old password").count() == 0
    assert page.get_by_role("link", name="People").count() == 0
    picture(page, "openid")
    assert ("login", "success", "choi (OpenID Connect)") in house.trail()
    page.get_by_role("button", name="Log out").first.click()
    page.get_by_role("link", name="Log out at the hospital's login, too").click()
    page.get_by_role("button", name="Yes, sign me out").click()
    page.wait_for_url(f"{house.url}/login?**")
    page.get_by_role("link", name="Log in by the hospital's login").click()
    page.locator('input[name="login"]').wait_for()  # who was logged out there is asked again


def test_who_has_no_role_here_does_not_get_in(house: House, browse, provider) -> None:
    page = browse()
    page.goto("/login")
    at_provider(page, "cook:canteen")
    page.get_by_text("have no role here").wait_for()
    picture(page, "no-role")
    page.goto("/")
    assert "/login" in page.url
    assert ("login", "failed", "cook (OpenID Connect)") in house.trail()


def way_of(client: httpx.Client) -> tuple[str, dict]:
    """The cookie that remembers what was sent to the provider."""
    (name,) = [name for name in client.cookies if name.endswith("-way")]
    return name, json.loads(base64.urlsafe_b64decode(client.cookies[name].strip('"')))


def code_for(client: httpx.Client, house: House, login: str) -> str:
    """Goes through the provider's pages; the address that they lead back to."""
    with httpx.Client(follow_redirects=False, timeout=60) as there:
        answer = there.get(client.get("/login/openid").headers["location"])
        while True:
            while answer.is_redirect:
                place = str(answer.url.join(answer.headers["location"]))
                if place.startswith(house.url):
                    return place.removeprefix(house.url)
                answer = there.get(place)
            action = re.search(r'<form[^>]*action="([^"]+)"', answer.text)[1]
            prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)[1]
            answer = there.post(answer.url.join(action), data={"prompt": prompt, "login": login, "password": "anything"})


def test_what_was_not_asked_for_is_not_taken(house: House, provider) -> None:
    def back(client: httpx.Client, place: str) -> int:
        return client.get(place).status_code

    with httpx.Client(base_url=house.url, timeout=60) as client, httpx.Client(base_url=house.url, timeout=60) as other:
        assert back(client, "/login/openid/back?code=made-up&state=made-up") == 401
        assert back(client, "/login/openid/back?error=access_denied") == 401
        place = code_for(client, house, "mina:radiologists")
        assert back(other, place) == 401  # someone else's browser is led to it
        assert back(client, re.sub("state=[^&]+", "state=other", place)) == 401

        place = code_for(client, house, "mina:radiologists")
        name, way = way_of(client)
        (state,) = [key for key in way if key.startswith("_state_")]
        assert {"nonce", "code_verifier"} <= set(way[state]["data"])
        for part in ("nonce", "code_verifier"):
            place = code_for(client, house, "mina:radiologists")
            name, way = way_of(client)
            (state,) = [key for key in way if key.startswith("_state_")]
            way[state]["data"][part] = "x" * 43
            client.cookies.set(name, base64.urlsafe_b64encode(json.dumps(way).encode()).decode(), domain="127.0.0.1", path="/")
            assert back(client, place) == 401, part
            client.cookies.clear()

        place = code_for(client, house, "mina:radiologists")
        assert back(client, place) == 303
        assert back(client, place) == 401  # a code is good once
