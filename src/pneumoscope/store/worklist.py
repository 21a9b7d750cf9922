"""The list of studies as people look at it: the most urgent first, a page at a time, narrowed by words and filters."""

from dataclasses import dataclass

import sqlalchemy as sa

from pneumoscope.records import Category, Priority
from pneumoscope.store.schema import ReadingState, StudyState, reading, study

Condition = sa.ColumnElement[bool]
PAGE_ROWS = 50
#: Words that are looked for; more are not needed to find one study among many.
MAX_WORDS = 8


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which studies are asked for; an empty value asks for all.

    ``words``: each must be in the patient's name, the patient's ID or the accession number. ``since`` and ``until``: dates of
    the study, YYYYMMDD, both included.
    """

    words: str = ""
    state: StudyState | None = None
    priority: Priority | None = None
    category: Category | None = None
    since: str = ""
    until: str = ""


def page(db: sa.Connection, wanted: Wanted, *, number: int = 1) -> list[sa.RowMapping]:
    """Studies with the last of their readings that has a result, ``PAGE_ROWS`` from page ``number`` (1-based)."""
    results = (
        "version",
        "probability",
        "category",
        "headline",
        "involved_share",
        "right_share",
        "left_share",
        "severity_points",
        "finished_at",
    )
    query = (
        sa.select(study, reading.c.id.label("reading_id"), *(reading.c[name] for name in results))
        .select_from(_joined())
        .where(*_conditions(db, wanted))
        .order_by(study.c.rank, study.c.first_image_at, study.c.StudyInstanceUID)
        .limit(PAGE_ROWS)
        .offset(PAGE_ROWS * (number - 1))
    )
    return list(db.execute(query).mappings())


def count(db: sa.Connection, wanted: Wanted) -> int:
    """How many studies there are of those."""
    source = _joined() if wanted.category else study
    return int(db.execute(sa.select(sa.func.count()).select_from(source).where(*_conditions(db, wanted))).scalar_one())


def earlier(db: sa.Connection, row: sa.RowMapping, *, limit: int = 50) -> list[sa.RowMapping]:
    """Other studies under the same PatientID with their last result, the latest first; none where there is no ID.

    Whether they are of the same person is not known yet: numbers of different hospitals can be the same.
    """
    if not row["PatientID"].strip():
        return []
    columns = ("id", "category", "probability", "involved_share", "right_share", "left_share", "severity_points")
    query = (
        sa.select(
            *(
                study.c[name]
                for name in ("StudyInstanceUID", "PatientName", "PatientBirthDate", "StudyDate", "StudyDescription")
            ),
            study.c.state,
            study.c.first_image_at,
            *(reading.c[name] for name in columns),
        )
        .select_from(_joined())
        .where(study.c.PatientID == row["PatientID"], study.c.StudyInstanceUID != row["StudyInstanceUID"])
        .order_by(_day().desc(), study.c.first_image_at.desc())
        .limit(limit)
    )
    return list(db.execute(query).mappings())


def _joined() -> sa.FromClause:
    """Studies beside the last of their readings that has a result."""
    other = reading.alias("other")
    last = (
        sa.select(sa.func.max(other.c.version))
        .where(other.c.StudyInstanceUID == study.c.StudyInstanceUID, other.c.state == ReadingState.READ)
        .correlate(study)
        .scalar_subquery()
    )
    own = sa.and_(reading.c.StudyInstanceUID == study.c.StudyInstanceUID, reading.c.version == last)
    return study.outerjoin(reading, own)


def _conditions(db: sa.Connection, wanted: Wanted) -> list[Condition]:
    found: list[Condition] = [_holds(db, word) for word in wanted.words.replace("^", " ").split()[:MAX_WORDS]]
    for column, value in (
        (study.c.state, wanted.state),
        (study.c.priority, wanted.priority),
        (reading.c.category, wanted.category),
    ):
        if value is not None:
            found.append(column == value)
    if wanted.since or wanted.until:
        found.append(study.c.StudyDate != "")
    if wanted.since:
        found.append(_day() >= wanted.since)
    if wanted.until:
        found.append(_day() <= wanted.until)
    return found


def _day() -> sa.Function[str]:
    """YYYYMMDD; before DICOM a date was YYYY.MM.DD, and is understood (PS3.5 6.2)."""
    return sa.func.replace(study.c.StudyDate, ".", "")


def _holds(db: sa.Connection, word: str) -> Condition:
    """A word anywhere in name, ID or accession number, whatever its case; "홍길동" finds "홍^길동"."""
    # in one text, which is looked through once; no word holds a line's end
    text = sa.func.replace(study.c.PatientName, "^", "") + "\n" + study.c.PatientID + "\n" + study.c.AccessionNumber
    if db.dialect.name != "sqlite":
        return text.icontains(word, autoescape=True)
    # SQLite's LIKE folds ASCII alone, so that the spellings of other letters are asked for one by one
    spellings = {word} if word.isascii() else {word, word.lower(), word.upper(), word.capitalize()}
    return sa.or_(*(text.contains(spelling, autoescape=True) for spelling in sorted(spellings)))
