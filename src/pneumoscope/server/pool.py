"""Reading for other hospitals, as people do it: offers from a study's page, tasks of others, and whom one agreed with."""

from datetime import timedelta
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from pneumoscope.errors import Rejected
from pneumoscope.fleet import orders
from pneumoscope.fleet.pool_messages import Outcome, PoolOrders, Urgency
from pneumoscope.server import acts
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.dicomweb.paths import Study
from pneumoscope.server.journal import visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import now, pool
from pneumoscope.store.pool import Who
from pneumoscope.store.schema import image

router = APIRouter()


def _who(request: Request) -> Who:
    visitor = visitor_of(request)
    return Who(actor=visitor.actor, address=visitor.address)


def _heard(desk: Desk) -> PoolOrders:
    return orders.pool(desk.settings.node.folder) if desk.settings.fleet.share_readings else PoolOrders()


def panel(request: Request, db: sa.Connection, study: str) -> dict[str, object] | None:
    """What a study's page says of its offer; None where this node offers none."""
    fleet = request.app.state.desk.settings.fleet
    if not fleet.share_readings or not fleet.pages_url or visitor_of(request).guest:
        return None
    row = pool.of_study(db, study)
    return {"row": row, "stands": row is not None and row["state"] in pool.LIVE, "urgencies": list(Urgency)}


@router.post("/studies/{study}/offer", dependencies=[needs(Right.JUDGE)])
def offer(request: Request, desk: AtDesk, study: Study, urgency: Annotated[Urgency, Form()] = Urgency.ROUTINE) -> Response:
    """Offer a study to readers of other hospitals."""
    acts.study_row(request, study)
    fleet = desk.settings.fleet
    if not fleet.share_readings or not fleet.pages_url:
        raise Problem(409, "pool-off", "This node offers no readings; its settings say so.")
    with desk.store.database.begin() as db:
        count = sa.select(sa.func.count()).where(image.c.StudyInstanceUID == study)
        images = db.execute(count).scalar_one()
        longest = timedelta(seconds=fleet.offer_for_s)
        pool.offer(db, study, urgency=urgency, images=images, longest=longest, who=_who(request))
    return RedirectResponse(f"/studies/{study}#offer", 303)


@router.post("/studies/{study}/offer/end", dependencies=[needs(Right.JUDGE)])
def end(request: Request, desk: AtDesk, study: Study) -> Response:
    """Take an offer back; a guest who is there sees nothing more."""
    acts.study_row(request, study)
    with desk.store.database.begin() as db:
        row = pool.of_study(db, study)
        if row is not None:
            pool.end(db, row["id"], Outcome.WITHDRAWN, who=_who(request))
    return RedirectResponse(f"/studies/{study}#offer", 303)


@router.get("/others", dependencies=[needs(Right.JUDGE)])
def others(request: Request, desk: AtDesk) -> Response:
    """What other hospitals offer, and what became of what was taken here."""
    heard = _heard(desk)
    titles = {one.site: one.title for one in heard.neighbours}
    with desk.store.database.look() as db:
        taken = pool.takes(db)
    had = {row["id"] for row in taken}
    offers = [
        {"title": titles[found.owner]} | found.task.model_dump()
        for found in heard.open
        if found.task.id not in had and found.owner in titles and found.task.until > now()
    ]
    return page(request, "others.html", offers=offers, taken=taken, me=visitor_of(request).actor)


@router.post("/others/{task_id}/take", dependencies=[needs(Right.JUDGE)])
def take(request: Request, desk: AtDesk, task_id: str) -> Response:
    """Ask for a task; the hub gives it to the first."""
    heard = _heard(desk)
    found = next((one for one in heard.open if one.task.id == task_id), None)
    title = next((one.title for one in heard.neighbours if found and one.site == found.owner), None)
    if found is None or title is None:
        raise Problem(404, "no-such-task", "There is no such task here any more.")
    try:
        with desk.store.database.begin() as db:
            pool.take(db, found, title=title, who=_who(request))
    except Rejected as fault:
        raise Problem(409, fault.code, str(fault)) from None
    return RedirectResponse("/others", 303)


@router.get("/others/{task_id}/open", dependencies=[needs(Right.JUDGE)])
def open_(request: Request, desk: AtDesk, task_id: str) -> Response:
    """Go to the other hospital's reading room, for the person who took it."""
    with desk.store.database.begin() as db:
        link = pool.open_take(db, task_id, who=_who(request))
    if link is None:
        raise Problem(404, "no-such-task", "There is no such task here any more.")
    return RedirectResponse(link, 303)


@router.get("/partners", dependencies=[needs(Right.MANAGE)])
def partners(request: Request, desk: AtDesk) -> Response:
    """Hospitals of the fleet that share readings, and with whom this one agreed."""
    with desk.store.database.look() as db:
        agreed = pool.partners(db)
    return page(request, "partners.html", neighbours=_heard(desk).neighbours, agreed={row["site"]: row for row in agreed})


@router.post("/partners/{site}/agree", dependencies=[needs(Right.MANAGE)])
def agree(request: Request, desk: AtDesk, site: str) -> Response:
    """Agree with a hospital."""
    found = next((one for one in _heard(desk).neighbours if one.site == site), None)
    if found is None:
        raise Problem(404, "no-such-hospital", "The hub names no such hospital.")
    with desk.store.database.begin() as db:
        pool.agree(db, site, title=found.title, who=_who(request))
    return RedirectResponse("/partners", 303)


@router.post("/partners/{site}/end", dependencies=[needs(Right.MANAGE)])
def part(request: Request, desk: AtDesk, site: str) -> Response:
    """Agree no more."""
    with desk.store.database.begin() as db:
        pool.part(db, site, who=_who(request))
    return RedirectResponse("/partners", 303)
