"""/upload: files of a form, or a zip as the body; what cannot be taken is said by reasons. It works without scripts."""

import hashlib
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from pneumoscope.filing.objects import Outcome
from pneumoscope.intake.archive import unpack
from pneumoscope.server import outcomes
from pneumoscope.server.anonymous import Anonymous, LeftOut
from pneumoscope.server.comfort import language_of
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.intake import TAKEN, Bringing, bringing
from pneumoscope.server.journal import note, visitor_of
from pneumoscope.server.language import speaking
from pneumoscope.server.limits import body
from pneumoscope.server.multipart import Part, Parts, media_type_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs

router = APIRouter(dependencies=[needs(Right.UPLOAD)])
_ZIP_TYPES = ("application/zip", "application/x-zip-compressed", "application/octet-stream")
_BLOCK_BYTES = 2**20
#: What a form says before its files.
_FIELDS = ("anonymise", "secret", "more")
_MOST_FIELD_BYTES = 4096
#: What a script sends at once: a body that a proxy lets through, and that costs little when the line breaks.
BATCH_BYTES = 64_000_000
BATCH_FILES = 200


@dataclass(kw_only=True)
class _Upload:
    """A request's fields, which come before its files, and what became of the files."""

    anonymise: bool = False
    secret: str = ""
    more: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def take_field(self, name: str, value: str) -> None:
        """Raises Problem for anything but yes or no: what was meant to be anonymised must never be stored otherwise."""
        if name == "anonymise":
            if value not in ("yes", "no"):
                raise Problem(400, "field-wrong", "The field anonymise is yes or no.")
            self.anonymise = value == "yes"
        elif name == "secret":
            self.secret = value
        else:
            self.more = value == "yes"

    @property
    def name(self) -> str:
        """By which its parts are known to belong together; the secret itself is not kept."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


@router.get("/upload")
def form(request: Request, desk: AtDesk) -> Response:
    """Where studies are uploaded, and what became of those that a form without script has brought."""
    limit_bytes = desk.settings.http.max_upload_mb * 2**20
    return page(
        request,
        "upload.html",
        secret=secrets.token_hex(32),
        told=outcomes.from_query(request.query_params),
        batch_bytes=min(BATCH_BYTES, limit_bytes // 2),
        batch_files=BATCH_FILES,
        limit_bytes=limit_bytes,
    )


@router.post("/upload")
async def upload(request: Request, desk: AtDesk) -> Response:
    """Take studies in; a browser is shown what became of them."""
    media_type, parameters = media_type_of(request.headers.get("content-type", ""))
    under_way = _Upload()
    under_way.take_field("anonymise", request.query_params.get("anonymise", "no"))
    if media_type == "multipart/form-data":
        contents = _files(Parts(body(request, desk), parameters.get("boundary", "")), under_way)
    elif media_type in _ZIP_TYPES:
        contents = iter([body(request, desk)])
    else:
        raise Problem(415, "wrong-media-type", "Send a form (multipart/form-data) with files, or a zip (application/zip).")
    await anyio.to_thread.run_sync(_take, request, desk, contents, under_way, limiter=desk.takers)
    with speaking(language_of(request)):
        found = outcomes.told(under_way.outcomes, under_way.left_out)
    if "text/html" in request.headers.get("accept", "") and (under_way.outcomes or under_way.left_out):
        return RedirectResponse(f"/upload?{urlencode(outcomes.to_query(found))}", 303)
    return JSONResponse(found, 200 if found["studies"] else 422)


def _files(parts: Parts, under_way: _Upload) -> Iterator[Iterable[bytes]]:
    any_yet = False
    for part in parts:
        if part.is_file:
            any_yet = True
            yield part.content
        elif any_yet and part.name in _FIELDS:
            raise Problem(400, "field-late", "The fields of the form come before its files.")
        elif part.name in _FIELDS:
            under_way.take_field(part.name, _value(part))


def _value(part: Part) -> str:
    content = b""
    for chunk in part.content:
        content += chunk
        if len(content) > _MOST_FIELD_BYTES:
            raise Problem(413, "field-too-large", f"A field of the form may have {_MOST_FIELD_BYTES} bytes.")
    return content.decode("utf-8", "replace")


def _take(request: Request, desk: Desk, contents: Iterator[Iterable[bytes]], under_way: _Upload) -> None:
    with bringing(desk, visitor_of(request), "upload") as arrival:
        for content in contents:
            _add(arrival, desk, iter(content), under_way)
        under_way.outcomes = arrival.file()
        if under_way.secret:
            arrival.follow(under_way.name, more=under_way.more)
    taken = [outcome for outcome in under_way.outcomes if outcome.status in TAKEN]
    how = ", anonymised" if under_way.anonymise else ""
    for study, number in sorted(Counter(outcome.StudyInstanceUID for outcome in taken).items()):
        note(request, "upload", study=study, detail=f"{number} objects{how}.")
    if not taken:
        number = len(under_way.outcomes) + len(under_way.left_out)
        note(request, "upload", outcome="failed", detail=f"None of {number} objects could be taken.")


def _add(arrival: Bringing, desk: Desk, content: Iterator[bytes], under_way: _Upload) -> None:
    """A file as it is, or what a zip holds. Raises UnsafeArchive."""
    start = b""
    while len(start) < 4 and (chunk := next(content, None)) is not None:
        start += chunk
    if not start:  # a form without a chosen file sends an empty one
        return
    if under_way.anonymise:
        under_way.secret = under_way.secret or secrets.token_hex(32)  # one for all files of this request
        with desk.anonymising:
            for item in Anonymous(desk, under_way.secret).objects(start, content):
                if isinstance(item, LeftOut):
                    under_way.left_out.append(item)
                else:
                    arrival.add([item])
    elif not start.startswith(b"PK\x03\x04"):
        arrival.add(_joined(start, content))
    else:
        _add_zip(arrival, desk, _joined(start, content))


def _add_zip(arrival: Bringing, desk: Desk, content: Iterator[bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix=".zip-", dir=desk.settings.node.folder) as name:
        archive, members = Path(name) / "archive.zip", Path(name) / "members"
        with archive.open("wb") as file:
            file.writelines(content)
        members.mkdir()
        unpack(archive, to=members)
        archive.unlink()
        for member in sorted(members.iterdir()):
            arrival.add(_blocks(member))
            member.unlink()


def _joined(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from rest


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
