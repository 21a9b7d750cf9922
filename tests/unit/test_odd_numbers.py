"""Numbers and texts in headers that no one meant: they cost their own file or element, and never a loop or a database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

import databases
from dicom_maker import make_slice, save
from pneumoscope.config import Settings
from pneumoscope.errors import NoEligibleSeries
from pneumoscope.filing.completeness import is_whole
from pneumoscope.filing.objects import file_waiting
from pneumoscope.filing.opener import opener
from pneumoscope.filing.spool import Spool
from pneumoscope.intake.headers import read_header
from pneumoscope.records import Instance
from pneumoscope.series import choose_series
from pneumoscope.store import FolderStore, Store
from pneumoscope.store.schema import image, series, set_aside, study

ARRIVAL = "a1"


@pytest.fixture(scope="module", autouse=True)
def _child() -> Iterator[None]:
    yield
    opener.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with databases.on(request.param, request, tmp_path) as database:
        yield Store(database=database, files=FolderStore(tmp_path / "objects"))


def with_raw(dataset: Dataset, keyword: str, value: bytes) -> Dataset:
    """An element with these bytes, whatever they mean."""
    padded = value + b" " * (len(value) % 2)
    tag, vr = dataset[keyword].tag, dataset[keyword].VR
    dataset._dict[Tag(tag)] = RawDataElement(tag, vr, len(padded), padded, 0, is_implicit_VR=False, is_little_endian=True)
    return dataset


def instances(folder: Path, keyword: str, value: bytes) -> list[Instance]:
    paths = [save(with_raw(make_slice(k), keyword, value), folder / str(k)) for k in range(24)]
    return [one for path in paths for one in read_header(path).instances]


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("ImageOrientationPatient", b"0\\0\\0\\0\\0\\0", "no-position"),
        ("ImageOrientationPatient", b"1\\0\\0\\1\\0\\0", "no-position"),
        ("ImageOrientationPatient", b"nan\\0\\0\\0\\1\\0", "no-position"),
        ("ImagePositionPatient", b"nan\\nan\\nan", "no-position"),
        ("ImagePositionPatient", b"0\\0\\inf", "no-position"),
        ("ImagePositionPatient", b"0\\0\\1e300", "no-position"),
        ("PixelSpacing", b"nan\\nan", "no-pixel-spacing"),
        ("RescaleSlope", b"nan", "no-rescale"),
        ("RescaleIntercept", b"-inf", "no-rescale"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_numbers_that_are_none_count_as_absent(tmp_path: Path, keyword: str, value: bytes, code: str) -> None:
    found = instances(tmp_path, keyword, value)
    assert len(found) == 24
    assert not is_whole(found)
    with pytest.raises(NoEligibleSeries) as caught:
        choose_series(found, {})
    assert caught.value.code == code


@pytest.mark.parametrize("value", [b"inf", b"1e400", b"one"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_integer_that_is_none_is_damage_and_no_exception(tmp_path: Path, value: bytes) -> None:
    path = save(make_slice(0), tmp_path / "x")
    number = b"\x20\x00\x13\x00IS"
    padded = value + b" " * (len(value) % 2)
    old, new = number + b"\x02\x001 ", number + len(padded).to_bytes(2, "little") + padded
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    assert read_header(path).fault == "damaged-header"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_no_database_can_hold_is_not_asked_of_it(store: Store, tmp_path: Path) -> None:
    """A series numbered by the clock, a name padded within: both are real, and would hold up all others."""
    spool = Spool(tmp_path / "spool")
    spool.open(ARRIVAL)
    odd = [
        with_raw(make_slice(0, series="1"), "SeriesNumber", b"20211203114455"),
        with_raw(make_slice(0, series="2"), "InstanceNumber", b"9" * 30),
        with_raw(make_slice(0, series="3"), "PatientName", b"Doe\0\0^John"),
        with_raw(make_slice(0, series="4"), "SeriesDescription", b"Lung\0 1mm"),
        make_slice(0, series="5"),
    ]
    for dataset in odd:
        spool.write(ARRIVAL, save(dataset, tmp_path / "made.dcm").read_bytes())
    assert [str(outcome.status) for outcome in file_waiting(store, spool, ARRIVAL, settings=Settings())] == ["filed"] * 5
    with store.database.look() as db:
        rows = {row["SeriesInstanceUID"][-1]: row for row in db.execute(sa.select(series)).mappings()}
        numbers = dict(db.execute(sa.select(image.c.SeriesInstanceUID, image.c.InstanceNumber)).all())
        assert db.execute(sa.select(study.c.PatientName)).scalar() in ("Doe^John", "Secret^Name")
    assert rows["1"]["SeriesNumber"] is None
    assert rows["4"]["SeriesDescription"] == "Lung 1mm"
    assert {uid[-1]: number for uid, number in numbers.items()} == {"1": 1, "2": None, "3": 1, "4": 1, "5": 1}


@pytest.mark.parametrize("syntax", [b"1.2." + b"3" * 100, b"1.2.840\0.10008", b"x"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_transfer_syntax_that_is_no_uid_is_set_aside(store: Store, tmp_path: Path, syntax: bytes) -> None:
    spool = Spool(tmp_path / "spool")
    spool.open(ARRIVAL)
    content = save(make_slice(0), tmp_path / "made.dcm").read_bytes()
    old = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    assert old in content
    padded = syntax + b"\0" * (len(syntax) % 2)
    spool.write(ARRIVAL, content.replace(old, b"\x02\x00\x10\x00UI" + len(padded).to_bytes(2, "little") + padded))
    assert [outcome.code for outcome in file_waiting(store, spool, ARRIVAL, settings=Settings())] == ["damaged-header"]
    with store.database.look() as db:
        assert db.execute(sa.select(set_aside.c.code)).scalars().all() == ["damaged-header"]
