"""A node that received phantoms by DICOM, as a radiologist would find it: different extents, one refused, one seen before."""

from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid

from pneumoscope.phantom import Lesion, LesionKind, PhantomSpec, render, write_dicom
from servers import Node, wait_for

GLASS, SOLID = LesionKind.GROUND_GLASS, LesionKind.CONSOLIDATION
_COARSE = PhantomSpec(slices=28, slice_spacing_mm=10.0, slice_thickness_mm=2.0, size_px=256, pixel_spacing_mm=1.5)
_LITTLE = (Lesion(kind=GLASS, centre_mm=(-95.0, 45.0, 110.0), volume_ml=40.0, seed=1, roughness=0.4),)
_MUCH = (
    Lesion(kind=GLASS, centre_mm=(-95.0, 45.0, 110.0), volume_ml=520.0, seed=1, roughness=0.4),
    Lesion(kind=GLASS, centre_mm=(95.0, 45.0, 120.0), volume_ml=370.0, seed=2, roughness=0.4),
    Lesion(kind=SOLID, centre_mm=(90.0, 60.0, 80.0), volume_ml=60.0, seed=3, roughness=0.3),
    Lesion(kind=GLASS, centre_mm=(-80.0, -20.0, 200.0), volume_ml=200.0, seed=4, roughness=0.4),
)


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Who is sent, and with what."""

    key: str
    PatientName: str
    PatientID: str
    lesions: tuple[Lesion, ...] = ()
    StudyDate: str = "20200315"
    slices: int = 28


PATIENTS = (
    Patient(key="clear", PatientName="Phantom^Clear", PatientID="P-1"),
    Patient(key="before", PatientName="Hong^Gildong=洪^吉洞=홍^길동", PatientID="P-2", lesions=_LITTLE, StudyDate="20200301"),
    Patient(key="worst", PatientName="Hong^Gildong=洪^吉洞=홍^길동", PatientID="P-2", lesions=_MUCH),
    Patient(key="namesake", PatientName="Someone^Else", PatientID="P-2"),
    Patient(key="refused", PatientName="Müller^Änne", PatientID="P-3", slices=4),
)


def send_all(node: Node, folder: Path, patients: tuple[Patient, ...] = PATIENTS) -> dict[str, str]:
    """Send each, wait until all are read or refused, and return their studies' UIDs by key."""
    uids = {}
    for patient in patients:
        uids[patient.key] = write_study(patient, folder / patient.key)
        node.send(folder / patient.key)
    wait_for(
        lambda: all(node.study(uid)["study"]["state"] in ("read", "refused") for uid in uids.values()),
        seconds=300,
        what="all readings",
    )
    return uids


def write_study(patient: Patient, folder: Path) -> str:
    """Its files, under UIDs of its own; returns that of the study."""
    folder.mkdir(parents=True)
    spec = replace(_COARSE, slices=patient.slices, lesions=patient.lesions)
    write_dicom(render(spec), folder, PatientName=patient.PatientName, PatientID=patient.PatientID)
    uids: dict[str, str] = {}
    for file in folder.iterdir():
        image = dcmread(file)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(image, keyword, uids.setdefault(getattr(image, keyword), generate_uid(prefix=None)))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.StudyDate, image.AccessionNumber = patient.StudyDate, f"ACC-{patient.key}"
        image.SpecificCharacterSet = "ISO_IR 192"
        image.PatientName = patient.PatientName
        image.save_as(file)
    return str(image.StudyInstanceUID)
