"""The authority's picture: all provinces and hospitals, one hospital, and exports."""

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from pneumoscope.fleet.messages import Window
from pneumoscope.fleet.shares import NOTHING
from pneumoscope.hub import drawing, exporting, words
from pneumoscope.hub.inviting import make_token
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.journal import note, note_often, visitor_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import fleet_figures, now, rollouts, site_alarms, sites, stops
from pneumoscope.store.fleet_figures import ORDERS, Asked, Census

router = APIRouter(dependencies=[needs(Right.ACCOUNT, Right.MEASURE)])
PAGE, TROUBLES = 50, 12
SPANS = (7, 14, 30, 90, 365)
Days = Annotated[int, Query(ge=1, le=3660)]
Text = Annotated[str, Query(max_length=80)]


@router.get("/")
def overview(  # noqa: PLR0913, PLR0917 - each is a field of the form
    request: Request,
    desk: AtDesk,
    days: Days = 30,
    province: Text = "",
    text: Text = "",
    order: Text = "title",
    down: bool = False,
    trouble: bool = False,
    at: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """Everything at a glance; ``order`` is one of the columns, ``at`` the page of hospitals."""
    since, moment = exporting.since_day(days), now()
    asked = Asked(
        order=order if order in ORDERS else "title",
        down=down,
        province=province,
        text=text.strip(),
        trouble=trouble,
        offset=(at - 1) * PAGE,
        limit=PAGE,
    )
    with desk.store.database.look() as db:
        provinces = fleet_figures.by_province(db, since=since)
        census = fleet_figures.census(db, heard_since=moment - _silence(desk))
        by_day = fleet_figures.by_day(db, since=since, province=province)
        number, rows = fleet_figures.sites(db, asked, since=since)
        troubles = fleet_figures.sites(db, Asked(order="alarms", down=True, trouble=True, limit=TROUBLES), since=since)
        shown = [row["id"] for row in (*rows, *troubles[1])]
        alarms = fleet_figures.open_alarms(db, shown)
        figures = fleet_figures.by_site(db, since=since, sites=[row["id"] for row in rows])
        others = fleet_figures.invited(db)
        waiting = fleet_figures.waiting(db)
        moving = [row for row in rollouts.everything(db) if row["state"] in ("running", "paused")]
        stopping = [(row, stops.counts(db, row)) for row in stops.standing(db)]
    note_often(request, "fleet", detail="The picture of the fleet was looked at.")
    troubled = {name: one.troubled for name, one in census.items()}
    map_tiles, width, height = drawing.tiles(provinces, troubled, places=desk.settings.hub.places)
    return page(
        request,
        "overview.html",
        asked=asked,
        given={"days": days, "province": province, "text": asked.text, "order": asked.order, "down": down, "trouble": trouble},
        provinces=provinces,
        census=census,
        total=_total(census),
        whole=list(provinces.values()),
        waiting_total=waiting,
        curve=drawing.curve(by_day, since=since, until=moment.date().isoformat()),
        rows=rows,
        number=number,
        at=at,
        pages=-(-number // PAGE),
        troubles=troubles,
        alarms=alarms,
        figures=figures,
        others=others,
        moving=moving,
        stopping=stopping,
        heeds=words.HEEDS,
        tiles=map_tiles,
        map_size=(width, height),
        legend=drawing.legend(),
        spans=SPANS,
        **_helpers(desk),
    )


@router.get("/sites/{site_id}")
def site(request: Request, desk: AtDesk, site_id: str, days: Days = 30, done: Text = "") -> Response:
    """One hospital: what it said last, its alarms, its windows."""
    since = exporting.since_day(days)
    with desk.store.database.look() as db:
        row = _site(db, site_id)
        by_day = fleet_figures.of_site_by_day(db, site_id, since=since)
        held = [Window.model_validate_json(content) for content in fleet_figures.windows(db, site_id)]
        alarms = site_alarms.of(db, site_id)
        wishes = rollouts.of_site(db, site_id)
    note_often(request, "fleet", detail=f"The page of {row['title']} was looked at.")
    return page(
        request,
        "site.html",
        site=row,
        curve=drawing.curve(by_day, since=since, until=now().date().isoformat()),
        windows=held,
        alarms=alarms,
        wishes=wishes,
        days=days,
        spans=SPANS,
        done=done,
        **_helpers(desk),
    )


@router.post("/sites/{site_id}/shut-out", dependencies=[needs(Right.MANAGE)])
def shut_out(request: Request, desk: AtDesk, site_id: str) -> Response:
    """Listen to a site no more."""
    with desk.store.database.begin() as db:
        row = _site(db, site_id)
        sites.shut(db, site_id)
    note(request, "fleet", detail=f"{row['title']} was shut out.")
    return RedirectResponse(f"/sites/{site_id}?done=shut", 303)


@router.post("/sites/{site_id}/seen", dependencies=[needs(Right.MANAGE)])
def seen(request: Request, desk: AtDesk, site_id: str) -> Response:
    """End the alarms of windows that were not taken."""
    with desk.store.database.begin() as db:
        row = _site(db, site_id)
        number = site_alarms.end_not_taken(db, site_id)
    note(request, "fleet", detail=f"{number} windows of {row['title']} that were not taken were seen.")
    return RedirectResponse(f"/sites/{site_id}?done=seen", 303)


@router.post("/invite", dependencies=[needs(Right.MANAGE)])
def invite(
    request: Request,
    desk: AtDesk,
    title: Annotated[str, Form(max_length=80)] = "",
    province: Annotated[str, Form(max_length=80)] = "",
    again: Annotated[str, Form(max_length=80)] = "",
) -> Response:
    """A token for a hospital, shown once."""
    token = make_token(
        request.app.state.authority, desk.store, desk.settings.hub, title=title, province=province, again=again,
        actor=visitor_of(request).actor,
    )  # fmt: skip
    return page(request, "invited.html", token=token, title=title or again, hours=desk.settings.hub.invitation_hours)


@router.get("/export.csv")
def export_csv(request: Request, desk: AtDesk, days: Days = 30) -> Response:
    """A line for each hospital, day and model."""
    note(request, "fleet", detail="The figures of the fleet were exported.")

    def lines() -> Iterator[str]:
        with desk.store.database.look() as db:
            yield from exporting.csv_lines(db, since=exporting.since_day(days))

    return StreamingResponse(lines(), media_type="text/csv", headers=_named("fleet.csv"))


@router.get("/export/measure-report")
def export_fhir(request: Request, desk: AtDesk, days: Days = 30) -> Response:
    """FHIR R4 MeasureReports of the provinces."""
    note(request, "fleet", detail="The figures of the fleet were exported as FHIR.")
    with desk.store.database.look() as db:
        found = exporting.measure_reports(
            db, since=exporting.since_day(days), until=now().date(), reporter=desk.settings.hub.name
        )
    return Response(json.dumps(found), media_type="application/fhir+json", headers=_named("measure-reports.json"))


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _site(db: sa.Connection, site_id: str) -> sa.RowMapping:
    row = sites.get(db, site_id)
    if row is None:
        raise Problem(404, "no-such-site", "There is no such site in this fleet.")
    return row


def _silence(desk: Desk) -> timedelta:
    return timedelta(seconds=5 * desk.settings.hub.policy.every_s)


def _total(census: dict[str, Census]) -> Census:
    def number(name: str) -> int:
        return sum(getattr(one, name) for one in census.values())

    return Census(joined=number("joined"), heard=number("heard"), live=number("live"), troubled=number("troubled"))


def _helpers(desk: Desk) -> dict[str, Any]:
    """What templates of the fleet ask for."""
    moment, silence = now(), _silence(desk)

    def state(row: sa.RowMapping) -> tuple[str, str]:
        return words.state_of(row, moment=moment, silent_after=silence)

    return {
        "state": state,
        "why_of": words.why_of,
        "waiting_words": words.waiting_words,
        "modes": words.MODES,
        "told_words": words.TOLD,
        "wish_words": words.WISHES,
        "ago": partial(words.ago, moment=moment),
        "count": _count,
        "sum_of": _sum_of,
    }


def _count(number: int | None) -> str:
    return "hidden" if number is None else f"{number:,}"


def _sum_of(figures: Any, name: str) -> Any:  # noqa: ANN401 - figures of provinces, of a template
    """The sum of a count over figures."""
    return sum((getattr(one, name) for one in figures), NOTHING)
