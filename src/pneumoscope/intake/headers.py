"""One DICOM file to Instances: header only, no pixels."""

import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

from pneumoscope.records import Instance, Study

MULTI_FRAME_CT = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
#: Bytes from the pixel element's tag to its value.
_PIXEL_HEADER_BYTES = {ExplicitVRLittleEndian: 12, ExplicitVRBigEndian: 12, ImplicitVRLittleEndian: 8}

_STUDY_TEXT = list(Study.__dataclass_fields__)
_TEXT = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "FrameOfReferenceUID",
    "PhotometricInterpretation",
    "RescaleType",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "SeriesDescription",
    "ContrastBolusAgent",
    "BodyPartExamined",
    "PatientPosition",
    "Manufacturer",
    "ManufacturerModelName",
    "AcquisitionDate",
    "AcquisitionTime",
)
_INTEGERS = (
    "InstanceNumber",
    "AcquisitionNumber",
    "SeriesNumber",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
)
_REALS = ("RescaleSlope", "RescaleIntercept", "SliceThickness", "KVP")
_VECTORS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
#: Where it is not said which contrast agent it was.
_SOME_AGENT = "unnamed"
#: What an Integer String may hold (PS3.5 6.2), and a database's integer. Some stations write a date and time as a number.
_INTEGER_RANGE = range(-(2**31), 2**31)
#: Beyond any number that a scanner writes; what is larger, or none at all, was damaged or made to do damage.
_LARGEST = 1e12
_TAGS: list[Any] = [
    tag_for_keyword(keyword)
    for keyword in (
        *_STUDY_TEXT,
        *_TEXT,
        *_INTEGERS,
        *_REALS,
        *_VECTORS,
        "SpecificCharacterSet",
        "ImageType",
        "ConvolutionKernel",
        "NumberOfFrames",
        "ContrastBolusAgentSequence",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
    )
]


class Header(NamedTuple):
    """What one file holds: its study and its images. Or, when ``fault`` is set, why it is passed over."""

    study: Study | None = None
    instances: tuple[Instance, ...] = ()
    fault: str = ""


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file's first 132 bytes may begin a DICOM file, with its preamble or, as some old exports, without."""
    return start[128:132] == b"DICM" or (start[:2] in (b"\x08\x00", b"\x02\x00") and start[3:4] == b"\x00")


def read_header(path: Path) -> Header:  # noqa: PLR0911  a return for each way out
    """Read one file; faults come back as a code, never as an exception."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's quote values, which may be a patient's
            if not looks_like_dicom(file.read(132)):
                return Header(fault="not-dicom")
            file.seek(0)
            dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            end = file.tell()
            after = file.read(12)
    except PermissionError:
        return Header(fault="no-permission")
    except (OSError, InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, NotImplementedError, TypeError):
        return Header(fault="damaged-header")
    if "SOPClassUID" not in dataset:
        return Header(fault="damaged-header" if "Rows" not in dataset else "not-an-image")
    if dataset.SOPClassUID == "1.2.840.10008.1.3.10":
        return Header(fault="dicomdir")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _to_nouns(path, dataset, end=end, after=after)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, LookupError, OverflowError):
        return Header(fault="damaged-header")


def _to_nouns(path: Path, dataset: Dataset, *, end: int, after: bytes) -> Header:
    study = Study(**{keyword: text(dataset, keyword) for keyword in _STUDY_TEXT})
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "")) or _guessed_syntax(dataset)
    pixel_tag = after[:4] in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
    plain = pixel_tag and syntax in _PIXEL_HEADER_BYTES
    common: dict[str, Any] = {
        "path": path,
        "TransferSyntaxUID": syntax,
        "ImageType": tuple(str(part) for part in _multi(dataset, "ImageType")),
        "ConvolutionKernel": "\\".join(str(part) for part in _multi(dataset, "ConvolutionKernel")),
        # a deflated file is inflated whole before it is parsed, so its pixels cannot be seen from here
        "has_pixels": pixel_tag or syntax == DeflatedExplicitVRLittleEndian,
        "pixel_offset": end + _PIXEL_HEADER_BYTES[pydicom.uid.UID(syntax)] if plain else None,
        **{keyword: text(dataset, keyword) for keyword in _TEXT},
        **{keyword: whole for keyword in _INTEGERS if (whole := _integer(dataset, keyword)) is not None},
        **{keyword: value for keyword in _REALS if (value := _number(dataset, keyword)) is not None},
        **{keyword: vector for keyword, n in _VECTORS.items() if (vector := _vector(dataset, keyword, n)) is not None},
    }
    common["ContrastBolusAgent"] = _agent(dataset)
    if dataset.SOPClassUID not in MULTI_FRAME_CT:
        return Header(study=study, instances=(Instance(**common),))
    return Header(study=study, instances=_frames(dataset, common))


def _frames(dataset: Dataset, common: dict[str, Any]) -> tuple[Instance, ...]:
    """Instances of a multi-frame CT: what a frame's own functional groups lack comes from the shared ones."""
    shared = dataset.SharedFunctionalGroupsSequence[0] if dataset.get("SharedFunctionalGroupsSequence") else Dataset()
    frames = []
    for index, own in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        fields = dict(common)
        groups = [
            group[sequence][0]
            for sequence in (
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelMeasuresSequence",
                "PixelValueTransformationSequence",
                "CTReconstructionSequence",
                "CTImageFrameTypeSequence",
            )
            for group in (own if sequence in own else shared,)
            if sequence in group
        ]
        for group in groups:
            fields |= {keyword: v for keyword, n in _VECTORS.items() if (v := _vector(group, keyword, n)) is not None}
            fields |= {keyword: number for keyword in _REALS if (number := _number(group, keyword)) is not None}
            if "ConvolutionKernel" in group:
                fields["ConvolutionKernel"] = "\\".join(str(part) for part in _multi(group, "ConvolutionKernel"))
            if "RescaleType" in group:
                fields["RescaleType"] = text(group, "RescaleType")
            if "FrameType" in group:
                fields["ImageType"] = tuple(str(part) for part in _multi(group, "FrameType"))
        fields["ContrastBolusAgent"] = _agent_of_frame(fields["ContrastBolusAgent"], own, shared)
        frames.append(Instance(**fields | {"frame_index": index, "InstanceNumber": index + 1}))
    return tuple(frames)


