"""Questions to the archive, as QIDO-RS (PS3.18 10.6) and C-FIND (PS3.4 C.4.1) ask them: matching (PS3.4 C.2.2.2) by columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import sqlalchemy as sa

from pneumoscope.store.schema import image, series, study

Condition = sa.ColumnElement[bool]


class Level(IntEnum):
    """What a question is about. ``PATIENT``: asked by C-FIND alone."""

    PATIENT = -1
    STUDY = 0
    SERIES = 1
    INSTANCE = 2


_PATIENT_TEXT = ("PatientID", "PatientSex")
_STUDY_TEXT = ("StudyID", "AccessionNumber", "StudyDescription")
_SERIES_TEXT = ("Modality", "SeriesDescription", "BodyPartExamined", "Manufacturer")
_IMAGE_NUMBERS = ("InstanceNumber", "Rows", "Columns", "NumberOfFrames")
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY = (
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", *_PATIENT),
    *("StudyInstanceUID", "StudyID", "StudyDescription", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
)
_SERIES = (
    *("Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "BodyPartExamined", "Manufacturer"),
    "NumberOfSeriesRelatedInstances",
)
_INSTANCE = ("SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "NumberOfFrames")
#: Keywords that rows of each level have, as far as anyone outside is told.
SERVED = {
    Level.PATIENT: (*_PATIENT, "NumberOfPatientRelatedStudies"),
    Level.STUDY: _STUDY,
    Level.SERIES: _STUDY + _SERIES,
    Level.INSTANCE: _STUDY + _SERIES + _INSTANCE,
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which studies, series or instances are wanted. ``keys``: keyword to value as asked; an empty value matches all."""

    level: Level
    keys: Mapping[str, str] = field(default_factory=dict)
    limit: int = 1000
    offset: int = 0


def matchable(level: Level) -> frozenset[str]:
    """Keywords that a question of this level can match by: those of the level and of those above it."""
    return frozenset(keyword for keyword, (own, _) in _KEYS.items() if own <= level)


def find(db: sa.Connection, question: Question) -> list[sa.RowMapping]:
    """Rows of the columns of the level and of those above it, always in one order. Raises ValueError for a malformed value."""
    query = _FROM[question.level]().where(*_conditions(db, question.keys)).limit(question.limit).offset(question.offset)
    return list(db.execute(query).mappings())


def _conditions(db: sa.Connection, keys: Mapping[str, str]) -> list[Condition]:
    return [_KEYS[keyword][1](db, value) for keyword, value in keys.items() if value.replace("*", "") and keyword in _KEYS]


def modalities(db: sa.Connection, StudyInstanceUIDs: Sequence[str]) -> dict[str, list[str]]:
    """Modalities in each of these studies."""
    query = (
        sa.select(series.c.StudyInstanceUID, series.c.Modality)
        .where(series.c.StudyInstanceUID.in_(StudyInstanceUIDs), series.c.Modality != "")
        .distinct()
        .order_by(series.c.StudyInstanceUID, series.c.Modality)
    )
    found: dict[str, list[str]] = {}
    for uid, modality in db.execute(query):
        found.setdefault(uid, []).append(modality)
    return found


def images(
    db: sa.Connection, StudyInstanceUID: str, SeriesInstanceUID: str = "", SOPInstanceUID: str = ""
) -> list[sa.RowMapping]:
    """Objects of a study, a series, or one object, in the order of their series and numbers."""
    conditions = [image.c.StudyInstanceUID == StudyInstanceUID]
    if SeriesInstanceUID:
        conditions.append(image.c.SeriesInstanceUID == SeriesInstanceUID)
    if SOPInstanceUID:
        conditions.append(image.c.SOPInstanceUID == SOPInstanceUID)
    order = (image.c.SeriesInstanceUID, image.c.InstanceNumber, image.c.SOPInstanceUID)
    return list(db.execute(sa.select(image).where(*conditions).order_by(*order)).mappings())


