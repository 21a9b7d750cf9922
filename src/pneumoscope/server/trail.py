"""The auditor's page: who did what, when, from where, to which study."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from pneumoscope.server.desk import AtDesk
from pneumoscope.server.journal import note_often
from pneumoscope.server.rendering import page
from pneumoscope.server.rights import Right, needs
from pneumoscope.store import audit

router = APIRouter(dependencies=[needs(Right.AUDIT)])
PAGE = 100
Text = Annotated[str, Query(max_length=100)]


@router.get("/audit")
def show(  # noqa: PLR0913, PLR0917 - each is a field of the form
    request: Request,
    desk: AtDesk,
    person: Text = "",
    study: Text = "",
    action: Text = "",
    outcome: Text = "",
    since: Text = "",
    until: Text = "",
    before: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Newest first; ``before`` leads to older ones. Days are UTC, the last one included."""
    asked = audit.Asked(
        actor=person.strip(),
        StudyInstanceUID=study.strip(),
        action=action,
        outcome=outcome,
        since=_day(since),
        until=_day(until, later=timedelta(days=1)),
        before_id=before,
    )
    with desk.store.database.look() as db:
        rows = audit.search(db, asked, limit=PAGE + 1)
        actions = audit.actions(db)
    note_often(request, "audit", detail="The audit trail was looked at.")
    given = {"person": person, "study": study, "action": action, "outcome": outcome, "since": since, "until": until}
    older = rows[PAGE - 1]["id"] if len(rows) > PAGE else 0
    return page(request, "audit.html", rows=rows[:PAGE], older=older, actions=actions, given=given, before=before)


def _day(text: str, *, later: timedelta = timedelta(0)) -> datetime | None:
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC) + later
    except ValueError:
        return None
