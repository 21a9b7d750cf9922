"""WADO-RS: frames and other bulk data (PS3.18 10.4.1.1.5, 10.4.1.1.6)."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response

from pneumoscope.children.frames import MAX_ANSWER_BYTES, Frames, read_frames
from pneumoscope.server.child.values import bulk_value
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.dicomweb.accept import OCTETS, Offer, choose
from pneumoscope.server.dicomweb.paths import PREFIX, Object, Series, Study, rows_of
from pneumoscope.server.dicomweb.retrieve import EXPLICIT, UNCHANGING
from pneumoscope.server.journal import note_single
from pneumoscope.server.multipart import Outgoing, related_whole
from pneumoscope.server.problems import Problem
from pneumoscope.server.rights import Right, needs

router = APIRouter(prefix=PREFIX, dependencies=[needs(Right.OPEN)])
PIXELS = "7FE00010"
_PLACE = "/studies/{study}/series/{series}/instances/{instance}"
_ADDRESS = re.compile(r"[0-9A-Fa-f]{8}(/[0-9]{1,5}/[0-9A-Fa-f]{8}){0,16}")
_NATIVE = {"1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
#: PS3.18 table 8.7.3-5: media types of compressed frames.
_MEDIA_TYPES = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.4.111": "image/jxl",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


@router.get(_PLACE + "/frames/{numbers}")
def frames(request: Request, desk: AtDesk, study: Study, series: Series, instance: Object, numbers: str) -> Response:
    """Frames by their numbers, from 1, with commas between."""
    return _frames(request, desk, (study, series, instance), frame_numbers(numbers))


@router.get(_PLACE + "/bulkdata/{address:path}")
def bulkdata(request: Request, desk: AtDesk, study: Study, series: Series, instance: Object, address: str) -> Response:
    """One element's value; pixel data frame by frame."""
    if not _ADDRESS.fullmatch(address):
        raise Problem(404, "no-such-element", "The object has no such element.")
    if address.upper() == PIXELS:
        return _frames(request, desk, (study, series, instance), ())
    (row,) = rows_of(desk, study, series, instance)
    offer, _ = choose(request, [Offer(media_type=OCTETS, multipart=True), Offer(media_type=OCTETS)])
    value = desk.children.call(bulk_value, desk.store.files.path(row["key"]), address.split("/"))
    note_single(request, study=study)
    return _answer([value], OCTETS, OCTETS, multipart=offer.multipart)


def frame_numbers(text: str) -> tuple[int, ...]:
    """Raises Problem 400."""
    if not re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6}){0,9999}", text):
        raise Problem(400, "frames-wrong", "Frames are whole numbers from 1, with commas between.")
    return tuple(int(part) for part in text.split(","))


def _frames(request: Request, desk: Desk, uids: tuple[str, str, str], numbers: Sequence[int]) -> Response:
    (row,) = rows_of(desk, *uids)
    offers, single = [], len(numbers) == 1
    plain = (OCTETS, frozenset({EXPLICIT}))
    stored = row["TransferSyntaxUID"]
    compressed = [] if stored in _NATIVE else [(_MEDIA_TYPES.get(stored, OCTETS), frozenset({stored}))]
    for media_type, syntaxes in (*compressed, plain):
        offers.append(Offer(media_type=media_type, multipart=True, syntaxes=syntaxes))
        if single:
            offers.append(Offer(media_type=media_type, syntaxes=syntaxes))
    offer, _ = choose(request, offers)
    decode = bool(compressed) and offer.syntaxes == frozenset({EXPLICIT})
    path = desk.store.files.path(row["key"])
    contents = None if decode else _as_stored(desk, row, path, numbers)
    if contents is None:
        found: Frames = desk.children.call(read_frames, path, numbers, decode=decode)
        contents = found.contents
    note_single(request, study=uids[0])
    syntax = stored if compressed and not decode else EXPLICIT
    media_type = f"{offer.media_type}; transfer-syntax={syntax}"
    return _answer(contents, offer.media_type, media_type, multipart=offer.multipart)


def _as_stored(desk: Desk, row: sa.RowMapping, path: Path, numbers: Sequence[int]) -> tuple[bytes, ...] | None:
    """Frames straight from the file, where its header told in which of its bytes they lie."""
    (described,) = desk.headers.of([row], files=desk.store.files, children=desk.children)
    spans = described.frames
    if not spans or not all(1 <= number <= len(spans) for number in numbers):
        return None
    chosen = [spans[number - 1] for number in numbers] or spans
    if sum(length for _, length in chosen) > MAX_ANSWER_BYTES:
        return None
    with path.open("rb") as file:
        return tuple(os.pread(file.fileno(), length, offset) for offset, length in chosen)


def _answer(contents: Sequence[bytes], media_type: str, full: str, *, multipart: bool) -> Response:
    if not multipart:
        return Response(contents[0], media_type=full, headers=UNCHANGING)
    parts = [Outgoing(media_type=full, size=len(content), content=(content,)) for content in contents]
    return related_whole(parts, media_type=media_type, headers=UNCHANGING)
