"""What a person may ask of the node, by page or by program; each is in the audit trail."""

import sqlalchemy as sa
from fastapi import Request
from sqlalchemy.exc import NoResultFound

from pneumoscope.server.desk import desk_of
from pneumoscope.server.journal import note
from pneumoscope.server.problems import Problem
from pneumoscope.store import outbox, readings, studies


def study_row(request: Request, study: str) -> sa.RowMapping:
    """A study. Raises Problem 404."""
    with desk_of(request).store.database.look() as db:
        row = studies.get(db, study)
    if row is None:
        raise Problem(404, "no-such-study", "There is no such study here.")
    return row


def read_again(request: Request, study: str) -> str:
    """Make a reading of a study as it stands and return its id. Raises Problem 404 or 409."""
    study_row(request, study)
    with desk_of(request).store.database.begin() as db:
        reading_id = studies.read_again(db, study)
    if reading_id is None:
        raise Problem(409, "no-images", "The study has no images that could be read.")
    note(request, "read again", study=study, detail="A person asked for a new reading.")
    return reading_id


def resend(request: Request, delivery_id: str) -> tuple[str, str]:
    """Send a delivery once more; returns its new id and its study. Raises Problem 404."""
    with desk_of(request).store.database.begin() as db:
        try:
            new_id = outbox.resend(db, delivery_id)
        except NoResultFound:
            raise Problem(404, "no-such-delivery", "There is no such delivery here.") from None
        row = outbox.get(db, new_id)
        study = readings.get(db, row["reading_id"])["StudyInstanceUID"]
    note(request, "resend", study=study, detail=f"To {row['destination']}.")
    return new_id, study
