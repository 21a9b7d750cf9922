"""What every DICOM result shares: patient and study as in the source, a new series, who made it.

Results live in the patient's own study. Each algorithm names itself in Contributing Equipment Sequence, with a Device UID that
changes with every retraining (IHE AI Results).
"""

import uuid
from datetime import datetime
from enum import Enum

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DSfloat

from pneumoscope import codes
from pneumoscope.codes import Code
from pneumoscope.records import Instance, Reading, Study


class Kind(Enum):
    """The series that a reading adds to a study: Modality, place among them, SeriesDescription (at most 64 characters)."""

    SEGMENTATION = ("SEG", 1, "AI lungs and lesions")
    FINDINGS = ("SR", 2, "AI chest CT findings")
    PICTURES = ("OT", 3, "AI pictures - NOT FOR PRIMARY DIAGNOSIS")
    ASSESSMENT = ("SR", 4, "Assessment of AI findings")

    def __init__(self, Modality: str, place: int, SeriesDescription: str) -> None:
        self.Modality = Modality
        self.place = place
        self.SeriesDescription = SeriesDescription


def first_instance(reading: Reading) -> Instance:
    """The source nearest the feet. Raises ValueError for a volume without DICOM identity."""
    if not reading.volume.instances:
        raise ValueError("DICOM results need DICOM sources: this volume has none")
    return reading.volume.instances[0]


def new_result(reading: Reading, kind: Kind, SOPClassUID: str, *, InstanceNumber: int = 1) -> Dataset:
    """Patient, study, series, equipment and identity of a result; the caller adds what is its own."""
    source = first_instance(reading)
    made_at = reading.made_at.astimezone()  # the clock on the wall, as the scanner's times are
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.update(patient_and_study(reading.study))
    ds.SOPClassUID = UID(SOPClassUID)
    ds.SOPInstanceUID = result_uid(reading, kind.name, "instance", InstanceNumber)
    ds.SeriesInstanceUID = result_uid(reading, kind.name)
    ds.Modality = kind.Modality
    ds.SeriesNumber = _series_number(source.SeriesNumber, kind)
    ds.SeriesDescription = kind.SeriesDescription
    ds.InstanceNumber = InstanceNumber
    ds.InstanceCreationDate = ds.ContentDate = _date(made_at)
    ds.InstanceCreationTime = ds.ContentTime = _time(made_at)
    ds.update(_equipment(reading))
    ds.ContributingEquipmentSequence = [_contributing_equipment(reading, made_at)]
    return ds


def patient_and_study(study: Study) -> Dataset:
    """Patient and General Study as the source has them, to the letter, so that an archive files the result with its source.

    Values that break the standard's rules are kept: they are the archive's own. Optional elements appear only when known.
    """
    ds = Dataset()
    optional = {"PatientAge", "StudyDescription"}
    for keyword, value in vars(study).items():
        if value or keyword not in optional:
            put_as_is(ds, keyword, value)
    return ds


def put_as_is(ds: Dataset, keyword: str, value: str) -> None:
    """Set an element to what the source says, even where that breaks the rules of its value representation."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    ds.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))


def result_uid(reading: Reading, *parts: object) -> UID:
    """A UID that is the same whenever the same reading is built again (PS3.5 B.2: a name-based UUID under 2.25)."""
    source = first_instance(reading)
    whole = (source.SeriesInstanceUID, source.SOPInstanceUID, reading.model.device_uid, reading.made_at.isoformat(), *parts)
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '|'.join(map(str, whole))).int}")


def code_item(code: Code) -> Dataset:
    """A code as an item of a code sequence (PS3.3 Table 8.8-1)."""
    item = Dataset()
    if len(code.value) > 16:  # what Code Value can hold
        item.LongCodeValue = code.value
    else:
        item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning
    return item


def decimal(value: float) -> DSfloat:
    """A Decimal String as exact as its 16 characters allow."""
    return DSfloat(value, auto_format=True)


def _series_number(source: int | None, kind: Kind) -> int:
    """A number that sorts after the source's and shows where it came from: series 4 gives 401, 402, 403."""
    base = source if source is not None and 0 < source < 10_000_000 else 90
    return base * 100 + kind.place


def _equipment(reading: Reading) -> Dataset:
    """General and Enhanced General Equipment: the algorithm."""
    model = reading.model
    if not UID(model.device_uid, validation_mode=config.IGNORE).is_valid:
        raise ValueError(f"the model's device_uid is no UID: {model.device_uid!r}")
    ds = Dataset()
    ds.Manufacturer = model.manufacturer
    ds.ManufacturerModelName = model.name
    ds.SoftwareVersions = model.version
    ds.DeviceSerialNumber = model.sha256[:16]
    ds.DeviceUID = UID(model.device_uid)
    return ds


def _contributing_equipment(reading: Reading, made_at: datetime) -> Dataset:
    """The algorithm as IHE AI Results wants it named (0018,A001)."""
    item = _equipment(reading)
    item.ContributionDateTime = f"{_date(made_at)}{_time(made_at)}{made_at:%z}"
    item.ContributionDescription = "Reading of chest CT by an algorithm, not reviewed by a person"
    item.PurposeOfReferenceCodeSequence = [code_item(codes.PROCESSING_EQUIPMENT)]
    return item


def _date(moment: datetime) -> str:
    return f"{moment:%Y%m%d}"


def _time(moment: datetime) -> str:
    return f"{moment:%H%M%S}"
