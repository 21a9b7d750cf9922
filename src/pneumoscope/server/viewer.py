"""OHIF under /viewer/, as published; only its configuration is ours (static/viewer.js).

The published build asks for its files at the root of the host, so they are served there, by the names that were unpacked and
no others. Its page and its scripts have a policy of their own: scripts from here, WebAssembly, workers, nothing from elsewhere.
"""

import base64
import hashlib
import json
import mimetypes
import re
import sys
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.background import BackgroundTask
from starlette.datastructures import QueryParams

from pneumoscope.records import is_uid
from pneumoscope.server.comfort import language_of
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.language import say, speaking
from pneumoscope.server.language.vocabulary import N_
from pneumoscope.server.problems import Problem
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.server.statics import FOLDER as STATIC
from pneumoscope.store import search

#: Beside the packages of this installation, and gone with them.
FOLDER = Path(sys.prefix) / "share" / "pneumoscope" / "ohif"
#: Ending of the compressed copy that lies beside a file.
COMPRESSED = ".gz"
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._/-]{0,200}")
_HASHED = re.compile(r"(?:^|\.)[0-9a-f]{16}\.[a-z0-9]+$")
_KEEP = {"Cache-Control": "private, max-age=31536000, immutable"}
_ASK = {"Cache-Control": "private, no-cache"}
router = APIRouter()


class _InLargeParts(FileResponse):
    """Each part is read by a thread of its own, and a browser waits for 40 MB in all."""

    chunk_size = 2**20


@router.get("/viewer/", dependencies=[needs(Right.LIST)])
def studies() -> Response:
    """The viewer's own list of studies is switched off: ours is the one."""
    return RedirectResponse("/", 303)


@router.get("/viewer/{place:path}", dependencies=[needs(Right.OPEN)])
def viewer(request: Request, desk: AtDesk) -> Response:
    """The viewer's page, or how to get it."""
    index = FOLDER / "index.html"
    if not index.is_file():
        return page(request, "viewer.html", status=503)
    headers = {**_ASK, "Content-Security-Policy": _policy(index.stat().st_mtime_ns)}
    return FileResponse(index, headers=headers, background=BackgroundTask(_open_headers, desk, request.query_params))


def _open_headers(desk: Desk, query: QueryParams) -> None:
    """Have at hand what the viewer will ask for once the browser has understood its scripts, which takes seconds."""
    study = query.get("StudyInstanceUIDs", "")
    with desk.store.database.look() as db:
        rows = search.images(db, study) if is_uid(study) else []
    desk.headers.of(rows, files=desk.store.files, children=desk.children)


@router.get("/app-config.js")
def configuration(request: Request) -> Response:
    """Ours in the place of the one that the viewer comes with, after the words that it says."""
    language = language_of(request)
    with speaking(language):
        words = {
            "language": language.tag,
            "loading": say(N_("The overlay is being loaded.")),
            "failed": say(N_("The overlay could not be loaded.")),
            "notForDiagnosis": say(N_("NOT FOR PRIMARY DIAGNOSIS")),
        }
    told = f"const pneumoscopeWords = {json.dumps(words, ensure_ascii=False)};\n"
    content = told + (STATIC / "viewer.js").read_text(encoding="utf-8")
    return Response(content, media_type="text/javascript", headers=_ASK | {"Vary": "Accept-Language, Cookie"})


@router.get("/{name:path}")
def file(request: Request, name: str) -> Response:
    """One of the viewer's files; what comes last among the routes."""
    folder = FOLDER.resolve()  # an installation may lie behind a link
    found = (folder / name).resolve() if _NAME.fullmatch(name) else folder
    if not found.is_relative_to(folder) or not found.is_file():
        raise Problem(404, "not-found", "There is nothing here.")
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    index = FOLDER / "index.html"
    # workers have the policy of their script
    headers = {"Content-Security-Policy": _policy(index.stat().st_mtime_ns), "Vary": "Accept-Encoding"}
    compressed = found.with_name(found.name + COMPRESSED)
    if _takes_gzip(request.headers.get("accept-encoding", "")) and compressed.is_file():
        found, headers = compressed, headers | {"Content-Encoding": "gzip"}
    return _InLargeParts(found, media_type=media_type, headers=headers | (_KEEP if _HASHED.search(name) else _ASK))


def _takes_gzip(accepted: str) -> bool:
    """By ``Accept-Encoding`` (RFC 9110, 12.5.3)."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";")
        if coding in ("gzip", "*"):
            return weight not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


@cache
def _policy(_changed_ns: int) -> str:
    inline = _INLINE.findall((FOLDER / "index.html").read_bytes())
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in inline)
    return (
        f"default-src 'none'; script-src 'self' 'unsafe-eval' {hashes}; worker-src 'self' blob:; "
        "connect-src 'self' blob: data:; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
        "manifest-src 'self'; frame-ancestors 'self'; form-action 'none'; base-uri 'none'"
    )
