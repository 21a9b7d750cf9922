"""QIDO matching against oracles: whatever the wildcards, the database finds what Python finds."""

import string
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import databases
from pneumoscope.records import Study
from pneumoscope.store import Database, arrivals, now, search
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.schema import image, series, study
from pneumoscope.store.search import Level, Question

TEXT = st.text(alphabet="abAB%_[]\\^ -!.é山", min_size=1, max_size=8)
NAMES = st.lists(TEXT, min_size=1, max_size=3).map("=".join)
PATTERNS = st.text(alphabet="abAB%_[]\\^*?=é山", min_size=1, max_size=8)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with databases.on(request.param, request, tmp_path_factory.mktemp("search")) as found:
        yield found


def fill(db: sa.Connection, *studies: dict[str, str]) -> None:
    for table in (image, series, study):
        db.execute(table.delete())
    for number, elements in enumerate(studies):
        uid = f"1.2.{number}"
        filed = Filed(
            study=Study(StudyInstanceUID=uid, **{key: value for key, value in elements.items() if key != "Modality"}),
            SeriesInstanceUID=f"{uid}.1",
            SOPInstanceUID=f"{uid}.1.1",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            TransferSyntaxUID="1.2.840.10008.1.2.1",
            Modality=elements.get("Modality", "CT"),
            key=f"k{number}",
            sha256="0" * 64,
            size_bytes=1,
            received_at=now(),
        )
        arrivals.file_images(db, [filed])


def ask(db: sa.Connection, level: Level = Level.STUDY, **keys: str) -> set[int]:
    return {int(row["StudyInstanceUID"].split(".")[2]) for row in search.find(db, Question(level=level, keys=keys))}


def matches(value: str, pattern: str) -> bool:
    """PS3.4 C.2.2.2.4 by Python's own wildcards, whose brackets DICOM does not know."""
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def fold(text: str) -> str:
    return "".join(c.lower() if c in string.ascii_uppercase else c for c in text)


def name_matches(value: str, pattern: str) -> bool:
    groups = fold(value).split("=")
    runs = ("=".join(groups[i:j]) for i in range(len(groups)) for j in range(i + 1, len(groups) + 1))
    return any(matches(run, fold(pattern)) for run in runs)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(TEXT, min_size=1, max_size=5), pattern=PATTERNS)
def test_text_matches_as_wildcards_do(database: Database, values: list[str], pattern: str) -> None:
    with database.engine.connect() as db, db.begin() as transaction:
        fill(db, *({"PatientID": value} for value in values))
        expected = {k for k, value in enumerate(values) if matches(value, pattern)}
        assert ask(db, PatientID=pattern) == expected
        transaction.rollback()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(NAMES, min_size=1, max_size=5), pattern=PATTERNS)
def test_names_match_whole_or_by_component_group(database: Database, values: list[str], pattern: str) -> None:
    with database.engine.connect() as db, db.begin() as transaction:
        fill(db, *({"PatientName": value} for value in values))
        expected = {k for k, value in enumerate(values) if name_matches(value, pattern)}
        if pattern.strip("*"):
            assert ask(db, PatientName=pattern) == expected
        else:
            assert ask(db, PatientName=pattern) == set(range(len(values)))
        transaction.rollback()


DATES = st.dates(min_value=__import__("datetime").date(2019, 12, 25), max_value=__import__("datetime").date(2020, 1, 8))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(DATES, min_size=1, max_size=5), first=st.none() | DATES, last=st.none() | DATES)
def test_date_ranges(database: Database, values: list, first, last) -> None:
    def shown(day) -> str:
        return f"{day:%Y%m%d}" if day else ""

    if first is None and last is None:
        return
    with database.engine.connect() as db, db.begin() as transaction:
        fill(db, *({"StudyDate": shown(value)} for value in values))
        expected = {k for k, v in enumerate(values) if (not first or v >= first) and (not last or v <= last)}
        assert ask(db, StudyDate=f"{shown(first)}-{shown(last)}") == expected
        transaction.rollback()


def test_other_keys(database: Database) -> None:
    with database.begin() as db:
        fill(
            db,
            {"StudyTime": "101559.123", "Modality": "CT"},
            {"StudyTime": "1015", "Modality": "MR"},
            {"StudyTime": "", "Modality": "SR"},
        )
        assert ask(db, StudyTime="1015") == {0, 1}
        assert ask(db, StudyTime="-1015") == {0, 1}
        assert ask(db, StudyTime="101559-") == {0}
        assert ask(db, ModalitiesInStudy="CT,SR") == {0, 2}
        assert ask(db, ModalitiesInStudy="?R") == {1, 2}
        assert ask(db, Level.SERIES, Modality="MR") == {1}
        assert ask(db, Level.INSTANCE, SOPInstanceUID="1.2.0.1.1\\1.2.2.1.1") == {0, 2}
        assert ask(db, PatientID="") == {0, 1, 2}
        (row,) = search.find(db, Question(level=Level.SERIES, keys={"StudyInstanceUID": "1.2.1"}))
        assert row["NumberOfSeriesRelatedInstances"] == 1
        for wrong in ("a-b", "1-2-3", "999999999"):
            with pytest.raises(ValueError, match="date"):
                ask(db, StudyDate=wrong)


def test_many_wildcards_take_no_time(database: Database) -> None:
    with database.begin() as db:
        fill(db, {"PatientID": "a" * 60, "PatientName": "a" * 60})
        begun = time.monotonic()
        assert ask(db, PatientID="a*" * 28 + "b") == set()
        assert ask(db, PatientName="*a" * 28 + "b") == set()
        assert time.monotonic() - begun < 2
