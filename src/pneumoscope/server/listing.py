"""The worklist: the most urgent study on top, narrowed by words and filters, and told of every change."""

import re
from typing import Any, TypeVar
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from pneumoscope.records import Category, Priority
from pneumoscope.results import THUMBNAIL
from pneumoscope.server import looking
from pneumoscope.server.desk import AtDesk
from pneumoscope.server.journal import note_often, visitor_of
from pneumoscope.server.language.vocabulary import READY, SENT, UNSENT
from pneumoscope.server.outer import EVENTS
from pneumoscope.server.pages import RESULT_POLICY
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.server.watch import has_room
from pneumoscope.store import readings, reviews, worklist
from pneumoscope.store.schema import DeliveryState, StudyState
from pneumoscope.store.worklist import PAGE_ROWS, Wanted

router = APIRouter()
Choice = TypeVar("Choice")
_MOST_PAGES = 10_000
_MOST_LETTERS = 200


@router.get("/", dependencies=[needs(Right.LIST)])
def index(request: Request, desk: AtDesk) -> Response:
    """A page of the worklist. What a filter does not know asks for all."""
    given = request.query_params
    wanted, number = _wanted(given), _number(given.get("page", ""), _MOST_PAGES)
    with desk.store.database.look() as db:
        total = worklist.count(db, wanted)
        pages = max(1, -(-total // PAGE_ROWS))
        number = max(1, min(number, pages))
        rows = _rows(db, wanted, number)
        counts = looking.counts(db)
    note_often(request, "query", detail="The list of studies.")
    asked = {name: value for name, value in given.items() if name in _FILTERS and value}
    return page(
        request,
        "list.html",
        studies=rows,
        counts=counts,
        total=total,
        first=PAGE_ROWS * (number - 1),
        number=number,
        pages=pages,
        asked=asked,
        link=lambda **changes: "/?" + urlencode({**asked, **changes}),
        states=list(StudyState),
        priorities=list(Priority),
        categories=list(Category),
        has_room=has_room(desk),
        living=desk.pulse.living(),
    )


@router.get(EVENTS, dependencies=[needs(Right.LIST)])
async def events(request: Request, desk: AtDesk) -> Response:
    """A stream that tells of changes of studies, readings and deliveries."""
    if desk.live.is_full:
        raise Problem(503, "too-many-pages", "Too many pages listen already.", headers={"Retry-After": "60"})
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(desk.live.stream(visitor_of(request)), media_type="text/event-stream", headers=headers)


@router.get("/readings/{reading_id}/thumbnail", dependencies=[needs(Right.OPEN)])
def thumbnail(desk: AtDesk, reading_id: str) -> Response:
    """The worst slice, small; it is part of the list, which is noted."""
    with desk.store.database.look() as db:
        found = readings.with_parcel(db, [reading_id], THUMBNAIL)
    if reading_id not in found:
        raise Problem(404, "no-such-result", "There is no such result here.")
    path = desk.store.files.path(found[reading_id])
    if not path.is_file():
        raise FileNotFoundError
    return FileResponse(path, media_type="image/jpeg", headers={"Content-Security-Policy": RESULT_POLICY})


_FILTERS = ("q", "state", "priority", "category", "since", "until")


def _wanted(given: Any) -> Wanted:  # noqa: ANN401 - a mapping of strings
    return Wanted(
        words=given.get("q", "")[:_MOST_LETTERS],
        state=_choice(list(StudyState), given.get("state", "")),
        priority=_choice(list(Priority), _number(given.get("priority", ""), 9)),
        category=_choice(list(Category), given.get("category", "")),
        since=_date(given.get("since", "")),
        until=_date(given.get("until", "")),
    )


def _choice(choices: list[Choice], value: object) -> Choice | None:
    return next((choice for choice in choices if choice == value), None)


def _date(value: str) -> str:
    """A date as HTML forms send it, to DICOM's."""
    return value.replace("-", "") if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) else ""


def _number(value: str, most: int) -> int:
    return min(int(value), most) if value.isascii() and value.isdigit() and len(value) < 8 else 0


def _rows(db: sa.Connection, wanted: Wanted, number: int) -> list[dict[str, Any]]:
    rows = [dict(row) for row in worklist.page(db, wanted, number=number)]
    ids = [row["reading_id"] for row in rows if row["reading_id"]]
    sent, pictured = looking.last_deliveries(db, ids), readings.with_parcel(db, ids, THUMBNAIL)
    answers = reviews.latest(db, ids)
    for row in rows:
        deliveries = sent.get(row["reading_id"], [])
        row |= {
            "deliveries": deliveries,
            "pictured": row["reading_id"] in pictured,
            "answers": [answer["judgement"] for answer in answers.get(row["reading_id"], [])],
            "shown": shown_state(row["state"], deliveries),
        }
    return rows


def shown_state(state: str, deliveries: list[dict[str, Any]]) -> str:
    """Where a study stands for whoever waits for its result: a study that is read may yet have to be delivered."""
    if state != StudyState.READ:
        return state
    states = {item["state"] for item in deliveries}
    if DeliveryState.STOPPED in states:
        return UNSENT
    return SENT if states and states <= {DeliveryState.DELIVERED, DeliveryState.CONFIRMED} else READY
