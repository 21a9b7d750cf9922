"""What a person answers to a reading: accept, modify, reject. Forms that work without scripts."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData

from pneumoscope.records import ZONES, Answer, Category, Judgement, Objection, Region
from pneumoscope.server import guests
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.journal import visitor_of
from pneumoscope.server.metrics import ANSWERS
from pneumoscope.server.problems import Problem
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import audit, reviews

router = APIRouter()
MOST_CHARACTERS = 2000
MOST_BODY_BYTES = 64 * 1024
Word = TypeVar("Word", bound=StrEnum)


@router.post("/readings/{reading_id}/review", dependencies=[needs(Right.JUDGE)])
async def answer(request: Request, desk: AtDesk, reading_id: str) -> Response:
    """Add an answer, and show the study."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MOST_BODY_BYTES:
        raise Problem(413, "body-too-large", f"A form of at most {MOST_BODY_BYTES} bytes is taken, whose length is told.")
    async with request.form(max_files=0, max_fields=50) as form:
        given = _answer(form)
    return await anyio.to_thread.run_sync(_add, request, desk, reading_id, given)


def _add(request: Request, desk: Desk, reading_id: str, given: Answer) -> Response:
    visitor = visitor_of(request)
    with desk.store.database.begin() as db:
        added = reviews.add(db, reading_id, given, reader=visitor.actor)
        if added is None:
            raise Problem(404, "no-such-reading", "There is no such reading here that could be answered.")
        study, version = added.row["StudyInstanceUID"], added.row["version"]
        newer = reviews.newer_version(db, added.row)
        if added.new:  # with the answer, or not at all
            detail = f"Version {version}: {given.judgement}."
            audit.record(
                db, action="review", actor=visitor.actor, address=visitor.address, StudyInstanceUID=study, detail=detail
            )
            guests.answered(db, visitor)
    if added.new:
        ANSWERS.labels(judgement=given.judgement, objection=given.objection or "").inc()
    if visitor.guest:
        return RedirectResponse(guests.farewell(visitor), 303)
    told = f"answered={version}" + (f"&superseded={newer}" if newer else "")
    return RedirectResponse(f"/studies/{study}?{told}#answers", 303)


def _answer(form: FormData) -> Answer:
    """What the form says. Raises Problem 422 where it says too little or contradicts itself."""
    judgement = _word(form, "judgement", Judgement)
    if judgement is None:
        raise _wrong("The answer is none of accept, modify and reject.")
    if judgement is Judgement.ACCEPT:
        return Answer(judgement=judgement)
    objection, text = _word(form, "objection", Objection), " ".join(_text(form, "text").split())
    if objection is None:
        raise _wrong("A reading is modified or rejected for a reason, which is missing.")
    if objection is Objection.OTHER and not text:
        raise _wrong("Another reason is to be said in words.")
    if len(text) > MOST_CHARACTERS or not text.replace(" ", "").isprintable():
        raise _wrong(f"The words are too long or hold control characters; at most {MOST_CHARACTERS} characters are allowed.")
    if judgement is Judgement.REJECT:
        return Answer(judgement=judgement, objection=objection, text=text)
    added, removed = _zones(form, "added"), _zones(form, "removed")
    category = _word(form, "category", Category)
    if set(added) & set(removed):
        raise _wrong("A zone is both added and removed.")
    if not (category or added or removed or text):
        raise _wrong("Nothing is corrected: a category, a zone or words are needed.")
    return Answer(judgement=judgement, objection=objection, text=text, category=category, added=added, removed=removed)


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _word(form: FormData, name: str, words: Callable[[str], Word]) -> Word | None:
    value = _text(form, name)
    try:
        return words(value) if value else None
    except ValueError:
        raise _wrong(f"The field {name} has a value that is not allowed.") from None


def _zones(form: FormData, name: str) -> tuple[Region, ...]:
    given = set(form.getlist(name))
    if given - set(ZONES):
        raise _wrong(f"The field {name} has a value that is no zone.")
    return tuple(zone for zone in ZONES if zone in given)


def _wrong(message: str) -> Problem:
    return Problem(422, "answer-incomplete", message)


def panel(request: Request) -> dict[str, Any]:
    """What the form on the study's page needs beside the study."""
    given = {name: request.query_params.get(name, "") for name in ("answered", "superseded")}
    return {
        "may": Right.JUDGE in visitor_of(request).rights,
        "objections": list(Objection),
        "categories": list(Category),
        "zones": list(ZONES),
        "told": {name: int(n) if n.isdecimal() and len(n) < 7 else 0 for name, n in given.items()},
        "most": MOST_CHARACTERS,
    }
