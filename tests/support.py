"""Nouns made up for tests that need a reading but no network: small, quick, of known content."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pneumoscope.errors import PneumoscopeError
from pneumoscope.geometry import intervals_mm
from pneumoscope.pipeline import load_path
from pneumoscope.records import (
    Category,
    Finding,
    Instance,
    KeySlice,
    Masks,
    Model,
    Notice,
    Reading,
    Region,
    Scores,
    SeriesVerdict,
    Study,
    Volume,
)


def tiny_reading(
    *, slices: int = 24, size: int = 128, PatientName: str = "Phantom^Chest", with_dicom: bool = True, lesions: bool = True
) -> Reading:
    """Two cylinders of lung in a cylinder of muscle, a ground-glass ball with a dense core in the right one."""
    spacing_mm, thickness_mm = 360.0 / size, 240.0 / slices
    z, y, x = np.ogrid[:slices, :size, :size]
    centre = (size - 1) / 2
    body = ((x - centre) / (0.44 * size)) ** 2 + ((y - centre) / (0.34 * size)) ** 2 < 1
    lungs = np.zeros((slices, size, size), dtype=np.uint8)
    for label, side in ((1, -1), (2, 1)):  # the patient's right is at small column numbers
        disc = ((x - centre - side * 0.2 * size) / (0.14 * size)) ** 2 + ((y - centre) / (0.24 * size)) ** 2 < 1
        lungs[(disc & (z > 1) & (z < slices - 2))] = label
    hu = np.where(body, 40, -1000) * np.ones((slices, 1, 1))
    hu[lungs > 0] = -850
    found = np.zeros_like(lungs)
    if lesions:
        ball = (
            ((x - centre + 0.2 * size) * spacing_mm) ** 2
            + ((y - centre) * spacing_mm) ** 2
            + ((z - slices / 3) * thickness_mm) ** 2
        )
        found[(ball < 30**2) & (lungs == 1)] = 1
        found[(ball < 15**2) & (lungs == 1)] = 2
        hu[found == 1], hu[found == 2] = -550, 0
    positions_mm = np.arange(slices) * thickness_mm
    origins = np.stack([np.full(slices, -180.0), np.full(slices, -180.0), positions_mm], axis=1)
    study = Study(
        StudyInstanceUID="1.2.826.0.1.3680043.10.1.1",
        PatientName=PatientName,
        PatientID="PHANTOM-1",
        PatientBirthDate="19600102",
        PatientSex="O",
        PatientAge="060Y",
        StudyDate="20200301",
        StudyTime="101530",
        StudyID="1",
        AccessionNumber="A1",
        StudyDescription="CT Chest",
    )
    instances = tuple(
        Instance(
            path=Path(f"{k}.dcm"),
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            SOPInstanceUID=f"1.2.826.0.1.3680043.10.1.1.1.{k + 1}",
            SeriesInstanceUID="1.2.826.0.1.3680043.10.1.1.1",
            TransferSyntaxUID="1.2.840.10008.1.2.1",
            Modality="CT",
            ImageType=("ORIGINAL", "PRIMARY", "AXIAL"),
            InstanceNumber=slices - k,
            FrameOfReferenceUID="1.2.826.0.1.3680043.10.1.2",
            ImagePositionPatient=tuple(origins[k]),
            ImageOrientationPatient=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            PixelSpacing=(spacing_mm, spacing_mm),
            Rows=size,
            Columns=size,
            RescaleSlope=1.0,
            RescaleIntercept=-1024.0,
            SliceThickness=thickness_mm,
            SeriesNumber=2,
            SeriesDescription="Chest 10.0 B40f",
            Manufacturer="Phantom",
        )
        for k in range(slices)
    )
    volume = Volume(
        study=study,
        instances=instances if with_dicom else (),
        hu=hu.astype(np.int16),
        positions_mm=positions_mm,
        intervals_mm=intervals_mm(positions_mm),
        origins_mm=origins,
        ImageOrientationPatient=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        PixelSpacing=(spacing_mm, spacing_mm),
        SliceThickness=thickness_mm,
    )
    voxel_ml = float(volume.voxel_ml[0])

    def count(mask: np.ndarray) -> float:
        return float(mask.sum()) * voxel_ml

    where = {Region.LUNGS: lungs > 0, Region.RIGHT_LUNG: lungs == 1, Region.LEFT_LUNG: lungs == 2}
    for side, label in (("right", 1), ("left", 2)):
        for third, name in enumerate(("lower", "middle", "upper")):
            inside = (z >= third * slices / 3) & (z < (third + 1) * slices / 3)
            where[Region(f"{side}_{name}_zone")] = (lungs == label) & inside
    findings = tuple(
        Finding(
            region=region,
            volume_ml=count(where[region]),
            ground_glass_ml=count(where[region] & (found == 1)),
            consolidation_ml=count(where[region] & (found == 2)),
            lesion_uncertainty_ml=0.1 * count(where[region] & (found > 0)),
            mean_hu=float(hu[where[region]].mean()),
        )
        for region in Region
    )
    area = (found > 0).sum((1, 2)) * spacing_mm**2
    share = (found > 0).sum((1, 2)) / np.maximum((lungs > 0).sum((1, 2)), 1)
    ranked = [int(k) for k in np.argsort(-area)[:3] if area[k] > 0]
    return Reading(
        volume=volume,
        masks=Masks(lungs=lungs, lesions=found, confidence=np.ones(slices)),
        findings=findings,
        severity_points=3 if lesions else 0,
        key_slices=tuple(KeySlice(index=k, lesion_area_mm2=float(area[k]), share=float(share[k])) for k in ranked),
        scores=Scores(
            probability=0.83 if lesions else 0.04,
            category=Category.SIGN if lesions else Category.NO_SIGN,
            reason="",
            slice_evidence=share,
        ),
        evidence=np.zeros((slices, 24, 24), dtype=np.float32),
        notices=(Notice(code="thick-slices", text="Slices are 10.0 mm thick; above 5 mm small lesions can be missed."),),
        verdicts=(
            SeriesVerdict(
                SeriesInstanceUID="1.2.826.0.1.3680043.10.1.1.1",
                SeriesNumber=2,
                SeriesDescription="Chest 10.0 B40f",
                image_count=slices,
                chosen=True,
                code="chosen",
                reason="the only axial chest series",
            ),
            SeriesVerdict(
                SeriesInstanceUID="1.2.826.0.1.3680043.10.1.1.9",
                SeriesNumber=1,
                SeriesDescription="Topogram",
                image_count=1,
                chosen=False,
                code="localizer",
                reason="a localizer, not a stack of slices",
            ),
        ),
        model=Model(name="lung-lesion", version="0.1.0", device_uid="1.2.826.0.1.3680043.10.9.1", sha256="0" * 64),
        made_at=datetime(2020, 3, 1, 10, 20, tzinfo=UTC),
    )


def refusal(path: Path) -> PneumoscopeError:
    """What is said of an input that cannot be read: one sentence, which quotes neither patient nor path."""
    with pytest.raises(PneumoscopeError) as caught:
        load_path(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert "Secret" not in text
    assert "SECRET" not in text
    assert str(path) not in text
    return caught.value
