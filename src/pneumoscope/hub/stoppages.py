"""Pages of models that are to be in service nowhere: who stopped them, and how far the sites have come."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from pneumoscope.hub import steering, words
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.journal import visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import stops

router = APIRouter(prefix="/stops", dependencies=[needs(Right.ACCOUNT, Right.MEASURE)])
PAGE = 50
Reason = Annotated[str, Form(max_length=stops.LONGEST)]


@router.post("", dependencies=[needs(Right.MANAGE)])
def begin(request: Request, desk: AtDesk, model: Annotated[str, Form(max_length=140)], reason: Reason = "") -> Response:
    """Have every site take a model out of service."""
    with desk.store.database.begin() as db:
        stop_id = steering.stop(db, model, actor=visitor_of(request).actor, reason=reason)
    return RedirectResponse(f"/stops/{stop_id}", 303)


@router.get("/{stop_id}")
def show(request: Request, desk: AtDesk, stop_id: str, at: Annotated[int, Query(ge=1, le=10_000)] = 1) -> Response:
    """One stop, and the sites that have the model."""
    with desk.store.database.look() as db:
        row = _stop(db, stop_id)
        counts = stops.counts(db, row)
        sites = stops.sites_of(db, row, limit=PAGE, offset=(at - 1) * PAGE)
    return page(
        request,
        "stop.html",
        stop=row,
        counts=counts,
        sites=sites,
        at=at,
        pages=-(-sum(counts.values()) // PAGE),
        heeds=words.HEEDS,
    )


@router.post("/{stop_id}/lift", dependencies=[needs(Right.MANAGE)])
def lift(request: Request, desk: AtDesk, stop_id: str, reason: Reason = "") -> Response:
    """Ask no more."""
    with desk.store.database.begin() as db:
        steering.lift(db, _stop(db, stop_id), actor=visitor_of(request).actor, reason=reason)
    return RedirectResponse(f"/stops/{stop_id}", 303)


def _stop(db: sa.Connection, stop_id: str) -> sa.RowMapping:
    row = stops.get(db, stop_id)
    if row is None:
        raise Problem(404, "no-such-stop", "There is no such stop.")
    return row
