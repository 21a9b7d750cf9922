"""The page of one study: the finding, its evidence, its numbers, what came before, and what became of the results."""

import json
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from markupsafe import Markup
from starlette.background import BackgroundTask

from pneumoscope.codes import severity
from pneumoscope.errors import PneumoscopeError
from pneumoscope.records import ZONES, Region
from pneumoscope.results import PAGE_PICTURE, overlay_name, slice_name
from pneumoscope.results.diagrams import ZoneWords, zone_diagram_svg
from pneumoscope.server import acts, looking, pool, reliability, review
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.dicomweb.paths import PREFIX, Study
from pneumoscope.server.earlier import same_person
from pneumoscope.server.journal import note, visitor_of
from pneumoscope.server.language import say, vocabulary
from pneumoscope.server.language.vocabulary import N_
from pneumoscope.server.listing import shown_state
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import FolderStore, search, verdicts, worklist
from pneumoscope.store.schema import ReadingState, StudyState

router = APIRouter()
_TABLE = (Region.LUNGS, Region.RIGHT_LUNG, Region.LEFT_LUNG, *ZONES)


@router.get("/studies/{study}", dependencies=[needs(Right.OPEN)])
def study(request: Request, desk: AtDesk, study: Study) -> Response:
    """One study."""
    row = acts.study_row(request, study)
    note(request, "view", study=study)
    with desk.store.database.look() as db:
        stamp = looking.mark(db, row)  # before: a page that is newer than its mark says so at worst
        found = looking.whole(db, row)
        # an earlier version that was live is shown, as it was delivered; where there is none, nobody saw a model's word
        shown = next((reading for reading in found["readings"] if reading["state"] == ReadingState.READ), None)
        blind = row["state"] == StudyState.HELD and shown is None
        others = [] if blind or visitor_of(request).guest else worklist.earlier(db, row)
        offer = pool.panel(request, db, study)
        mine = _own_verdict(db, request, study) if blind else ""
    document = _document(desk, shown) if shown else None
    deliveries = found["readings"][0]["deliveries"] if found["readings"] else []
    answer = page(
        request,
        "study.html",
        **found,
        mark=stamp,
        state=shown_state(row["state"], _latest(deliveries)),
        reading=shown,
        view=lambda: _view(document, shown) if document and shown else None,
        document=document,
        trend=lambda: same_person(dict(row), [dict(other) for other in others], shown),
        kept=_kept,
        judging=review.panel(request),
        offer=offer,
        blind=blind,
        verdicts=verdicts.ALLOWED,
        my_verdict=mine,
        dicomweb=PREFIX,
    )
    answer.background = BackgroundTask(_look_ahead, desk, study)
    return answer


def _look_ahead(desk: Desk, study: str) -> None:
    """Who opens the page of a study often opens its images next, and a viewer's first wish is all headers."""
    if not isinstance(desk.store.files, FolderStore):  # from a bucket they would have to be fetched
        return
    with desk.store.database.look() as db:
        rows = search.images(db, study)
    with suppress(PneumoscopeError, OSError):  # the viewer's own request will say what is wrong
        desk.headers.of(rows, files=desk.store.files, children=desk.children)


@router.get("/studies/{study}/mark", dependencies=[needs(Right.OPEN)])
def mark(request: Request, desk: AtDesk, study: Study) -> Response:
    """What a page compares to learn whether it is out of date; it tells nothing of the study."""
    row = acts.study_row(request, study)
    with desk.store.database.look() as db:
        return JSONResponse({"mark": looking.mark(db, row)})


def _own_verdict(db: sa.Connection, request: Request, study: str) -> str:
    """The visitor's last verdict on a study; those of others are not shown, since each is to be blind."""
    rows = verdicts.of_study(db, study)
    return next((row["category"] for row in rows if row["reader"] == visitor_of(request).actor), "")


def _document(desk: Desk, reading: dict[str, Any]) -> dict[str, Any] | None:
    """The stored numbers, None where the reading has none that can be understood."""
    key = next((result.key for result in reading["results"] if result.name == "reading.json"), None)
    if key is None:
        return None
    try:
        found: dict[str, Any] = json.loads(desk.store.files.read(key))
    except (OSError, ValueError):
        return None
    return found if found.get("schema") == "pneumoscope/reading/1" else None


def _kept(reading: dict[str, Any]) -> list[Any]:
    """Results for people to keep: all but the pictures of this page."""
    return [result for result in reading["results"] if not result.name.startswith(PAGE_PICTURE)]


def _latest(deliveries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last round to each destination."""
    return list({item["destination"]: item for item in sorted(deliveries, key=lambda item: item["round"])}.values())


def _view(document: dict[str, Any], reading: dict[str, Any]) -> dict[str, Any]:
    """What the template shows of a reading; made while the page's language is set."""
    findings = {finding["region"]: finding for finding in document["findings"]}
    there = {result.name for result in reading["results"]}
    return {
        "meaning": say(vocabulary.MEANINGS[document["category"]]),
        "limits": [say(limit) for limit in vocabulary.LIMITS],
        "score": document["score"],
        "lungs": findings[Region.LUNGS],
        "rows": [
            findings[region] | {"points": severity(findings[region]["share"])[0] if region in ZONES else None}
            for region in _TABLE
        ],
        "zones": Markup(zone_diagram_svg({zone: findings[zone]["share"] for zone in ZONES}, _zone_words())),  # noqa: S704
        "slices": [
            key | {"picture": slice_name(place), "overlay": overlay_name(place)}
            for place, key in enumerate(document["key_slices"])
            if {slice_name(place), overlay_name(place)} <= there
        ],
        "any_lesion": any(key["lesion_area_mm2"] > 0 for key in document["key_slices"]),
        "reliability": reliability.is_of(document["model"]["device_uid"]),
    }


def _zone_words() -> ZoneWords:
    return ZoneWords(
        title=say(N_("Share of each zone involved")),
        zones={zone: say(vocabulary.REGIONS[zone]) for zone in ZONES},
        of_four=say(N_("{points} of 4")),
        percent=vocabulary.percent,
    )
