"""WADO-RS: pictures for eyes, whole or small (PS3.18 10.4.1.1.3, 10.4.1.1.4)."""

import math
from collections.abc import Mapping
from dataclasses import replace

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response

from pneumoscope.server.child.picture import Look, picture
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.dicomweb.accept import Offer, choose
from pneumoscope.server.dicomweb.paths import PREFIX, Object, Series, Study, rows_of
from pneumoscope.server.dicomweb.pixels import frame_numbers
from pneumoscope.server.journal import note_single
from pneumoscope.server.problems import Problem
from pneumoscope.server.rights import Right, needs

router = APIRouter(prefix=PREFIX, dependencies=[needs(Right.OPEN)])
MAX_SIDE_PX = 4096
THUMBNAIL_PX = 128
_FUNCTIONS = ("linear", "linear-exact", "sigmoid")
_FORMS = (Offer(media_type="image/jpeg"), Offer(media_type="image/png"))
_PLACE = "/studies/{study}/series/{series}/instances/{instance}"


@router.get(_PLACE + "/rendered")
def rendered(request: Request, desk: AtDesk, study: Study, series: Series, instance: Object) -> Response:
    """An object's first frame."""
    (row,) = rows_of(desk, study, series, instance)
    return _picture(request, desk, row, 1, look_of(request.query_params))


@router.get(_PLACE + "/frames/{number}/rendered")
def rendered_frame(request: Request, desk: AtDesk, study: Study, series: Series, instance: Object, number: str) -> Response:
    """One frame."""
    numbers = frame_numbers(number)
    if len(numbers) != 1:
        raise Problem(400, "frames-wrong", "One frame at a time can be rendered.")
    (row,) = rows_of(desk, study, series, instance)
    return _picture(request, desk, row, numbers[0], look_of(request.query_params))


@router.get("/studies/{study}/thumbnail")
def study_thumbnail(request: Request, desk: AtDesk, study: Study) -> Response:
    """The middle of a study."""
    return _thumbnail(request, desk, rows_of(desk, study))


@router.get("/studies/{study}/series/{series}/thumbnail")
def series_thumbnail(request: Request, desk: AtDesk, study: Study, series: Series) -> Response:
    """The middle of a series."""
    return _thumbnail(request, desk, rows_of(desk, study, series))


@router.get(_PLACE + "/thumbnail")
def object_thumbnail(request: Request, desk: AtDesk, study: Study, series: Series, instance: Object) -> Response:
    """One object, small."""
    return _thumbnail(request, desk, rows_of(desk, study, series, instance))


def look_of(parameters: Mapping[str, str]) -> Look:
    """How the picture is wanted, by the query (PS3.18 8.3.5). Raises Problem 400."""
    look = Look()
    if window := parameters.get("window"):
        centre, width, function = [*window.lower().split(","), "linear", "", ""][:3]
        look = replace(look, window=(_number(centre, "window"), _number(width, "window"), function))
        if function not in _FUNCTIONS or (look.window and look.window[1] <= 0):
            raise Problem(400, "window-wrong", f"window is centre,width,function with one of {', '.join(_FUNCTIONS)}.")
    if viewport := parameters.get("viewport"):
        columns, rows = (int(_number(part, "viewport")) for part in [*viewport.split(","), ""][:2])
        if not (0 < columns <= MAX_SIDE_PX and 0 < rows <= MAX_SIDE_PX):
            raise Problem(400, "viewport-wrong", f"viewport is columns,rows, each up to {MAX_SIDE_PX}.")
        look = replace(look, viewport=(columns, rows))
    if quality := parameters.get("quality"):
        look = replace(look, quality=min(100, max(1, int(_number(quality, "quality")))))
    return look


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > 1e6:
        raise Problem(400, f"{name}-wrong", f"{name} takes plain numbers.")
    return value


def _picture(request: Request, desk: Desk, row: sa.RowMapping, number: int, look: Look) -> Response:
    offer, _ = choose(request, _FORMS)
    form = offer.media_type.partition("/")[2]
    content = desk.children.call(picture, desk.store.files.path(row["key"]), number, replace(look, form=form))
    note_single(request, study=row["StudyInstanceUID"])
    return Response(content, media_type=offer.media_type)


def _thumbnail(request: Request, desk: Desk, rows: list[sa.RowMapping]) -> Response:
    """The middle one; images go before what was made of them."""
    shown = [row for row in rows if row["Rows"] and not row["reading_id"]] or [row for row in rows if row["Rows"]] or rows
    row = shown[len(shown) // 2]
    frame = max(1, (row["NumberOfFrames"] or 1) // 2)
    look = look_of(request.query_params)
    return _picture(request, desk, row, frame, replace(look, viewport=look.viewport or (THUMBNAIL_PX, THUMBNAIL_PX)))