def files(db: sa.Connection, keys: Mapping[str, str], *, limit: int) -> list[sa.RowMapping]:
    """What is needed to send the objects that ``keys`` select, in the order of their studies, series and numbers."""
    columns = (image.c.StudyInstanceUID, image.c.SOPClassUID, image.c.SOPInstanceUID, image.c.TransferSyntaxUID, image.c.key)
    return list(db.execute(_instances().with_only_columns(*columns).where(*_conditions(db, keys)).limit(limit)).mappings())


def _count(*where: Condition) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(image).where(*where).scalar_subquery()


def _patients() -> sa.Select[tuple[object, ...]]:
    """By their number; where studies tell differently of a patient, any of what they tell."""
    told = (sa.func.max(study.c[keyword]).label(keyword) for keyword in _PATIENT if keyword != "PatientID")
    return (
        sa.select(study.c.PatientID, *told, sa.func.count().label("NumberOfPatientRelatedStudies"))
        .where(study.c.PatientID != "")
        .group_by(study.c.PatientID)
        .order_by(study.c.PatientID)
    )


def _studies() -> sa.Select[tuple[object, ...]]:
    related = sa.select(sa.func.count()).select_from(series).where(series.c.StudyInstanceUID == study.c.StudyInstanceUID)
    return sa.select(
        study,
        related.scalar_subquery().label("NumberOfStudyRelatedSeries"),
        _count(image.c.StudyInstanceUID == study.c.StudyInstanceUID).label("NumberOfStudyRelatedInstances"),
    ).order_by(study.c.StudyDate.desc(), study.c.StudyTime.desc(), study.c.StudyInstanceUID)


def _series() -> sa.Select[tuple[object, ...]]:
    own = [column for column in series.columns if column.name != "StudyInstanceUID"]
    return (
        sa.select(study, *own, _count(image.c.SeriesInstanceUID == series.c.SeriesInstanceUID).label(_SERIES_COUNT))
        .join_from(study, series, series.c.StudyInstanceUID == study.c.StudyInstanceUID)
        .order_by(series.c.StudyInstanceUID, series.c.SeriesNumber, series.c.SeriesInstanceUID)
    )


def _instances() -> sa.Select[tuple[object, ...]]:
    own = [column for column in image.columns if column.name not in ("StudyInstanceUID", "SeriesInstanceUID", "size_bytes")]
    parents = [column for column in series.columns if column.name != "StudyInstanceUID"]
    return (
        sa.select(study, *parents, *own)
        .join_from(study, series, series.c.StudyInstanceUID == study.c.StudyInstanceUID)
        .join(image, image.c.SeriesInstanceUID == series.c.SeriesInstanceUID)
        .order_by(image.c.StudyInstanceUID, image.c.SeriesInstanceUID, image.c.InstanceNumber, image.c.SOPInstanceUID)
    )


_SERIES_COUNT = "NumberOfSeriesRelatedInstances"
_FROM = {Level.PATIENT: _patients, Level.STUDY: _studies, Level.SERIES: _series, Level.INSTANCE: _instances}


def _by_text(column: sa.ColumnElement[str]) -> Callable[[sa.Connection, str], Condition]:
    """Single value, or wildcards ``*`` and ``?``; the case counts."""
    return lambda db, value: _like(db, column, value) if _is_wild(value) else column == value


def _by_name(column: sa.ColumnElement[str]) -> Callable[[sa.Connection, str], Condition]:
    """A person's name: whole, or any of its component groups, which ``=`` parts; the case of letters does not count."""
    whole = sa.literal("=") + sa.func.lower(column) + sa.literal("=")

    def condition(db: sa.Connection, value: str) -> Condition:
        # folded here where SQLite folds no more than this either
        folded = "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in value)
        return _like(db, whole, f"*={folded if db.dialect.name == 'sqlite' else value.lower()}=*")

    return condition


def _is_wild(value: str) -> bool:
    return "*" in value or "?" in value


