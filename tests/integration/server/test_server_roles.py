"""Who may ask for what: all routes, asked by nobody, with a session that is over, and in every role, against the table below.

A route that is not in the table fails the test, so that a new one is thought about.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from server_node import file_objects, make_store, phantom_datasets, take_reading

from pneumoscope.config import Settings
from pneumoscope.server import make_app
from pneumoscope.store import Store, accounts, now, sessions
from pneumoscope.store.people_schema import session
from pneumoscope.store.sessions import Limits

ROLES = {
    "reader": "list open judge compare upload operate account",
    "technician": "list upload operate measure account",
    "administrator": "list compare operate oversee release manage measure account",
    "auditor": "audit compare oversee account",
    "monitor": "measure account",
    "": "account",
}
STUDY = "/dicom-web/studies/{study}"
SERIES = STUDY + "/series/{series}"
OBJECT = SERIES + "/instances/{instance}"
NEEDED = {
    "free": ["GET /health", "GET /static/{name}", "GET /app-config.js", "GET /{name:path}"],
    "entrance": [
        "POST /comfort",
        "GET /login",
        "POST /login",
        "GET /login/openid",
        "GET /login/openid/back",
        "GET /login/openid/out",
        "GET /guest/{offer_id}",
        "POST /guest/{offer_id}",
        "GET /guest/{offer_id}/done",
    ],
    "account": [
        "POST /logout",
        "GET /account",
        "POST /account/password",
        "POST /account/sessions/{session_id}/end",
        "POST /account/sessions/end",
    ],
    "list": ["GET /", "GET /api/studies", "GET /api/studies/{study}/state", "GET /events", "GET /viewer/"],
    "judge": [
        "POST /readings/{reading_id}/review",
        "POST /studies/{study}/verdict",
        "POST /studies/{study}/offer",
        "POST /studies/{study}/offer/end",
        "GET /others",
        "POST /others/{task_id}/take",
        "GET /others/{task_id}/open",
    ],
    "oversee": ["GET /service"],
    "release": [
        "POST /service/ask",
        "POST /service/confirm",
        "POST /service/stop",
        "POST /service/back",
        "POST /service/limits",
    ],
    "compare": ["GET /agreement"],
    "open": [
        "GET /studies/{study}",
        "GET /api/studies/{study}",
        "GET /studies/{study}/mark",
        "GET /readings/{reading_id}/thumbnail",
        "GET /readings/{reading_id}/{name}",
        "GET /viewer/{place:path}",
        "POST /studies/{study}/together",
        "GET /together/{meeting_id}",
        "POST /together/{meeting_id}/end",
        "WS /together/{meeting_id}/channel",
        "GET /dicom-web/studies",
        "GET /dicom-web/series",
        "GET /dicom-web/instances",
        f"GET {STUDY}",
        f"GET {STUDY}/series",
        f"GET {STUDY}/instances",
        f"GET {STUDY}/metadata",
        f"GET {STUDY}/thumbnail",
        f"GET {SERIES}",
        f"GET {SERIES}/instances",
        f"GET {SERIES}/metadata",
        f"GET {SERIES}/thumbnail",
        f"GET {OBJECT}",
        f"GET {OBJECT}/metadata",
        f"GET {OBJECT}/rendered",
        f"GET {OBJECT}/thumbnail",
        f"GET {OBJECT}/frames/{{numbers}}",
        f"GET {OBJECT}/frames/{{number}}/rendered",
        f"GET {OBJECT}/bulkdata/{{address:path}}",
    ],
    "upload": ["GET /upload", "POST /upload", "POST /dicom-web/studies", f"POST {STUDY}"],
    "operate": [
        "POST /studies/{study}/read",
        "POST /deliveries/{delivery_id}/resend",
        "POST /api/studies/{study}/read",
        "POST /api/deliveries/{delivery_id}/resend",
        "GET /dicom-web/workitems",
        "POST /dicom-web/workitems",
        "GET /dicom-web/workitems/{workitem}",
        "POST /dicom-web/workitems/{workitem}",
        "PUT /dicom-web/workitems/{workitem}/state",
        "POST /dicom-web/workitems/{workitem}/cancelrequest",
        "POST /dicom-web/workitems/{workitem}/subscribers/{ae_title}",
        "DELETE /dicom-web/workitems/{workitem}/subscribers/{ae_title}",
        "POST /dicom-web/workitems/{workitem}/subscribers/{ae_title}/suspend",
        "WS /dicom-web/subscribers/{ae_title}",
    ],
    "manage": [
        "GET /people",
        "POST /people",
        "POST /people/{account_id}/roles",
        "POST /people/{account_id}/reset",
        "POST /people/{account_id}/unlock",
        "POST /people/{account_id}/shut",
        "POST /people/{account_id}/open",
        "GET /partners",
        "POST /partners/{site}/agree",
        "POST /partners/{site}/end",
    ],
    "audit": ["GET /audit", "GET /api/audit"],
    "measure": ["GET /ready", "GET /metrics"],
}
WANTED = {route: need for need, routes in NEEDED.items() for route in routes}


def routes(found: list) -> Iterator[str]:
    """FastAPI keeps included routers as such."""
    for route in found:
        if isinstance(original := getattr(route, "original_route", route), APIWebSocketRoute):
            yield f"WS {original.path}"
        elif isinstance(route, APIRoute) or hasattr(route, "methods"):
            yield from (f"{method} {route.path}" for method in route.methods)
        elif hasattr(route, "effective_route_contexts"):
            yield from routes(list(route.effective_route_contexts()))
        else:
            pytest.fail(f"a route that this test does not know: {route!r}")


@dataclass
class House:
    app: FastAPI
    store: Store
    fill: dict[str, str]

    def token(self, role: str, *, age: timedelta = timedelta(0)) -> str:
        limits = Limits(idle=timedelta(hours=1), longest=timedelta(hours=1))
        with self.store.database.begin() as db:
            row = accounts.find(db, subject=f"a-{role}")
            token = sessions.begin(db, row["id"], address="", agent="", limits=limits)
            found = sessions.find(db, token, limits=limits)
            moment = now() - age
            db.execute(session.update().where(session.c.id == found["session_id"]).values(seen_at=moment, created_at=moment))
        return token

    async def ask(self, route: str, *, token: str = "") -> tuple[int, str]:
        method, _, path = route.partition(" ")
        for name, value in self.fill.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path, path
        headers = {"X-Requested-With": "pneumoscope"} | ({"Cookie": f"pneumoscope-8042={token}"} if token else {})
        if method == "WS":
            return await self._open(path, headers)
        if path == "/events":
            return await self._listen(path, headers)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8042") as client:
            answer = await client.request(method, path, headers=headers)
        is_json = answer.headers.get("content-type") == "application/json"
        content = answer.json() if is_json else {}
        return answer.status_code, content.get("code", "") if isinstance(content, dict) else ""

    async def _listen(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """A stream has no end: its listener leaves as soon as it has begun."""
        answered, status, body = anyio.Event(), 0, b""
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "http",
        }
        scope |= {"headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()]}
        scope |= {"client": ("127.0.0.1", 1), "http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.3"}}

        async def receive() -> dict:
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            nonlocal status, body
            status, body = message.get("status", status), body + message.get("body", b"")
            if message["type"] == "http.response.body":
                answered.set()

        await self.app(scope, receive, send)
        return status, json.loads(body)["code"] if status >= 400 else ""

    async def _open(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """403 where a websocket is closed before it was accepted."""
        sent: list[dict] = []
        scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "client": ("127.0.0.1", 1)}
        scope |= {"headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()], "scheme": "ws"}

        async def receive() -> dict:
            return {"type": "websocket.disconnect" if sent else "websocket.connect", "code": 1000}

        async def send(message: dict) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return (101, "") if sent and sent[0]["type"] == "websocket.accept" else (403, "closed")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    store = make_store(folder)
    settings = Settings(node={"folder": folder})
    (dataset, *_) = phantom_datasets()
    file_objects(store, [dataset], settings=settings)
    fill = {"study": dataset.StudyInstanceUID, "series": dataset.SeriesInstanceUID, "instance": dataset.SOPInstanceUID}
    fill |= {
        "numbers": "1",
        "number": "1",
        "address:path": "00091010",
        "reading_id": take_reading(store, dataset.StudyInstanceUID),
        "name": "none.json",
        "name:path": "none.html",
        "place:path": "viewer",
        "workitem": "1.5",
        "ae_title": "ME",
    }
    with store.database.begin() as db:
        for role in ROLES:
            account_id = accounts.add(db, login=f"a-{role}", roles=[role] if role else [], password_hash="none")
            accounts.set_password(db, account_id, "none")
    yield House(
        make_app(settings, store),
        store,
        fill | dict.fromkeys(("delivery_id", "account_id", "session_id", "meeting_id", "offer_id", "task_id", "site"), "none"),
    )
    store.database.close()


def test_every_route_is_in_the_table(house: House) -> None:
    found = list(routes(house.app.routes))
    assert len(found) == len(set(found))
    assert set(found) ^ set(WANTED) == set()


def test_nobody_and_those_whose_session_is_over_get_nowhere(house: House) -> None:
    async def ask() -> dict[str, tuple[int, str]]:
        over = house.token("reader", age=timedelta(hours=13))
        async with house.app.router.lifespan_context(house.app):
            found = {}
            for route, need in WANTED.items():
                if need not in ("free", "entrance"):
                    for token in ("", over, "nonsense"):
                        found[f"{route} {token and 'stale'}"] = await house.ask(route, token=token)
            return found

    assert {
        route: found for route, found in anyio.run(ask).items() if found not in ((401, "login-needed"), (403, "closed"))
    } == {}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_what_it_needs_and_nothing_else(house: House, role: str) -> None:
    async def ask() -> dict[str, tuple[int, str]]:
        async with house.app.router.lifespan_context(house.app):
            return {route: await house.ask(route, token=house.token(role)) for route in WANTED}

    wrong = {}
    for route, (status, code) in anyio.run(ask).items():
        need = WANTED[route]
        if need in ("free", "entrance"):
            continue
        if route == "WS /together/{meeting_id}/channel":  # of a meeting that there is not: nobody gets in, whatever their role
            right = (status, code) == (403, "closed")
        elif need in ROLES[role].split():
            right = status not in (401, 403) and (need != "open" or (status, code) != (404, "no-such-study"))
        elif need in ("open", "judge"):
            right = (status, code) in ((404, "no-such-study"), (403, "closed"))
        else:
            right = (status, code) in ((403, "not-allowed"), (403, "closed"))
        if not right:
            wrong[route] = (status, code)
    assert wrong == {}
