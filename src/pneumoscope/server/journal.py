"""What visitors do, into the audit trail."""

import time

from fastapi import Request
from starlette.requests import HTTPConnection

from pneumoscope.server.access import Visitor
from pneumoscope.server.desk import desk_of
from pneumoscope.store import audit

#: A viewer fetches a study image by image, a page asks for the list again and again: noted once in this time for each visitor.
OFTEN_EVERY_S = 60.0


def visitor_of(request: HTTPConnection) -> Visitor:
    """Who asks; the access layer has put it there."""
    found = request.scope["visitor"]
    assert isinstance(found, Visitor)
    return found


def note(request: HTTPConnection, action: str, *, study: str = "", detail: str = "", outcome: str = "success") -> None:
    """Add an entry; what cannot be noted is not done."""
    visitor = visitor_of(request)
    with desk_of(request).store.database.begin() as db:
        audit.record(
            db,
            action=action,
            outcome=outcome,
            actor=visitor.actor,
            address=visitor.address,
            StudyInstanceUID=study,
            detail=detail,
        )


def note_single(request: Request, *, study: str) -> None:
    """Note that single objects of a study are retrieved, once in a while."""
    note_often(request, "retrieve", study=study, detail="Single objects.")


def note_often(request: Request, action: str, *, study: str = "", detail: str) -> None:
    """Note once in a while what happens often."""
    seen = desk_of(request).noted
    who, moment_s = (visitor_of(request), action, study), time.monotonic()
    if moment_s - seen.get(who, -OFTEN_EVERY_S) < OFTEN_EVERY_S:
        return
    if len(seen) > 10_000:
        seen.clear()
    note(request, action, study=study, detail=detail)
    seen[who] = moment_s
