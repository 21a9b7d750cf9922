"""Reading together by the wire: who is let in, who is sent away and why, what the audit trail keeps."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from server_node import Node
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from pneumoscope.store import accounts, sessions
from pneumoscope.store.sessions import Limits

OURS = {"X-Requested-With": "pneumoscope"}
HOUR = Limits(idle=timedelta(hours=1), longest=timedelta(hours=1))


class Guest:
    """Someone with an account, and the tabs of their browser."""

    def __init__(self, node: Node, login: str, role: str, tabs: ExitStack) -> None:
        self._node, self._tabs, self._opened = node, tabs, 0
        with node.store.database.begin() as db:
            self.account_id = accounts.add(db, login=login, name=f"Dr {login}", roles=[role], password_hash="none")
            accounts.set_password(db, self.account_id, "none")
            token = sessions.begin(db, self.account_id, address="", agent="", limits=HOUR)
        self.cookie = {"Cookie": f"pneumoscope-{urlsplit(node.url).port}={token}"}

    def begin(self) -> str:
        answer = httpx.post(f"{self._node.url}/studies/{self.study}/together", headers=self.cookie | OURS)
        assert answer.status_code == 303
        return answer.headers["location"]

    @property
    def study(self) -> str:
        return next(iter(self._node.datasets.values())).StudyInstanceUID

    def get(self, link: str) -> httpx.Response:
        return httpx.get(self._node.url + link, headers=self.cookie)

    def end(self, link: str) -> int:
        return httpx.post(f"{self._node.url}{link.partition('?')[0]}/end", headers=self.cookie | OURS).status_code

    def open(self, link: str, *, origin: str | None = None) -> ClientConnection:
        place, _, query = link.partition("?")
        self._opened += 1
        url = f"{self._node.url.replace('http', 'ws', 1)}{place}/channel?{query}&tab={self._opened:08}"
        headers = self.cookie | ({"Origin": origin} if origin else {})
        return self._tabs.enter_context(connect(url, additional_headers=headers, max_queue=None))


@pytest.fixture
def guests(node: Node) -> Iterator[object]:
    with ExitStack() as tabs:
        found: dict[str, Guest] = {}

        def guest(login: str, role: str = "reader") -> Guest:
            return found.setdefault(login, Guest(node, login, role, tabs))

        yield guest


def hear(tab: ClientConnection, kind: str) -> dict:
    while (message := json.loads(tab.recv(timeout=30)))["kind"] != kind:
        pass
    return message


def why_closed(tab: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            tab.recv(timeout=30)
    return closed.value.rcvd.code


def test_it_is_joined_by_link_talked_in_and_ended_and_noted(node: Node, guests) -> None:
    ann, bob = guests("ann"), guests("bob")
    link = ann.begin()
    page = bob.get(link)
    assert page.headers["Permissions-Policy"] == "camera=(self), geolocation=(), microphone=(self)"
    assert "End now" in ann.get(link).text
    assert "End now" not in page.text
    assert "microphone=()" in bob.get(f"/studies/{ann.study}").headers["Permissions-Policy"]
    of_ann, of_bob = ann.open(link), bob.open(link)
    hear(of_bob, "welcome")
    of_bob.send(json.dumps({"kind": "chat", "text": "a secret of the room"}))
    assert hear(of_ann, "chat")["name"] == "Dr bob"
    assert bob.end(link) == 404
    assert ann.end(link) == 204
    assert [why_closed(of_ann), why_closed(of_bob)] == [4000, 4000]
    assert [bob.get(link).status_code, ann.get(link).status_code, ann.end(link)] == [404, 404, 404]
    assert why_closed(bob.open(link)) == 4004
    trail = [row for row in node.audit() if row["action"] == "read together" and row["actor"] in ("ann", "bob")]
    assert {row["StudyInstanceUID"] for row in trail} == {ann.study}
    assert {(row["actor"], row["detail"]) for row in trail} >= {("ann", "Begun."), ("bob", "Joined."), ("ann", "Ended.")}
    assert "secret" not in str(trail)


def test_who_begins_anew_ends_what_was_open(guests) -> None:
    eve = guests("eve")
    first = eve.open(eve.begin())
    second = eve.begin()
    assert why_closed(first) == 4000
    assert eve.get(second).status_code == 200
    assert eve.end(second) == 204


def test_strangers_other_sites_and_wrong_words_are_sent_away(node: Node, guests) -> None:
    fay, technician = guests("fay"), guests("gus", "technician")
    link = fay.begin()
    assert technician.get(link).status_code == 404
    with pytest.raises(InvalidStatus, match="404"):
        technician.open(link)
    with pytest.raises(InvalidStatus, match="403"):
        fay.open(link, origin="https://elsewhere.example")
    assert why_closed(fay.open(f"{link}x")) == 4004
    wrong = fay.open(link)
    wrong.send('{"kind": "people"}')
    assert why_closed(wrong) == 4005
    wrong = fay.open(link)
    wrong.send(b"\xff\xfe")
    assert why_closed(wrong) == 4005
    flood = fay.open(link)
    with suppress(ConnectionClosed):
        for _ in range(2000):
            flood.send('{"kind": "chat", "text": "more"}')
    assert why_closed(flood) == 4006


def test_there_are_four_seats(node: Node, guests) -> None:
    hal, liz = guests("hal"), guests("liz")
    link = hal.begin()
    for _ in range(4):
        hear(hal.open(link), "welcome")
    assert why_closed(liz.open(link)) == 4001
    assert ("liz", "refused") in {(row["actor"], row["outcome"]) for row in node.audit() if row["action"] == "read together"}


def test_who_is_logged_out_or_loses_the_right_is_sent_away(node: Node, guests) -> None:
    ida, jon, kay = guests("ida"), guests("jon"), guests("kay")
    link = ida.begin()
    of_ida, of_jon, of_kay = (guest.open(link) for guest in (ida, jon, kay))
    for tab in (of_ida, of_jon, of_kay):
        hear(tab, "welcome")
    assert httpx.post(f"{node.url}/logout", headers=jon.cookie | OURS).status_code == 303
    with node.store.database.begin() as db:
        accounts.set_roles(db, kay.account_id, ["technician"])
    assert [why_closed(of_jon), why_closed(of_kay)] == [4003, 4003]
    of_ida.send('{"kind": "chat", "text": "still here"}')
    assert hear(of_ida, "chat")["text"] == "still here"
