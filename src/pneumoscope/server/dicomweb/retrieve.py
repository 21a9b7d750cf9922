"""WADO-RS: objects as files, and their headers (PS3.18 10.4)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path as File

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from pneumoscope.children.transcode import as_plain
from pneumoscope.server.child.describe import ROOT
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.dicomweb.accept import DICOM, JSON, Offer, choose, need_json
from pneumoscope.server.dicomweb.paths import PREFIX, Object, Series, Study, root_of, rows_of
from pneumoscope.server.headers import object_path
from pneumoscope.server.journal import note, note_single
from pneumoscope.server.multipart import Outgoing, related
from pneumoscope.server.rights import Right, needs

router = APIRouter(prefix=PREFIX, dependencies=[needs(Right.OPEN)])
EXPLICIT = "1.2.840.10008.1.2.1"
#: An object never changes under its UIDs. Kept for as long as someone looks at a study, and only for the one who got it.
UNCHANGING = {"Cache-Control": "private, max-age=3600, immutable", "Vary": "Accept, Authorization, Cookie"}
_BLOCK_BYTES = 2**20


@router.get("/studies/{study}")
def study_objects(request: Request, desk: AtDesk, study: Study) -> Response:
    """All objects of a study."""
    rows = rows_of(desk, study)
    note(request, "retrieve", study=study, detail=f"{len(rows)} objects.")
    return _objects(request, desk, rows)


@router.get("/studies/{study}/series/{series}")
def series_objects(request: Request, desk: AtDesk, study: Study, series: Series) -> Response:
    """All objects of a series."""
    rows = rows_of(desk, study, series)
    note(request, "retrieve", study=study, detail=f"{len(rows)} objects of a series.")
    return _objects(request, desk, rows)


@router.get("/studies/{study}/series/{series}/instances/{instance}")
def one_object(request: Request, desk: AtDesk, study: Study, series: Series, instance: Object) -> Response:
    """One object."""
    rows = rows_of(desk, study, series, instance)
    note_single(request, study=study)
    return _objects(request, desk, rows)


@router.get("/studies/{study}/metadata")
def study_headers(request: Request, desk: AtDesk, study: Study) -> Response:
    """Headers of all objects of a study."""
    return _headers(request, desk, rows_of(desk, study))


@router.get("/studies/{study}/series/{series}/metadata")
def series_headers(request: Request, desk: AtDesk, study: Study, series: Series) -> Response:
    """Headers of all objects of a series."""
    return _headers(request, desk, rows_of(desk, study, series))


@router.get("/studies/{study}/series/{series}/instances/{instance}/metadata")
def object_header(request: Request, desk: AtDesk, study: Study, series: Series, instance: Object) -> Response:
    """Header of one object."""
    return _headers(request, desk, rows_of(desk, study, series, instance))


def _headers(request: Request, desk: Desk, rows: list[sa.RowMapping]) -> Response:
    need_json(request)
    note(request, "retrieve", study=rows[0]["StudyInstanceUID"], detail=f"Headers of {len(rows)} objects.")
    found = desk.headers.of(rows, files=desk.store.files, children=desk.children)
    content = b"[" + b",".join(one.json for one in found).replace(ROOT.encode(), root_of(request).encode()) + b"]"
    return Response(content, media_type=JSON)


def _objects(request: Request, desk: Desk, rows: list[sa.RowMapping]) -> Response:
    """As stored, unless the client asks for Explicit VR Little Endian and some are stored otherwise."""
    stored = {row["TransferSyntaxUID"] for row in rows}
    syntaxes = frozenset({EXPLICIT} | (stored if len(stored) == 1 else set()))
    offers = [Offer(media_type=DICOM, multipart=True, syntaxes=syntaxes)]
    if len(rows) == 1:
        offers.append(Offer(media_type=DICOM, syntaxes=syntaxes))
    offer, found = choose(request, offers)
    root = root_of(request)
    paths = desk.store.files.paths([row["key"] for row in rows])
    parts = [_part(desk, row, path, found.transfer_syntax, root) for row, path in zip(rows, paths, strict=True)]
    if len(rows) > 1:
        return related(parts, media_type=DICOM)
    part = _whole(parts[0])
    if offer.multipart:
        return related([part], media_type=DICOM)
    headers = {"Content-Length": str(part.size), **UNCHANGING}
    return StreamingResponse(iter(part.content), media_type=part.media_type, headers=headers)


def _part(desk: Desk, row: sa.RowMapping, path: File, asked: str, root: str) -> Outgoing:
    syntax = asked or row["TransferSyntaxUID"]
    media_type, location = f"{DICOM}; transfer-syntax={syntax}", root + object_path(row)
    if syntax == row["TransferSyntaxUID"]:
        return Outgoing(media_type=media_type, size=path.stat().st_size, content=_blocks(path), location=location)

    def decoded() -> Iterator[bytes]:
        yield desk.children.call(as_plain, path)

    return Outgoing(media_type=media_type, size=None, content=decoded(), location=location)


def _whole(part: Outgoing) -> Outgoing:
    """Made before the answer begins, so that what goes wrong can be said."""
    if part.size is not None:
        return part
    content = b"".join(part.content)
    return replace(part, size=len(content), content=(content,))


def _blocks(path: File) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
