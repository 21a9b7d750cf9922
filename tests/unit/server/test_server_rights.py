"""Rights: roles, routes that name none, what is not there for those who may not see it."""

import anyio
import httpx
import pytest
from fastapi import APIRouter, FastAPI

from pneumoscope.server import problems
from pneumoscope.server.rights import RIGHTS, Right, Role, check, needs, rights_of
from pneumoscope.server.visitor import Visitor


def test_only_readers_open_studies_and_only_auditors_see_the_trail() -> None:
    assert {role for role in Role if Right.OPEN in RIGHTS[role]} == {Role.READER}
    assert {role for role in Role if Right.AUDIT in RIGHTS[role]} == {Role.AUDITOR}
    assert rights_of(Role) == frozenset(Right) - {Right.ACCOUNT}
    assert Visitor(actor="kim", address="", account_id="1").rights == {Right.ACCOUNT}
    assert rights_of(()) == frozenset()


def test_a_route_that_names_no_right_is_found() -> None:
    router = APIRouter()
    router.get("/fine", dependencies=[needs(Right.LIST)])(lambda: None)
    router.websocket("/bare")(lambda: None)
    with pytest.raises(ValueError, match="name no right: /bare"):
        check(router.routes)
    check(router.routes[:1])


@pytest.mark.parametrize(("right", "status"), [(Right.OPEN, 404), (Right.JUDGE, 404), (Right.AUDIT, 403), (Right.LIST, 200)])
def test_what_the_role_may_not_see_is_not_there(right: Right, status: int) -> None:
    app = FastAPI()
    problems.install(app)
    app.get("/it", dependencies=[needs(right)])(lambda: "content")

    async def as_technician(scope: dict, receive: object, send: object) -> None:
        scope["visitor"] = Visitor(actor="someone", address="", roles=frozenset({Role.TECHNICIAN}))
        await app(scope, receive, send)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(as_technician), base_url="http://node") as client:
            return await client.get("/it")

    response = anyio.run(ask)
    assert response.status_code == status
    assert ("content" in response.text) == (status == 200)
