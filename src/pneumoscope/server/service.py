"""The page of the model in service: how it is, how it came there, and what administrators may do about it."""

from collections.abc import Callable
from typing import Annotated, Any

import anyio.to_thread
import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import UploadFile

from pneumoscope.fleet import acceptance, orders
from pneumoscope.server import serving
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.journal import visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import service

router = APIRouter(prefix="/service")
Reason = Annotated[str, Form(max_length=service.MOST_CHARACTERS)]
#: Wishes that need the site's own assessment of the model.
_ASSESSED = ("release", "promote")


@router.get("", dependencies=[needs(Right.OVERSEE)])
def show(request: Request, desk: AtDesk) -> Response:
    """What serves, what is tried, what was decided."""
    with desk.store.database.look() as db:
        found = serving.current(db)
        values: dict[str, Any] = {
            "found": found,
            "wish": service.asked(db),
            "of_hub": serving.wishes(orders.stops(desk.settings.node.folder), found),
            "history": service.history(db),
            "comparison": serving.comparison(db, found),
            "agreement": serving.agreement(db, (found.model, found.candidate, found.previous)),
        }
    return page(
        request, "service.html", **values, limits=orders.limits(desk.settings.node.folder), me=visitor_of(request).actor
    )


@router.post("/ask", dependencies=[needs(Right.RELEASE)])
async def ask(request: Request, desk: AtDesk) -> Response:
    """The first of two people: a multipart form with ``act``, ``reason``, and the file ``assessment`` where one is needed."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > acceptance.MOST_BYTES:
        raise Problem(413, "body-too-large", f"A form of at most {acceptance.MOST_BYTES} bytes is taken, whose length is told.")
    async with request.form(max_files=1, max_fields=10) as form:
        act, reason, file = str(form.get("act", "")), str(form.get("reason", "")), form.get("assessment")
        content = await file.read() if isinstance(file, UploadFile) else b""
    if act not in service.ASKS:
        raise Problem(422, "service-act", f"Asked for can be {', '.join(service.ASKS)}.")
    return await anyio.to_thread.run_sync(_ask, request, desk, act, reason, content)


def _ask(request: Request, desk: Desk, act: str, reason: str, content: bytes) -> Response:
    def work(db: sa.Connection, who: str) -> None:
        found, told = serving.current(db), " ".join(reason.split())[: service.MOST_CHARACTERS // 2]
        if act in _ASSESSED:
            model = found.candidate if act == "promote" else found.model
            facts = acceptance.facts(content, model=model, limits=orders.limits(desk.settings.node.folder))
            told = f"{facts} {told}".strip()
        service.ask(db, act, actor=who, reason=told, default_model=found.model)

    return _act(request, desk, work)


@router.post("/confirm", dependencies=[needs(Right.RELEASE)])
def confirm(request: Request, desk: AtDesk, act: Annotated[str, Form(max_length=20)] = "") -> Response:
    """The second of two people: ``act`` is what the first has asked for."""

    def work(db: sa.Connection, who: str) -> None:
        found, wish = serving.current(db), service.asked(db)
        if wish is None or wish.act != act:
            raise Problem(409, "service-step", "This was not asked for, or something else was decided meanwhile.")
        does: dict[str, Callable[..., object]] = {
            "release": service.release,
            "promote": service.promote,
            "resume": service.resume,
        }
        does[act](db, actor=wish.actor, second=who, reason=wish.reason, default_model=found.model)

    return _act(request, desk, work)


@router.post("/stop", dependencies=[needs(Right.RELEASE)])
def stop(request: Request, desk: AtDesk, reason: Reason = "") -> Response:
    """Out of service at once; one person is enough."""
    return _act(
        request, desk, lambda db, who: service.stop(db, actor=who, reason=reason, default_model=serving.current(db).model)
    )


@router.post("/back", dependencies=[needs(Right.RELEASE)])
def back(request: Request, desk: AtDesk, reason: Reason = "") -> Response:
    """The candidate goes, or the previous model comes back; one person is enough."""
    return _act(
        request, desk, lambda db, who: service.back(db, actor=who, reason=reason, default_model=serving.current(db).model)
    )


@router.post("/limits", dependencies=[needs(Right.RELEASE)])
def set_limits(
    request: Request,
    desk: AtDesk,
    no_sign_below: Annotated[str, Form(max_length=10)] = "",
    sign_from: Annotated[str, Form(max_length=10)] = "",
    reason: Reason = "",
) -> Response:
    """The site's own limits of the categories; both empty: those of the model."""
    low, high, allowed = _number(no_sign_below), _number(sign_from), orders.limits(desk.settings.node.folder)

    def work(db: sa.Connection, who: str) -> None:
        model = serving.current(db).model
        service.set_limits(
            db, actor=who, no_sign_below=low, sign_from=high, allowed=allowed, reason=reason, default_model=model
        )

    return _act(request, desk, work)


def _number(text: str) -> float | None:
    try:
        found = float(text.replace(",", ".")) if text.strip() else None
    except ValueError:
        raise Problem(422, "service-limits", "A limit is a number from 0 to 1.") from None
    if found is not None and not 0 <= found <= 1:  # as no number is
        raise Problem(422, "service-limits", "A limit is a number from 0 to 1.")
    return found


def _act(request: Request, desk: Desk, work: Callable[[sa.Connection, str], Any]) -> Response:
    """Do it in the person's name, and show the page. Raises NotAllowed; Problem 403 for a program."""
    visitor = visitor_of(request)
    if not visitor.account_id:
        raise Problem(403, "not-a-person", "This is for people with an account, who are named in what is decided.")
    with desk.store.database.begin() as db:
        work(db, visitor.actor)
    return RedirectResponse("/service", 303)
