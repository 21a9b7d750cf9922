"""STOW-RS: store objects (PS3.18 10.5)."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response

from pneumoscope.dicomjson import Json, element, tag
from pneumoscope.filing.objects import Outcome
from pneumoscope.server.child.values import studies_of
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.dicomweb.accept import DICOM, JSON, need_json
from pneumoscope.server.dicomweb.paths import PREFIX, Study, root_of
from pneumoscope.server.intake import TAKEN, bringing
from pneumoscope.server.journal import note, visitor_of
from pneumoscope.server.limits import body
from pneumoscope.server.multipart import Parts, media_type_of
from pneumoscope.server.problems import Problem
from pneumoscope.server.rights import Right, needs

router = APIRouter(prefix=PREFIX, dependencies=[needs(Right.UPLOAD)])
#: Failure reasons of PS3.18 I.2.2 and PS3.4 B.2.3.
_ANOTHER_STUDY, _NOT_UNDERSTOOD, _DUPLICATE, _NOT_TAKEN, _FAILED = 0xA900, 0xC000, 0x0111, 0x0122, 0x0110
_REASONS = {"unreadable": _NOT_UNDERSTOOD, "changed": _DUPLICATE, "refused": _NOT_TAKEN}
_BATCH = 50


@dataclass(kw_only=True)
class Stored:
    """What became of one request's objects; ``others``: reasons of those whose identity is not known."""

    outcomes: list[Outcome] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    @property
    def taken(self) -> list[Outcome]:
        """Those that are in the archive."""
        return [outcome for outcome in self.outcomes if outcome.status in TAKEN]


@router.post("/studies")
async def store(request: Request, desk: AtDesk) -> Response:
    """Store objects of any study."""
    return await _store(request, desk, "")


@router.post("/studies/{study}")
async def store_into(request: Request, desk: AtDesk, study: Study) -> Response:
    """Store objects of one study; those of another are refused."""
    return await _store(request, desk, study)


async def _store(request: Request, desk: Desk, study: str) -> Response:
    need_json(request)
    media_type, parameters = media_type_of(request.headers.get("content-type", ""))
    if media_type != "multipart/related" or parameters.get("type", DICOM).lower() != DICOM:
        raise Problem(415, "wrong-media-type", 'Send multipart/related with type="application/dicom".')
    parts = Parts(body(request, desk), parameters.get("boundary", ""))
    stored = await anyio.to_thread.run_sync(_take, request, desk, parts, study, limiter=desk.takers)
    if not stored.outcomes and not stored.others:
        raise Problem(400, "no-objects", "The body has no parts.")
    failed = len(stored.outcomes) + len(stored.others) - len(stored.taken)
    status = 200 if not failed else 202 if stored.taken else 409
    content = json.dumps(_answer(stored, root_of(request), study)).encode()
    return Response(content, status, media_type=JSON)


def _take(request: Request, desk: Desk, parts: Parts, study: str) -> Stored:
    stored, added = Stored(), []
    with bringing(desk, visitor_of(request), "stow") as under_way:
        for part in parts:
            if part.media_type not in (DICOM, ""):
                stored.others.append(_NOT_TAKEN)
            else:
                added.append(under_way.add(part.content))
        if study:
            stored.others += _drop_others(desk, added, study)
        if added:
            stored.outcomes = under_way.file()
    for uid in sorted({outcome.StudyInstanceUID for outcome in stored.taken}):
        number = sum(outcome.StudyInstanceUID == uid for outcome in stored.taken)
        note(request, "upload", study=uid, detail=f"{number} objects by STOW-RS.")
    if not stored.taken:
        note(request, "upload", outcome="failed", detail="No object could be stored by STOW-RS.")
    return stored


def _drop_others(desk: Desk, added: list[Path], study: str) -> list[int]:
    """Remove what belongs to another study; what cannot be read is left to the filing, which says so."""
    reasons = []
    for start in range(0, len(added), _BATCH):
        batch = added[start : start + _BATCH]
        for path, found in zip(batch, desk.children.call(studies_of, [str(path) for path in batch]), strict=True):
            if found not in ("", study):
                path.unlink()
                reasons.append(_ANOTHER_STUDY)
    return reasons


def _answer(stored: Stored, root: str, study: str) -> Json:
    """The response module (PS3.18 I.1)."""
    content: Json = element("RetrieveURL", f"{root}/studies/{study}") if study else {}
    referenced, failed = [], []
    for outcome in stored.outcomes:
        item = element("ReferencedSOPClassUID", outcome.SOPClassUID)
        item |= element("ReferencedSOPInstanceUID", outcome.SOPInstanceUID)
        if outcome.status in TAKEN:
            place = f"/studies/{outcome.StudyInstanceUID}/series/{outcome.SeriesInstanceUID}/instances/{outcome.SOPInstanceUID}"
            referenced.append(item | element("RetrieveURL", root + place))
        elif outcome.SOPInstanceUID:
            failed.append(item | element("FailureReason", _REASONS.get(outcome.status, _FAILED)))
        else:
            stored.others.append(_REASONS.get(outcome.status, _FAILED))
    items = {
        "ReferencedSOPSequence": referenced,
        "FailedSOPSequence": failed,
        "OtherFailuresSequence": [element("FailureReason", reason) for reason in stored.others],
    }
    return content | {tag(keyword): {"vr": "SQ", "Value": found} for keyword, found in items.items() if found}