def _like(db: sa.Connection, column: sa.ColumnElement[str], pattern: str) -> Condition:
    """The database's own matching, whose time does not explode with the number of wildcards."""
    if db.dialect.name == "sqlite":
        return column.op("GLOB", is_comparison=True, return_type=sa.Boolean())(pattern.replace("[", "[[]"))
    for sign in "\\%_":
        pattern = pattern.replace(sign, f"\\{sign}")
    return column.like(pattern.replace("*", "%").replace("?", "_"), escape="\\")


def _by_uid(column: sa.ColumnElement[str]) -> Callable[[sa.Connection, str], Condition]:
    """One UID or a list of them."""
    return lambda _db, value: column.in_(value.replace("\\", ",").split(","))


def _by_number(column: sa.ColumnElement[int]) -> Callable[[sa.Connection, str], Condition]:
    def condition(_db: sa.Connection, value: str) -> Condition:
        if not value.removeprefix("-").isdecimal() or len(value) > 9:
            raise ValueError("a number has up to nine digits")
        return column == int(value)

    return condition


def _by_range(column: sa.ColumnElement[str], *, digits: int) -> Callable[[sa.Connection, str], Condition]:
    """A date or a time, or a range of them, open at either end; bounds shorter than ``digits`` count as far as they go."""

    def condition(_db: sa.Connection, value: str) -> Condition:
        first, dash, last = value.partition("-")
        for bound in (first, last):
            plain = bound.replace(".", "", 1)
            if not ((plain.isascii() and plain.isdigit()) or not bound) or len(bound.partition(".")[0]) > digits:
                raise ValueError("a date is YYYYMMDD, a time HHMMSS, and a range has one hyphen")
        if not dash:
            return sa.and_(column != "", sa.func.substr(column, 1, len(first)) == first)
        bounds = [column != ""]
        if first:
            bounds.append(column >= first)
        if last:
            bounds.append(sa.func.substr(column, 1, len(last)) <= last)
        return sa.and_(*bounds)

    return condition


def _modality_in_study(db: sa.Connection, value: str) -> Condition:
    wanted = sa.or_(*(_by_text(series.c.Modality)(db, part) for part in value.replace("\\", ",").split(",") if part))
    return sa.exists().where(series.c.StudyInstanceUID == study.c.StudyInstanceUID, wanted)


_KEYS: dict[str, tuple[Level, Callable[[sa.Connection, str], Condition]]] = {
    "StudyInstanceUID": (Level.STUDY, _by_uid(study.c.StudyInstanceUID)),
    "StudyDate": (Level.STUDY, _by_range(study.c.StudyDate, digits=8)),
    "StudyTime": (Level.STUDY, _by_range(study.c.StudyTime, digits=6)),
    "PatientBirthDate": (Level.PATIENT, _by_range(study.c.PatientBirthDate, digits=8)),
    "PatientName": (Level.PATIENT, _by_name(study.c.PatientName)),
    "ReferringPhysicianName": (Level.STUDY, _by_name(study.c.ReferringPhysicianName)),
    "ModalitiesInStudy": (Level.STUDY, _modality_in_study),
    **{keyword: (Level.PATIENT, _by_text(study.c[keyword])) for keyword in _PATIENT_TEXT},
    **{keyword: (Level.STUDY, _by_text(study.c[keyword])) for keyword in _STUDY_TEXT},
    "SeriesInstanceUID": (Level.SERIES, _by_uid(series.c.SeriesInstanceUID)),
    "SeriesNumber": (Level.SERIES, _by_number(series.c.SeriesNumber)),
    **{keyword: (Level.SERIES, _by_text(series.c[keyword])) for keyword in _SERIES_TEXT},
    "SOPInstanceUID": (Level.INSTANCE, _by_uid(image.c.SOPInstanceUID)),
    "SOPClassUID": (Level.INSTANCE, _by_uid(image.c.SOPClassUID)),
    **{keyword: (Level.INSTANCE, _by_number(image.c[keyword])) for keyword in _IMAGE_NUMBERS},
}
