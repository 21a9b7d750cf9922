"""The pages where people come in and go out."""

import re
from functools import partial
from typing import Annotated

import anyio.to_thread
import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from pneumoscope.server import entering
from pneumoscope.server.access import ACCOUNT, LOGOUT
from pneumoscope.server.credentials import actor_of
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.journal import note, visitor_of
from pneumoscope.server.openid import NotLetIn, Provider
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, Role, needs, rights_of
from pneumoscope.store import accounts, sessions

router = APIRouter()
#: A place of ours: neither another host nor what a browser takes for one.
_OURS = re.compile(r"/(?![/\\])[\x21-\x7e]{0,2000}")
Typed = Annotated[str, Form(max_length=1000)]
Place = Annotated[str, Form(max_length=2001)]


@router.get("/login")
def form(request: Request, desk: AtDesk, next: str = "/", out: str = "") -> Response:  # noqa: A002 - what the address says
    """Where people log in."""
    return _form(request, desk, place=next, out=out)


@router.post("/login")
async def log_in(request: Request, desk: AtDesk, login: Typed = "", password: Typed = "", next: Place = "/") -> Response:  # noqa: A002
    """Log in by an account of the node."""
    if not desk.settings.people.by_password:
        raise Problem(404, "not-found", "Nobody logs in by password here.")
    attempt = partial(_log_in, request, desk, login=login, password=password, place=next)
    return await anyio.to_thread.run_sync(attempt, limiter=desk.doors)


def _log_in(request: Request, desk: Desk, *, login: str, password: str, place: str) -> Response:
    try:
        row = entering.try_password(request, desk, login=login, password=password)
    except entering.TooManyTries:
        return _form(request, desk, place=place, login=login, fault="locked", status=429)
    if row is None:
        return _form(request, desk, place=place, login=login, fault="wrong", status=401)
    return let_in(request, desk, row, place=place)


def let_in(request: Request, desk: Desk, row: sa.RowMapping, *, place: str) -> Response:
    """Begin a session and show what was asked for."""
    wanted = place if _OURS.fullmatch(place) else "/"
    response = RedirectResponse(_home(row["roles"]) if wanted == "/" else wanted, 303)
    actor = actor_of(login=row["login"], issuer=row["issuer"])
    if not entering.enter(request, desk, row, response):
        note(request, "login", outcome="failed", actor=actor, detail="The account was changed meanwhile.")
        return _form(request, desk, place=place, login=row["login"], fault="wrong", status=401)
    way = "By OpenID Connect." if row["issuer"] else "By password."
    note(request, "login", actor=actor, detail=way)
    return response


@router.post(LOGOUT, dependencies=[needs(Right.ACCOUNT)])
def log_out(request: Request, desk: AtDesk) -> Response:
    """End this session."""
    visitor = visitor_of(request)
    with desk.store.database.begin() as db:
        row = accounts.get(db, visitor.account_id)
        sessions.end(db, visitor.session_id, account_id=visitor.account_id)
    note(request, "logout")
    at_provider = row is not None and row["issuer"]
    response = RedirectResponse(f"/login?out={'there' if at_provider else 'here'}", 303)
    desk.jar.drop_session(request, response)
    return response


@router.get("/login/openid")
async def openid(request: Request, desk: AtDesk, next: str = "/") -> Response:  # noqa: A002
    """To the provider."""
    provider = _provider(desk)
    try:
        return await provider.send_there(request, desk.jar, place=next)
    except NotLetIn as fault:
        return await _not_let_in(request, desk, fault)


@router.get("/login/openid/back")
async def openid_back(request: Request, desk: AtDesk) -> Response:
    """From the provider."""
    provider = _provider(desk)
    try:
        row, place = await provider.take_back(request, desk)
    except NotLetIn as fault:
        response = await _not_let_in(request, desk, fault)
    else:
        response = await anyio.to_thread.run_sync(partial(let_in, request, desk, row, place=place))
    desk.jar.drop_way(request, response)
    return response


@router.get("/login/openid/out")
async def openid_out(request: Request, desk: AtDesk) -> Response:
    """To the provider, to log out there."""
    try:
        return await _provider(desk).send_out(request)
    except NotLetIn as fault:
        return await _not_let_in(request, desk, fault)


def _home(roles: list[str]) -> str:
    """The first page for someone in these roles."""
    rights = rights_of(role for role in Role if role in roles)
    return "/" if Right.LIST in rights else "/audit" if Right.AUDIT in rights else ACCOUNT


def _provider(desk: Desk) -> Provider:
    if desk.provider is None:
        raise Problem(404, "not-found", "Nobody logs in by OpenID Connect here.")
    return desk.provider


async def _not_let_in(request: Request, desk: Desk, fault: NotLetIn) -> Response:
    def tell() -> Response:
        note(request, "login", outcome="failed", detail=fault.told, actor=fault.actor)
        return _form(request, desk, fault=fault.code, status=fault.status)

    return await anyio.to_thread.run_sync(tell)


def _form(  # noqa: PLR0913 - each is shown
    request: Request, desk: Desk, *, place: str = "/", login: str = "", fault: str = "", out: str = "", status: int = 200
) -> Response:
    shown = {"place": place if _OURS.fullmatch(place) else "/", "login": login, "fault": fault, "out": out}
    return page(request, "login.html", status=status, people=desk.settings.people, **shown)
