"""What visitors do, into the audit trail."""

import time

from fastapi import Request
from starlette.requests import HTTPConnection

from pneumoscope.server.desk import desk_of
from pneumoscope.server.visitor import Visitor
from pneumoscope.store import audit

#: A viewer fetches a study image by image, a page asks for the list again and again: noted once in this time for each visitor.
OFTEN_EVERY_S = 60.0


def visitor_of(request: HTTPConnection) -> Visitor:
    """Who asks; the access layer has put it there."""
    found = request.scope["visitor"]
    assert isinstance(found, Visitor)
    return found


def note(
    request: HTTPConnection, action: str, *, study: str = "", detail: str = "", outcome: str = "success", actor: str = ""
) -> None:
    """Add an entry; what cannot be noted is not done. ``actor``: who it was, where the visitor was nobody yet."""
    visitor = visitor_of(request)
    with desk_of(request).store.database.begin() as db:
        audit.record(
            db,
            action=action,
            outcome=outcome,
            actor=actor or visitor.actor,
            address=visitor.address,
            StudyInstanceUID=study,
            detail=detail,
        )


def note_single(request: Request, *, study: str) -> None:
    """Note that single objects of a study are retrieved, once in a while."""
    note_often(request, "retrieve", study=study, detail="Single objects.")


def note_often(request: Request, action: str, *, study: str = "", detail: str, outcome: str = "success") -> None:
    """Note once in a while what happens often."""
    seen = desk_of(request).noted
    who, moment_s = (visitor_of(request), action, study), time.monotonic()
    if moment_s - seen.get(who, -OFTEN_EVERY_S) < OFTEN_EVERY_S:
        return
    if len(seen) > 10_000:
        seen.clear()
    note(request, action, study=study, detail=detail, outcome=outcome)
    seen[who] = moment_s
