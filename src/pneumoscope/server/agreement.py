"""The page that tells how far readers agree with readings. A reader sees all answers together and the own ones, no others'."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pneumoscope.server.agreeing import Period, grouped, over_time, picture, tally
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.journal import note_often, visitor_of
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import reviews

router = APIRouter()


@router.get("/agreement", dependencies=[needs(Right.COMPARE)])
def agreement(request: Request, desk: AtDesk, model: str = "", by: str = Period.MONTH) -> Response:
    """Answers over time, by site, by model and by the reader who asks."""
    period = Period(by) if by in list(Period) else Period.MONTH
    with desk.store.database.look() as db:
        rows, models = reviews.all_of(db, model=model), reviews.models(db)
    note_often(request, "query", detail="Agreement of readers with readings.")
    visitor = visitor_of(request)
    own = [row for row in rows if row["reader"] == visitor.actor] if Right.JUDGE in visitor.rights else []
    times = over_time(rows, period)
    return page(
        request,
        "agreement.html",
        total=tally("", rows),
        own=tally("", own),
        times=times,
        picture=picture,
        sites=grouped(rows, lambda row: row["site"]),
        by_model=grouped(rows, lambda row: row["model"]),
        models=models,
        model=model,
        period=period,
        periods=list(Period),
    )
