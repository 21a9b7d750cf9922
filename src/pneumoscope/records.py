"""The nouns. Each stage turns one into the next; none is changed after it is made.

Conventions, for the whole package: arrays are (slice, row, column); slices run from feet to head; lengths in mm, volumes in ml,
intensities in HU; positions in DICOM patient coordinates (LPS). A field that is a DICOM element bears its keyword. Text is
Unicode, decoded once on arrival. Arrays are read-only.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: A UID as PS3.5 9.1 has it, but for leading zeros, which real scanners write.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID_CHARACTERS = 64


def is_uid(text: str) -> bool:
    """Whether ``text`` may name a study, series or object, and so touch a path."""
    return len(text) <= _MAX_UID_CHARACTERS and _UID.fullmatch(text) is not None


class Priority(IntEnum):
    """Smaller goes first; settings call them by these names in lower case."""

    EMERGENCY = 1
    INPATIENT = 2
    ROUTINE = 3
    BACKFILL = 4


@dataclass(frozen=True, kw_only=True)
class Study:
    """The patient and the examination, as the source says; an absent element is an empty string."""

    StudyInstanceUID: str
    PatientName: str = ""  # all three component groups, joined by "="
    PatientID: str = ""
    PatientBirthDate: str = ""
    PatientSex: str = ""
    PatientAge: str = ""
    StudyDate: str = ""
    StudyTime: str = ""
    StudyID: str = ""
    AccessionNumber: str = ""
    StudyDescription: str = ""
    ReferringPhysicianName: str = ""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One axial image to be: a single-frame file, or one frame of a multi-frame file. No pixels yet.

    An element that the source lacks is None (numbers, geometry) or empty (text).
    """

    path: Path
    frame_index: int | None = None  # 0-based; None in a single-frame file
    SOPClassUID: str
    SOPInstanceUID: str
    SeriesInstanceUID: str
    TransferSyntaxUID: str
    StudyInstanceUID: str = ""
    Modality: str = ""
    ImageType: tuple[str, ...] = ()
    InstanceNumber: int | None = None
    AcquisitionNumber: int | None = None
    FrameOfReferenceUID: str = ""
    ImagePositionPatient: tuple[float, float, float] | None = None
    ImageOrientationPatient: tuple[float, float, float, float, float, float] | None = None
    PixelSpacing: tuple[float, float] | None = None  # (between rows, between columns) mm
    Rows: int = 0
    Columns: int = 0
    SamplesPerPixel: int = 1
    PhotometricInterpretation: str = ""
    BitsAllocated: int = 16
    BitsStored: int = 16
    HighBit: int | None = None
    PixelRepresentation: int = 0
    RescaleSlope: float | None = None
    RescaleIntercept: float | None = None
    RescaleType: str = ""  # unit of what the rescale gives; HU where it is absent (PS3.3 C.8.2.1)
    LossyImageCompression: str = ""
    LossyImageCompressionRatio: str = ""  # several, joined by a backslash, where it was compressed several times
    LossyImageCompressionMethod: str = ""
    SliceThickness: float | None = None  # mm
    SeriesNumber: int | None = None
    SeriesDescription: str = ""
    ConvolutionKernel: str = ""
    ContrastBolusAgent: str = ""
    BodyPartExamined: str = ""
    PatientPosition: str = ""
    Manufacturer: str = ""
    ManufacturerModelName: str = ""
    KVP: float | None = None
    AcquisitionDate: str = ""
    AcquisitionTime: str = ""
    PixelPaddingValue: int | None = None
    has_pixels: bool = True
    pixel_offset: int | None = None  # byte where plain pixels begin in the file; None where they are encapsulated or deflated


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something a reader of the result should know: a stable code and one sentence."""

    code: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Series:
    """Instances that make one stack, ordered from feet to head, doubles removed."""

    study: Study
    instances: tuple[Instance, ...]
    doubles: tuple[tuple[int, Instance], ...] = ()  # (index of the instance kept, the one left out at its position)
    notices: tuple[Notice, ...] = ()

    @property
    def first(self) -> Instance:
        """The instance nearest the feet; stands for all in what they share."""
        return self.instances[0]


@dataclass(frozen=True, kw_only=True)
class SeriesVerdict:
    """What became of one stack of the study: chosen, or why not."""

    SeriesInstanceUID: str
    SeriesNumber: int | None
    SeriesDescription: str
    image_count: int
    chosen: bool
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Volume:
    """HU of one stack, as acquired: no slice is invented, so a gap shows as a longer interval.

    ``hu``: (slice, row, column) int16, oriented in-plane as stored. ``positions_mm``: (slice,) along the head direction,
    ascending. ``intervals_mm``: (slice,) the length that each slice stands for. ``origins_mm``: (slice, 3)
    ImagePositionPatient. ``instances``: the source of each slice; empty for a volume file without DICOM identity.
    """

    study: Study
    instances: tuple[Instance, ...]
    hu: NDArray[np.int16]
    positions_mm: NDArray[np.float64]
    intervals_mm: NDArray[np.float64]
    origins_mm: NDArray[np.float64]
    ImageOrientationPatient: tuple[float, float, float, float, float, float]
    PixelSpacing: tuple[float, float]
    SliceThickness: float | None
    notices: tuple[Notice, ...] = ()

    @property
    def voxel_ml(self) -> NDArray[np.float64]:
        """(slice,) volume in ml of one voxel of each slice."""
        return np.asarray(self.intervals_mm * self.PixelSpacing[0] * self.PixelSpacing[1] / 1000.0)


class Lung(StrEnum):
    """Side, by the patient's own right and left; the value in ``Masks.lungs`` is ``label``."""

    RIGHT = "right"
    LEFT = "left"

    @property
    def label(self) -> int:
        """Value of this lung in ``Masks.lungs``."""
        return 1 if self is Lung.RIGHT else 2


