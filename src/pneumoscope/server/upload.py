"""POST /upload: files of a form, or a zip as the body; what cannot be read is said file by file."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from pneumoscope.filing import Outcome
from pneumoscope.intake.archive import unpack
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.intake import TAKEN, Bringing, bringing
from pneumoscope.server.journal import note, visitor_of
from pneumoscope.server.limits import body
from pneumoscope.server.multipart import Parts, media_type_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rights import Right, needs

router = APIRouter(dependencies=[needs(Right.UPLOAD)])
_ZIP_TYPES = ("application/zip", "application/x-zip-compressed", "application/octet-stream")
_BLOCK_BYTES = 2**20


@router.post("/upload")
async def upload(request: Request, desk: AtDesk) -> Response:
    """Take studies in; a browser is shown the list of studies afterwards."""
    media_type, parameters = media_type_of(request.headers.get("content-type", ""))
    if media_type == "multipart/form-data":
        parts = Parts(body(request, desk), parameters.get("boundary", ""))
        contents: Iterator[Iterable[bytes]] = (part.content for part in parts if part.is_file)
    elif media_type in _ZIP_TYPES:
        contents = iter([body(request, desk)])
    else:
        raise Problem(415, "wrong-media-type", "Send a form (multipart/form-data) with files, or a zip (application/zip).")
    outcomes = await anyio.to_thread.run_sync(_take, request, desk, contents, limiter=desk.takers)
    counts = Counter(outcome.status for outcome in outcomes)
    if "text/html" in request.headers.get("accept", "") and outcomes:
        told = "&".join(f"{status}={number}" for status, number in sorted(counts.items()))
        return RedirectResponse(f"/?{told}", 303)
    found = {
        "studies": sorted({outcome.StudyInstanceUID for outcome in outcomes if outcome.status in TAKEN}),
        "outcomes": dict(sorted(counts.items())),
        "codes": dict(sorted(Counter(outcome.code for outcome in outcomes if outcome.code).items())),
    }
    return JSONResponse(found, 200 if any(status in TAKEN for status in counts) else 422)


def _take(request: Request, desk: Desk, contents: Iterator[Iterable[bytes]]) -> list[Outcome]:
    with bringing(desk, visitor_of(request), "upload") as under_way:
        for content in contents:
            _add(under_way, desk, iter(content))
        outcomes = under_way.file()
    taken = [outcome for outcome in outcomes if outcome.status in TAKEN]
    for study in sorted({outcome.StudyInstanceUID for outcome in taken}):
        number = sum(outcome.StudyInstanceUID == study for outcome in taken)
        note(request, "upload", study=study, detail=f"{number} objects.")
    if not taken:
        note(request, "upload", outcome="failed", detail=f"None of {len(outcomes)} objects could be taken.")
    return outcomes


def _add(under_way: Bringing, desk: Desk, content: Iterator[bytes]) -> None:
    """A file as it is, or what a zip holds. Raises UnsafeArchive."""
    start = b""
    while len(start) < 4 and (chunk := next(content, None)) is not None:
        start += chunk
    if not start:  # a form without a chosen file sends an empty one
        return
    if not start.startswith(b"PK\x03\x04"):
        under_way.add(_joined(start, content))
        return
    with tempfile.TemporaryDirectory(prefix=".zip-", dir=desk.settings.node.folder) as name:
        archive, members = Path(name) / "archive.zip", Path(name) / "members"
        with archive.open("wb") as file:
            file.writelines(_joined(start, content))
        members.mkdir()
        unpack(archive, to=members)
        archive.unlink()
        for member in sorted(members.iterdir()):
            under_way.add(_blocks(member))
            member.unlink()


def _joined(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from rest


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
