"""QIDO-RS: search for studies, series and instances (PS3.18 10.6)."""

import json

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydicom.datadict import tag_for_keyword

from pneumoscope.dicomjson import Json
from pneumoscope.server.child.describe import ROOT
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.dicomweb.accept import JSON, need_json
from pneumoscope.server.dicomweb.paths import PREFIX, Series, Study, root_of
from pneumoscope.server.dicomweb.query import Asked, parse
from pneumoscope.server.dicomweb.rows import dataset
from pneumoscope.server.journal import note
from pneumoscope.server.problems import Problem
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import search
from pneumoscope.store.search import Level

router = APIRouter(prefix=PREFIX, dependencies=[needs(Right.OPEN)])


@router.get("/studies")
def studies(request: Request, desk: AtDesk) -> Response:
    """Search for studies."""
    return _search(request, desk, Level.STUDY, {})


@router.get("/series")
def series(request: Request, desk: AtDesk) -> Response:
    """Search for series of any study."""
    return _search(request, desk, Level.SERIES, {})


@router.get("/instances")
def instances(request: Request, desk: AtDesk) -> Response:
    """Search for instances of any study."""
    return _search(request, desk, Level.INSTANCE, {})


@router.get("/studies/{study}/series")
def series_of_study(request: Request, desk: AtDesk, study: Study) -> Response:
    """Search for series of one study."""
    return _search(request, desk, Level.SERIES, {"StudyInstanceUID": study})


@router.get("/studies/{study}/instances")
def instances_of_study(request: Request, desk: AtDesk, study: Study) -> Response:
    """Search for instances of one study."""
    return _search(request, desk, Level.INSTANCE, {"StudyInstanceUID": study})


@router.get("/studies/{study}/series/{series}/instances")
def instances_of_series(request: Request, desk: AtDesk, study: Study, series: Series) -> Response:
    """Search for instances of one series."""
    return _search(request, desk, Level.INSTANCE, {"StudyInstanceUID": study, "SeriesInstanceUID": series})


def _search(request: Request, desk: Desk, level: Level, path: dict[str, str]) -> Response:
    need_json(request)
    asked = parse(request.query_params.multi_items(), level=level, path=path)
    with desk.store.database.look() as db:
        try:
            rows = search.find(db, asked.question)
        except ValueError as fault:
            raise Problem(400, "query-wrong", "A date, time or number to match is malformed.") from fault
        modalities = search.modalities(db, [row["StudyInstanceUID"] for row in rows]) if level is Level.STUDY else {}
    root = root_of(request)
    found = [dataset(dict(row), level=level, root=root, modalities=modalities.get(row["StudyInstanceUID"], ())) for row in rows]
    if level is Level.INSTANCE and rows and (asked.everything or asked.included):
        _include(request, desk, asked, path, found)
    note(request, "query", study=path.get("StudyInstanceUID", ""), detail=f"{len(rows)} {level.name.lower()} matches.")
    headers = {"Warning": ", ".join(f'299 pneumoscope "{text}"' for text in asked.warnings)} if asked.warnings else {}
    if not found:
        return Response(status_code=204, headers=headers)
    return Response(json.dumps(found, ensure_ascii=False).encode(), media_type=JSON, headers=headers)


def _include(request: Request, desk: Desk, asked: Asked, path: dict[str, str], found: list[Json]) -> None:
    """Add attributes that only the objects' headers have."""
    if "StudyInstanceUID" not in path:
        asked.warnings.append("Attributes to include are given only within one study.")
        return
    with desk.store.database.look() as db:
        rows = search.images(db, path["StudyInstanceUID"], path.get("SeriesInstanceUID", ""))
    wanted = {item["00080018"]["Value"][0]: item for item in found}
    rows = [row for row in rows if row["SOPInstanceUID"] in wanted]
    tags = {f"{number:08X}" for name in asked.included if (number := tag_for_keyword(name)) is not None}
    for row, one in zip(rows, desk.headers.of(rows, files=desk.store.files, children=desk.children), strict=True):
        header = json.loads(one.json.replace(ROOT.encode(), root_of(request).encode()))
        own = wanted[row["SOPInstanceUID"]]
        own.update({key: value for key, value in header.items() if key not in own and (asked.everything or key in tags)})