def _agent(dataset: Dataset) -> str:
    """The contrast agent, by a text or a code (PS3.3 C.7.6.4, C.7.6.4b); empty for none."""
    coded = dataset.get("ContrastBolusAgentSequence") or ()
    return text(dataset, "ContrastBolusAgent") or next((text(item, "CodeMeaning") or _SOME_AGENT for item in coded), "")


def _agent_of_frame(agent: str, own: Dataset, shared: Dataset) -> str:
    """That of one frame, which says whether it was used (C.7.6.16.2.12), or kept it from a single-frame image (.2.25)."""
    for group in (own, shared):
        if usage := group.get("ContrastBolusUsageSequence"):
            return (agent or _SOME_AGENT) if any(map(_was_used, usage)) else ""
    for group, sequence in (
        (own, "UnassignedPerFrameConvertedAttributesSequence"),
        (shared, "UnassignedSharedConvertedAttributesSequence"),
    ):
        for item in group.get(sequence) or ():
            agent = agent or _agent(item)
    return agent


def _was_used(usage: Dataset) -> bool:
    return text(usage, "ContrastBolusAgentAdministered") != "NO" or text(usage, "ContrastBolusAgentDetected") == "YES"


def text(dataset: Dataset, keyword: str) -> str:
    """An element as Unicode text, empty where absent; a person's name with all its component groups."""
    value = dataset.get(keyword)
    if value is None:
        return ""
    if not isinstance(value, str) and isinstance(value, (list, tuple, pydicom.multival.MultiValue)):
        return "\\".join(str(part) for part in value).replace("\0", "")
    return str(value).replace("\0", "").rstrip(" ")  # PostgreSQL has no text with a zero in it


def _multi(dataset: Dataset, keyword: str) -> list[Any]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]


def _number(dataset: Dataset, keyword: str) -> float | None:
    """An element as a number; None where it is absent, or no number that means anything."""
    value = _multi(dataset, keyword)
    number = float(value[0]) if value and value[0] not in ("", None) else math.nan
    return number if abs(number) < _LARGEST else None


def _integer(dataset: Dataset, keyword: str) -> int | None:
    number = _number(dataset, keyword)
    return int(number) if number is not None and int(number) in _INTEGER_RANGE else None


def _vector(dataset: Dataset, keyword: str, length: int) -> tuple[float, ...] | None:
    """As many numbers; a direction of no length, which some stations write for one that they do not know, is none."""
    values = tuple(float(part) for part in _multi(dataset, keyword))
    if len(values) != length or not all(abs(value) < _LARGEST for value in values):
        return None
    return None if keyword == "ImageOrientationPatient" and not _spans_a_plane(values) else values


def _spans_a_plane(directions: tuple[float, ...]) -> bool:
    (a, b, c), (d, e, f) = directions[:3], directions[3:]
    return math.hypot(b * f - c * e, c * d - a * f, a * e - b * d) > 0.5  # 1 where both are of length 1 and at right angles


def _guessed_syntax(dataset: Dataset) -> str:
    """Transfer syntax of a file without file meta, as pydicom read it."""
    implicit, _little = dataset.original_encoding
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
