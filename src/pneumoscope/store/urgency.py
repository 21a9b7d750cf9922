"""Which study a person should look at first: one rule, kept as a number with each study, so that the list is an index's order.

A clinician's emergency goes first. Then comes what the reading says: signs, studies that could not be judged and that so far
nobody has looked at, indeterminate ones, those without a result yet, and last those without a sign. Among signs and among
indeterminate studies the most involved lungs go first, in the steps of the severity bands; among equals the priority decides,
and then who has waited longest. Of a study whose reading is held the last version that was shown counts. Waiting never lets a
clear scan pass a sign. What a person has answered comes after all else.
"""

import sqlalchemy as sa

from pneumoscope.codes import severity
from pneumoscope.records import Category, Priority
from pneumoscope.store.schema import ReadingState, StudyState, reading, review, study

SIGN, NOT_JUDGED, INDETERMINATE, NO_RESULT, NO_SIGN = range(5)
_GROUPS = {
    Category.SIGN: SIGN,
    Category.CANNOT_SAY: NOT_JUDGED,
    Category.INDETERMINATE: INDETERMINATE,
    Category.NO_SIGN: NO_SIGN,
}
_WITHOUT_RESULT = (StudyState.REFUSED, StudyState.FAILED)
_MOST_POINTS = 4
_ANSWERED = 5000


def rank(*, state: str, priority: int, category: str = "", involved_share: float | None = None, answered: bool = False) -> int:
    """The place of a study; smaller comes first, and the longest wait among equals.

    ``category`` and ``involved_share`` are of its last reading that has a result, which counts while another is made;
    ``answered`` says that a person has judged that reading.
    """
    group = _GROUPS[Category(category)] if category else NO_RESULT
    if state in _WITHOUT_RESULT:
        group = min(group, NOT_JUDGED)
    elif group == NO_SIGN and state != StudyState.READ:
        group = NO_RESULT
    graded = category in (Category.SIGN, Category.INDETERMINATE)
    steps = _MOST_POINTS - severity(involved_share or 0.0)[0] if graded else 0
    settled = answered and state == StudyState.READ
    return (_ANSWERED if settled else 0) + (0 if priority == Priority.EMERGENCY else 1000) + 100 * group + 10 * steps + priority


def refresh(db: sa.Connection, StudyInstanceUID: str) -> None:
    """Put a study in its place, after anything changed that the rule looks at."""
    answered = sa.exists().where(review.c.reading_id == reading.c.id)
    result = (
        sa.select(reading.c.category, reading.c.involved_share, answered.label("answered"))
        .where(reading.c.StudyInstanceUID == StudyInstanceUID, reading.c.state == ReadingState.READ)
        .order_by(reading.c.version.desc())
        .limit(1)
    )
    own = study.c.StudyInstanceUID == StudyInstanceUID
    row = db.execute(sa.select(study.c.state, study.c.priority).where(own)).mappings().one()
    found = db.execute(result).mappings().first()
    place = rank(**row, **(dict(found) if found else {}))
    db.execute(study.update().where(own).values(rank=place))
