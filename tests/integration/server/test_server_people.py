"""People over the wire: logging in, the first password, sessions, being locked out and not, forged forms, proxies."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
from server_node import Node, make_store, start, stop
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from pneumoscope.config import Settings
from pneumoscope.store import accounts, now, passwords, sessions
from pneumoscope.store.people_schema import attempt, session
from pneumoscope.store.schema import mark
from pneumoscope.store.sessions import Limits

FIRST, OWN = "first-password-of-kim", "a few words do well"
PAGE = {"Accept": "text/html"}
TRIES = 3


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("people")
    store = make_store(folder)
    environment = {"PNEUMOSCOPE_HTTP__TRUST_THIS_MACHINE": "false", "PNEUMOSCOPE_PEOPLE__TRIES": str(TRIES)}
    process, url, log = start(folder, environment=environment)
    yield Node(Settings(node={"folder": folder}), store, process, url, log, {})
    assert stop(process) == 0
    told = log.read_text() + str(
        [(entry["actor"], entry["detail"], entry["action"]) for entry in Node(None, store, process, url, log, {}).audit()]
    )
    store.database.close()
    assert "Traceback" not in told
    for secret in (FIRST, OWN, "not the password", "typed into the wrong field"):
        assert secret not in told


def person(house: Node, login: str, *, roles: tuple[str, ...] = ("reader",), must_change: bool = False) -> str:
    with house.store.database.begin() as db:
        account_id = accounts.add(db, login=login, name=f"Dr {login}", roles=roles)
        accounts.set_password(db, account_id, passwords.hashed(FIRST), must_change=must_change)
    return account_id


def browser(house: Node) -> httpx.Client:
    return httpx.Client(base_url=house.url, headers=PAGE, timeout=60)


def log_in(client: httpx.Client, login: str, password: str = FIRST, *, place: str = "/") -> httpx.Response:
    return client.post("/login", data={"login": login, "password": password, "next": place})


def csrf(client: httpx.Client) -> str:
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/account").text)[1]


def test_the_first_password_is_changed_before_anything_else(house: Node) -> None:
    person(house, "Kim", must_change=True)
    with browser(house) as client:
        assert client.get("/studies/1.2").headers["location"] == "/login?next=%2Fstudies%2F1.2"
        answer = log_in(client, "kIM", place="/studies/1.2")
        assert (answer.status_code, answer.headers["location"]) == (303, "/studies/1.2")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert client.get("/").headers["location"] == "/account"
        assert client.get("/api/studies", headers={"Accept": "*/*"}).json()["code"] == "password-must-change"
        before, token = dict(client.cookies), csrf(client)
        for new, again, text in (
            ("short", "short", "too short"),
            ("words words words", "other words words", "not the same"),
            ("kim kim kim kim kim", "kim kim kim kim kim", "too easy"),
            (FIRST, FIRST, "is the old one"),
        ):
            answer = client.post("/account/password", data={"csrf": token, "old": FIRST, "new": new, "again": again})
            assert answer.status_code == 400
            assert text in answer.text
        answer = client.post("/account/password", data={"csrf": token, "old": FIRST, "new": OWN, "again": OWN})
        assert answer.headers["location"] == "/account?done=password"
        assert client.get("/").status_code == 200
        assert "Dr Kim" in client.get("/").text
    with browser(house) as client:  # the session of before is over
        client.cookies.update(before)
        assert client.get("/").headers["location"].startswith("/login")
        assert log_in(client, "kim").status_code == 401
        assert log_in(client, "kim", OWN).status_code == 303


def test_a_session_ends(house: Node) -> None:
    account_id = person(house, "lee")
    with browser(house) as here, browser(house) as there:
        for client in (here, there):
            log_in(client, "lee")
            assert client.get("/").status_code == 200
        ours = sa.select(session.c.id).where(session.c.account_id == account_id)
        with house.store.database.begin() as db:
            assert len(db.execute(ours).all()) == 2
            hashes = db.execute(sa.select(session.c.token_hash)).scalars().all()
        assert not set(hashes) & set(here.cookies.values())

        here.post("/logout", data={"csrf": csrf(here)})
        assert here.get("/").status_code == 303
        log_in(here, "lee")
        (page,) = [re.findall(r'action="(/account/sessions/[^/]*/end)"', here.get("/account").text)]
        here.post(page[0], data={"csrf": csrf(here)})
        assert there.get("/").status_code == 303
        log_in(there, "lee")
        here.post("/account/sessions/end", data={"csrf": csrf(here)})
        assert (here.get("/").status_code, there.get("/").status_code) == (303, 303)

        for values in ({"seen_at": now() - timedelta(seconds=1801)}, {"created_at": now() - timedelta(hours=12, seconds=1)}):
            log_in(here, "lee")
            assert here.get("/").status_code == 200
            with house.store.database.begin() as db:
                db.execute(session.update().where(session.c.account_id == account_id).values(values))
            assert here.get("/").status_code == 303

        log_in(here, "lee")
        stale = now() - timedelta(seconds=900)
        own = session.update().where(session.c.account_id == account_id)
        for headers, kept in (({"Sec-Fetch-Mode": "navigate"}, False), ({"X-Background": "1"}, False), ({}, True)):
            with house.store.database.begin() as db:
                db.execute(own.values(seen_at=stale))
            assert here.get("/", headers=headers).status_code == 200
            with house.store.database.look() as db:
                seen = db.execute(sa.select(session.c.seen_at).where(session.c.account_id == account_id)).scalar_one()
            assert (seen != stale) == kept, headers


def hears(lines: Iterator[str]) -> bool:
    """Whether there is a change before the stream ends; one that goes on for long without a word fails the test."""
    silent = 0
    for line in lines:
        if line == "event: change":
            return True
        silent += line == ": still here"
        assert silent < 4
    return False


def test_who_may_no_longer_listen_hears_no_more(house: Node) -> None:
    limits = Limits(idle=timedelta(hours=1), longest=timedelta(hours=1))
    changed = mark.update().where(mark.c.name == "changes").values(value=mark.c.value + 1)
    with ExitStack() as opened:
        streams, channels, ids = {}, {}, {}
        for why in ("logged out", "idle", "shut out", "other roles", "stays"):
            ids[why] = person(house, why.replace(" ", "-"))
            with house.store.database.begin() as db:
                token = sessions.begin(db, ids[why], address="", agent="", limits=limits)
            cookie = {"Cookie": f"pneumoscope-{urlsplit(house.url).port}={token}"}
            client = opened.enter_context(httpx.Client(base_url=house.url, headers=cookie, timeout=60))
            answer = opened.enter_context(client.stream("GET", "/events"))
            assert answer.headers["content-type"].startswith("text/event-stream")
            streams[why] = answer.iter_lines()
            place = f"{house.root.replace('http', 'ws', 1)}/subscribers/ME"
            channels[why] = opened.enter_context(connect(place, additional_headers=cookie))
            if why == "logged out":
                leaving = client
        with house.store.database.begin() as db:
            db.execute(session.update().where(session.c.account_id == ids["idle"]).values(seen_at=now() - timedelta(hours=1)))
            accounts.set_disabled(db, ids["shut out"], True)
            accounts.set_roles(db, ids["other roles"], ["auditor"])
        assert leaving.post("/logout", headers={"X-Requested-With": "pneumoscope"}).status_code == 303
        for why in ("logged out", "idle", "shut out", "other roles"):
            while hears(streams[why]):
                pass
            with pytest.raises(ConnectionClosed) as closed:
                channels[why].recv(timeout=60)
            assert closed.value.rcvd.code == 1008
        for _ in range(2):  # the first may be of the beginning
            with house.store.database.begin() as db:
                db.execute(changed)
            assert hears(streams["stays"])
        channels["stays"].ping().wait(60)


def test_who_types_wrong_passwords_locks_out_nobody_who_was_here_before(house: Node) -> None:
    person(house, "park")
    with browser(house) as known, browser(house) as stranger:
        log_in(known, "park")
        for _ in range(TRIES):
            assert log_in(stranger, "park", "not the password").status_code == 401
        answer = log_in(stranger, "park")
        assert answer.status_code == 429
        assert "Too many wrong passwords" in answer.text
        known.post("/logout", data={"csrf": csrf(known)})
        assert log_in(known, "park").status_code == 303
        for _ in range(TRIES):  # but who was here before cannot try for ever either
            assert log_in(known, "park", "not the password").status_code == 401
        assert log_in(known, "park").status_code == 429
        with house.store.database.begin() as db:  # quiet for long enough
            db.execute(attempt.update().values(last_at=now() - timedelta(seconds=901)))
        assert log_in(stranger, "park").status_code == 303
    told = [(entry["action"], entry["outcome"], entry["actor"]) for entry in house.audit()]
    assert told.count(("login", "failed", "park")) == 2 * TRIES
    assert ("lock-out", "refused", "park") in told
    assert ("login", "refused", "") in told


def test_an_address_is_locked_after_wrong_passwords_for_many(house: Node) -> None:
    person(house, "han")
    with browser(house) as client:
        client.headers["X-Forwarded-For"] = "10.9.8.7"
        with house.store.database.begin() as db:
            from pneumoscope.store import attempts

            db.execute(attempt.insert().values(key=attempts.key("address", "10.9.8.7"), failures=29, last_at=now()))
        assert log_in(client, "typed into the wrong field", "not the password").status_code == 401
        assert log_in(client, "han").status_code == 429
        client.headers["X-Forwarded-For"] = "10.9.8.6"
        assert log_in(client, "han").status_code == 303


def test_forms_of_others_do_nothing(house: Node) -> None:
    person(house, "choi", roles=("reader", "technician"))
    with browser(house) as client, browser(house) as other:
        log_in(client, "choi")
        log_in(other, "choi")
        for data in ({}, {"csrf": "0" * 64}, {"csrf": csrf(other)}):
            answer = client.post("/studies/1.2.3/read", data=data)
            assert (answer.status_code, answer.json()["code"]) == (403, "not-our-form")
        assert client.post("/studies/1.2.3/read", headers={"X-Requested-With": "XMLHttpRequest"}).status_code == 403
        assert client.post("/studies/1.2.3/read", headers={"X-Requested-With": "pneumoscope"}).status_code == 404
        assert client.post("/studies/1.2.3/read", data={"csrf": csrf(client)}).status_code == 404
        one = ("files", ("a.dcm", b"x" * 9000))
        assert client.post("/upload", files=[one]).status_code == 403
        answer = client.post("/upload", data={"csrf": csrf(client)}, files=[one], headers={"Accept": "*/*"})
        assert answer.json()["outcomes"] == {"unreadable": 1}
        assert client.post("/logout", headers={"Origin": "http://evil.example"}).json()["code"] == "cross-site"
    with browser(house) as client:
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = client.post("/login", data={"login": "choi", "password": FIRST}, headers=headers)
            assert answer.json()["code"] == "cross-site"
        assert client.post("/login", content=b"x", headers={"Content-Type": "multipart/form-data"}).status_code == 415
        assert client.post("/login", data={"login": "x" * 70_000}).status_code == 413


@pytest.mark.parametrize("place", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", ""])
def test_a_login_leads_nowhere_else(house: Node, place: str) -> None:
    with house.store.database.look() as db:
        there = accounts.find(db, subject="yoon")
    if there is None:
        person(house, "yoon")
    with browser(house) as client:
        assert log_in(client, "yoon", place=place).headers["location"] == "/"


def test_an_administrator_looks_after_people(house: Node) -> None:
    boss = person(house, "boss", roles=("administrator", "auditor"))
    with browser(house) as client, browser(house) as new:
        log_in(client, "boss")

        def act(path: str, **data: object) -> httpx.Response:
            return client.post(f"/people{path}", data={"csrf": csrf(client), **data})

        answer = act("", login="seo", name="Dr Seo", roles=["reader"])
        password = re.search(r'id="first-password">([a-z0-9-]+)<', answer.text)[1]
        assert act("", login="SEO", roles=["reader"]).status_code == 409
        assert act("", login="../x", roles=["reader"]).status_code == 400
        assert act("", login="none").status_code == 400
        assert act("", login="none", roles=["king"]).status_code == 400
        with house.store.database.look() as db:
            seo = accounts.find(db, subject="seo")["id"]
        log_in(new, "seo", password)
        new.post("/account/password", data={"csrf": csrf(new), "old": password, "new": OWN, "again": OWN})
        for place, code in (("/studies/1.2", "no-such-study"), ("/people", "not-allowed")):
            assert f'<p class="dim">{code}</p>' in new.get(place).text
        act(f"/{seo}/roles", roles=["auditor"])
        assert new.get("/audit").status_code == 200  # from the next request on
        assert new.get("/").status_code == 403
        act(f"/{seo}/shut")
        assert new.get("/audit").status_code == 303
        assert log_in(new, "seo", OWN).status_code == 401
        act(f"/{seo}/open")
        assert log_in(new, "seo", OWN).headers["location"] == "/audit"  # an auditor sees no list of studies
        for _ in range(TRIES):
            log_in(new, "seo", "not the password")
        password = re.search(r'id="first-password">([a-z0-9-]+)<', act(f"/{seo}/reset").text)[1]
        assert new.get("/audit").status_code == 303
        assert log_in(new, "seo", password).status_code == 303
        for path in (f"/{boss}/shut", f"/{boss}/roles"):
            assert '<p class="dim">last-administrator</p>' in act(path, roles=["reader"]).text
        assert act("/none/shut").status_code == 404

        found = client.get("/audit", params={"person": "BOSS", "action": "people"}).text
        for text in ("seo was added: reader.", "seo is now: auditor.", "seo was shut out.", "was given a new first password"):
            assert text in found
        assert "lock-out" not in re.sub(r"<option.*?</option>", "", found)
        assert "Nothing fits." in client.get("/audit", params={"person": "nobody at all"}).text
        assert "Nothing fits." in client.get("/audit", params={"until": "2000-01-01"}).text
        assert "seo" in client.get("/audit", params={"since": f"{now():%Y-%m-%d}", "until": f"{now():%Y-%m-%d}"}).text


def test_behind_a_proxy_it_is_as_if_there_were_none(house: Node) -> None:
    person(house, "kang", roles=("auditor",))
    proxy = {"X-Forwarded-For": "10.1.1.1, 203.0.113.9", "X-Forwarded-Proto": "https", "Host": "pneumoscope.hospital.example"}
    with browser(house) as client:
        client.headers.update(proxy)
        answer = log_in(client, "kang")
        cookies = answer.headers.get_list("set-cookie")
        assert all(cookie.startswith("__Host-") and "Secure" in cookie and "Path=/" in cookie for cookie in cookies)
        token = cookies[0].partition(";")[0]
        answer = client.get("/api/audit", headers={"Cookie": token})
        assert answer.json()["link"][0]["url"].startswith("https://pneumoscope.hospital.example/api/audit")
        plain = token.replace("__Host-", "")
        assert client.get("/api/audit", headers={"Cookie": plain, "Accept": "*/*"}).status_code == 401
    logins = [entry for entry in house.audit() if entry["action"] == "login" and entry["actor"] == "kang"]
    assert [entry["address"] for entry in logins] == ["203.0.113.9"]


def test_the_first_account_is_made_once(tmp_path: Path) -> None:
    from pneumoscope.node.prepare import first_account, prepare

    settings = Settings(node={"folder": tmp_path / "node"}, people={"ways": "local"})
    prepare(settings)
    assert re.fullmatch(r"([a-z0-9]{5}-){3}[a-z0-9]{5}", first_account(settings))
    assert first_account(settings) == ""
    assert first_account(Settings(node={"folder": tmp_path / "node"}, people={"ways": "none"})) == ""