GROUND_GLASS_LABEL = 1
CONSOLIDATION_LABEL = 2


@dataclass(frozen=True, kw_only=True)
class Masks:
    """What was found where, on the volume's own voxels.

    ``lungs``: (slice, row, column) uint8, 0 outside, 1 right lung, 2 left lung; vessels and lesions within are included.
    ``lesions``: same shape, 0 none, 1 ground-glass, 2 consolidation; never outside ``lungs``.
    ``confidence``: (slice,) mean distance from doubt of the lesion network inside the lungs, 0 to 1; 1 where no lung.
    """

    lungs: NDArray[np.uint8]
    lesions: NDArray[np.uint8]
    confidence: NDArray[np.float64]


class Region(StrEnum):
    """Where a measure holds; zones are thirds of each lung's height."""

    LUNGS = "lungs"
    RIGHT_LUNG = "right_lung"
    LEFT_LUNG = "left_lung"
    RIGHT_UPPER = "right_upper_zone"
    RIGHT_MIDDLE = "right_middle_zone"
    RIGHT_LOWER = "right_lower_zone"
    LEFT_UPPER = "left_upper_zone"
    LEFT_MIDDLE = "left_middle_zone"
    LEFT_LOWER = "left_lower_zone"


ZONES = (
    Region.RIGHT_UPPER,
    Region.RIGHT_MIDDLE,
    Region.RIGHT_LOWER,
    Region.LEFT_UPPER,
    Region.LEFT_MIDDLE,
    Region.LEFT_LOWER,
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Measures of one region."""

    region: Region
    volume_ml: float
    ground_glass_ml: float
    consolidation_ml: float
    lesion_uncertainty_ml: float  # half-width: the lesion volume moves this much when its outline moves by half a pixel
    mean_hu: float

    @property
    def lesion_ml(self) -> float:
        """Ground-glass and consolidation together."""
        return self.ground_glass_ml + self.consolidation_ml

    @property
    def share(self) -> float:
        """Part of the region that is lesion, 0 to 1."""
        return self.lesion_ml / self.volume_ml if self.volume_ml > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class KeySlice:
    """A slice worth looking at: its index in the volume, the lesion area in it, and the part of its lung area involved."""

    index: int
    lesion_area_mm2: float
    share: float


class Category(StrEnum):
    """What the score says in words."""

    NO_SIGN = "no sign"
    INDETERMINATE = "indeterminate"
    SIGN = "sign of pneumonia of the COVID-19 pattern"
    CANNOT_SAY = "cannot say"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The study score, 0 to 1, or None with the reason; and the evidence per slice, (slice,) 0 to 1."""

    probability: float | None
    category: Category
    reason: str
    slice_evidence: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Model:
    """Which algorithm made a reading; ``device_uid`` changes with every retraining."""

    name: str
    version: str
    device_uid: str
    sha256: str
    manufacturer: str = "Pneumoscope"


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """The earlier reading of a study that a later one replaces: when and by which algorithm it was made, and its SR."""

    made_at: datetime  # with time zone
    device_uid: str
    SeriesInstanceUID: str
    SOPInstanceUID: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All that was read from one study."""

    volume: Volume
    masks: Masks
    findings: tuple[Finding, ...]  # one per Region, in the order of Region
    severity_points: int  # 0 to 24
    key_slices: tuple[KeySlice, ...]  # most involved first
    scores: Scores
    evidence: NDArray[np.float32]  # (slice, c, c) on the network's grid: what a cell of lesion adds to its slice's log odds
    notices: tuple[Notice, ...]
    verdicts: tuple[SeriesVerdict, ...]
    model: Model
    made_at: datetime  # with time zone
    replaces: Predecessor | None = None
    noise_hu: float | None = None  # in soft tissue; None where too little of it is in the scan

    @property
    def study(self) -> Study:
        """The study that was read."""
        return self.volume.study

    def finding(self, region: Region) -> Finding:
        """The measures of one region."""
        return next(f for f in self.findings if f.region is region)


class Judgement(StrEnum):
    """What a person answers to a reading."""

    ACCEPT = "accept"
    MODIFY = "modify"  # right but for what is corrected
    REJECT = "reject"


class Objection(StrEnum):
    """Why a reading is modified or rejected."""

    MISSED_LESION = "missed lesion"
    FALSE_LESION = "false lesion"
    WRONG_EXTENT = "wrong extent"
    WRONG_CATEGORY = "wrong category"
    INADEQUATE_IMAGE = "inadequate image"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person says of a reading; a correction only where it is modified.

    ``added`` and ``removed``: zones with a lesion that the reading has not, and without one that it has.
    """

    judgement: Judgement
    objection: Objection | None = None
    text: str = ""
    category: Category | None = None  # corrected
    added: tuple[Region, ...] = ()
    removed: tuple[Region, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """An answer with its author: one of those to a reading, numbered from 1.

    ``supersedes``: id of the same person's answer before this one, or empty.
    """

    id: str  # a UUID
    number: int
    reader: str
    answer: Answer
    made_at: datetime  # with time zone
    supersedes: str = ""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """One result ready to be written or sent."""

    name: str  # file name, no folders
    media_type: str
    content: bytes
