"""Volume files that are not DICOM: NIfTI, MetaImage, NRRD."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.errors import UnreadableVolume
from pneumoscope.geometry import intervals_mm
from pneumoscope.records import Notice, Study, Volume

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
MIN_SLICES = 10


def is_volume_file(path: Path) -> bool:
    """Whether the name ends like a volume file."""
    return path.name.lower().endswith(SUFFIXES)


def read_volume_file(path: Path) -> Volume:
    """Read a volume of HU and turn it so that slices are axial, from feet to head.

    It has no patient and no DICOM identity; its StudyInstanceUID is made from its content.
    """
    import SimpleITK as sitk  # here, since whoever reads headers imports this package too

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as fault:
        raise UnreadableVolume(
            "The volume file cannot be read; allowed are undamaged NIfTI, MetaImage and NRRD files.", code="damaged-volume"
        ) from fault
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UnreadableVolume(
            f"The file holds {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} values a voxel; "
            "allowed are 3 dimensions and 1 value.",
            code="not-a-volume",
        )
    image = sitk.DICOMOrient(image, "LPS")
    values = sitk.GetArrayViewFromImage(image)
    _refuse_not_hu(values)
    if len(values) < MIN_SLICES:
        raise UnreadableVolume(f"The volume has {len(values)} slices; at least {MIN_SLICES} are needed.", code="too-few-slices")
    direction = np.array(image.GetDirection()).reshape(3, 3)
    spacing = image.GetSpacing()
    step = direction[:, 2] * spacing[2]
    origins = np.array(image.GetOrigin()) + np.arange(len(values))[:, None] * step
    hu = np.clip(np.rint(values), -1024, 32767).astype(np.int16)
    positions_mm = np.arange(len(values), dtype=np.float64) * float(spacing[2])
    hu.flags.writeable = False
    digest = hashlib.sha256(hu[:: max(1, len(hu) // 8)].tobytes()).digest()
    return Volume(
        study=Study(StudyInstanceUID=f"2.25.{int.from_bytes(digest[:16], 'big')}"),
        instances=(),
        hu=hu,
        positions_mm=positions_mm,
        intervals_mm=intervals_mm(positions_mm),
        origins_mm=origins,
        ImageOrientationPatient=tuple(float(v) for v in (*direction[:, 0], *direction[:, 1])),  # type: ignore[arg-type]
        PixelSpacing=(float(spacing[1]), float(spacing[0])),
        SliceThickness=float(spacing[2]),
        notices=(
            Notice(
                code="no-dicom-identity",
                text="The source is a volume file: contrast, kernel and patient are unknown, and no DICOM results are made.",
            ),
        ),
    )


def _refuse_not_hu(values: NDArray[np.generic]) -> None:
    sample = np.asarray(values[:: max(1, len(values) // 16), ::4, ::4], dtype=np.float64)
    low, high = float(np.nanmin(sample)), float(np.nanmax(sample))
    if not np.isfinite(sample).all() or low > -500 or high > 40_000:
        raise UnreadableVolume(
            f"The values run from {low:.0f} to {high:.0f}; HU of a chest reach from about -1000 (air) to above 0.",
            code="not-hu",
        )
