"""DICOM Segmentation of lungs and lesions (PS3.3 A.51): BINARY, since lesions lie within lungs and segments so overlap.

Built by hand: highdicom wants all segments side by side in one array, which for 1,200 slices takes over 1 GB, and one source
file per series or one multi-frame file, while a stack may come from several multi-frame files. Here one slice is looked at
at a time. highdicom reads the result back in the tests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, SegmentationStorage

from pneumoscope import codes
from pneumoscope.codes import Code
from pneumoscope.records import CONSOLIDATION_LABEL, GROUND_GLASS_LABEL, Instance, Lung, Masks, Reading, Volume
from pneumoscope.results.encode import put_encoded
from pneumoscope.results.header import Kind, code_item, decimal, first_instance, new_result, put_as_is, result_uid
from pneumoscope.results.source import image_reference, series_references

REFERENCED_SEGMENT_NUMBER = 0x0062000B
SEGMENT_IDENTIFICATION_SEQUENCE = 0x0062000A
IMAGE_POSITION_PATIENT = 0x00200032
PLANE_POSITION_SEQUENCE = 0x00209113


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A kind of segment: what it is, where it lies in ``Masks``, and its colour as 16-bit CIELab (PS3.3 C.10.7.1.1)."""

    label: str
    category: Code
    kind: Code
    laterality: Code | None = None
    organ: Code | None = None
    in_lesions: bool = False
    value: int
    cielab: tuple[int, int, int]


def cielab16(lightness: float, a: float, b: float) -> tuple[int, int, int]:
    """CIELab (0 to 100, -128 to 127, -128 to 127) as DICOM's unsigned 16-bit numbers."""
    return round(lightness * 65535 / 100), round((a + 128) * 65535 / 255), round((b + 128) * 65535 / 255)


SEGMENTS = (
    Segment(
        label="Right lung",
        category=codes.ANATOMICAL_STRUCTURE,
        kind=codes.LUNG,
        laterality=codes.RIGHT,
        value=Lung.RIGHT.label,
        cielab=cielab16(70, -20, -25),  # light blue
    ),
    Segment(
        label="Left lung",
        category=codes.ANATOMICAL_STRUCTURE,
        kind=codes.LUNG,
        laterality=codes.LEFT,
        value=Lung.LEFT.label,
        cielab=cielab16(70, -35, 10),  # light green
    ),
    Segment(
        label="Ground-glass opacity",
        category=codes.ABNORMAL_STRUCTURE,
        kind=codes.GROUND_GLASS,
        organ=codes.LUNG,
        in_lesions=True,
        value=GROUND_GLASS_LABEL,
        cielab=cielab16(78, 15, 75),  # amber
    ),
    Segment(
        label="Consolidation",
        category=codes.ABNORMAL_STRUCTURE,
        kind=codes.CONSOLIDATION,
        organ=codes.LUNG,
        in_lesions=True,
        value=CONSOLIDATION_LABEL,
        cielab=cielab16(55, 70, 40),  # red
    ),
)


def build_seg(reading: Reading) -> Dataset | None:
    """The segmentation on the source images' own pixels, or None where nothing was segmented.

    A segment without a voxel is left out, and a slice without a segment has no frame of it. Segments are numbered from 1 in
    the order of ``SEGMENTS``.
    """
    found = segments_found(reading.masks)
    if not found:
        return None
    ds = _outline(reading, found)
    frames = [(number, k) for number, (_, slices) in enumerate(found, start=1) for k in slices]
    source = first_instance(reading)
    put_as_is(ds, "FrameOfReferenceUID", source.FrameOfReferenceUID or result_uid(reading, "frame of reference"))
    ds.PositionReferenceIndicator = ""
    _add_image(ds, reading.volume)
    ds.ReferencedSeriesSequence = series_references(reading.volume.instances)
    _add_dimensions(ds, reading)
    ds.SharedFunctionalGroupsSequence = [_shared_groups(reading.volume)]
    ds.PerFrameFunctionalGroupsSequence = _frame_groups(reading.volume, frames)
    ds.NumberOfFrames = len(frames)
    ds.PixelData = _pack(_frame_mask(reading.masks, found[number - 1][0], k) for number, k in frames)
    ds["PixelData"].VR = "OB"
    return ds


def seg_outline(reading: Reading) -> Dataset | None:
    """The segmentation without its frames: what the structured report refers to."""
    found = segments_found(reading.masks)
    return _outline(reading, found) if found else None


def _outline(reading: Reading, found: list[tuple[Segment, list[int]]]) -> Dataset:
    ds = new_result(reading, Kind.SEGMENTATION, SegmentationStorage)
    ds.SegmentSequence = [_describe(reading, number, segment) for number, (segment, _) in enumerate(found, start=1)]
    return ds


def segments_found(masks: Masks) -> list[tuple[Segment, list[int]]]:
    """The segments that hold a voxel, each with the slices that do."""
    found = []
    for segment in SEGMENTS:
        slices = [k for k in range(len(masks.lungs)) if _frame_mask(masks, segment, k).any()]
        if slices:
            found.append((segment, slices))
    return found


def tracking_uid(reading: Reading, what: str) -> UID:
    """The UID under which SEG and SR both name one thing."""
    return result_uid(reading, "tracking", what)


def _frame_mask(masks: Masks, segment: Segment, k: int) -> NDArray[np.bool_]:
    return np.asarray((masks.lesions if segment.in_lesions else masks.lungs)[k] == segment.value)


def _add_image(ds: Dataset, volume: Volume) -> None:
    """Image Pixel and Segmentation Image (PS3.3 C.8.20.2)."""
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ContentLabel = "LUNG_LESION"
    ds.ContentDescription = "Lungs, ground-glass opacity and consolidation"
    ds.ContentCreatorName = ""  # a person's name; here there is none
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = volume.hu.shape[1:]
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    lossy = next((one for one in volume.instances if one.LossyImageCompression == "01"), None)
    ds.LossyImageCompression = "01" if lossy else "00"  # once lossy, lossy for ever
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if lossy and (value := getattr(lossy, keyword)):
            put_as_is(ds, keyword, value)
    ds.SegmentationType = "BINARY"
    ds.SegmentsOverlap = "YES"


def _describe(reading: Reading, number: int, segment: Segment) -> Dataset:
    """An item of Segment Sequence (PS3.3 Table C.8.20-4)."""
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel = segment.label
    item.SegmentedPropertyCategoryCodeSequence = [code_item(segment.category)]
    item.SegmentedPropertyTypeCodeSequence = [code_item(segment.kind)]
    if segment.laterality:
        modifier = code_item(segment.laterality)
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    if segment.organ:
        item.AnatomicRegionSequence = [code_item(segment.organ)]
    item.SegmentAlgorithmType = "AUTOMATIC"
    item.SegmentAlgorithmName = reading.model.name
    item.SegmentationAlgorithmIdentificationSequence = [_algorithm(reading)]
    item.RecommendedDisplayCIELabValue = list(segment.cielab)
    item.TrackingID = segment.label
    item.TrackingUID = tracking_uid(reading, segment.label)
    return item


def _algorithm(reading: Reading) -> Dataset:
    """Algorithm Identification Macro (PS3.3 Table 10-19)."""
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = [code_item(codes.ARTIFICIAL_INTELLIGENCE)]
    item.AlgorithmName = reading.model.name
    item.AlgorithmVersion = reading.model.version
    item.AlgorithmSource = reading.model.manufacturer
    return item


def _add_dimensions(ds: Dataset, reading: Reading) -> None:
    """Frames are indexed by segment, then by position from feet to head (PS3.3 C.7.6.17)."""
    uid = result_uid(reading, "dimensions")
    organization = Dataset()
    organization.DimensionOrganizationUID = uid
    ds.DimensionOrganizationSequence = [organization]
    items = []
    for pointer, group, label in (
        (REFERENCED_SEGMENT_NUMBER, SEGMENT_IDENTIFICATION_SEQUENCE, "Segment"),
        (IMAGE_POSITION_PATIENT, PLANE_POSITION_SEQUENCE, "Position"),
    ):
        item = Dataset()
        item.DimensionOrganizationUID = uid
        item.DimensionIndexPointer = pointer
        item.FunctionalGroupPointer = group
        item.DimensionDescriptionLabel = label
        items.append(item)
    ds.DimensionIndexSequence = items


def _shared_groups(volume: Volume) -> Dataset:
    """Orientation and pixel size. Spacing Between Slices is given only where it is even; positions are exact in any case."""
    measures = Dataset()
    steps = np.diff(volume.positions_mm)
    thickness = volume.SliceThickness or float(np.median(volume.intervals_mm))
    measures.SliceThickness = decimal(thickness)
    measures.PixelSpacing = [decimal(value) for value in volume.PixelSpacing]
    if len(steps) and np.ptp(steps) < 0.01:
        measures.SpacingBetweenSlices = decimal(float(steps.mean()))
    orientation = Dataset()
    orientation.ImageOrientationPatient = [decimal(value) for value in volume.ImageOrientationPatient]
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    return shared


def _frame_groups(volume: Volume, frames: list[tuple[int, int]]) -> list[Dataset]:
    """Per frame (segment number, slice): what it shows, where it lies, which image it was drawn on."""
    ranks = {k: rank for rank, k in enumerate(sorted({k for _, k in frames}), start=1)}
    purpose, method = code_item(codes.SOURCE_IMAGE), code_item(codes.SEGMENTATION)
    groups = []
    of_slice: dict[int, list[Dataset]] = {k: [] for k in ranks}
    for number, k in frames:
        content = Dataset()
        content.DimensionIndexValues = [number, ranks[k]]
        identification = Dataset()
        identification.ReferencedSegmentNumber = number
        group = Dataset()
        group.FrameContentSequence = [content]
        group.SegmentIdentificationSequence = [identification]
        of_slice[k].append(group)
        groups.append(group)
    for k, those in of_slice.items():
        origin = _derivation(volume.instances[k], purpose=purpose, method=method)
        put_encoded("PlanePositionSequence", [_place(volume.origins_mm[k])], into=those)
        put_encoded("DerivationImageSequence", [origin], into=those)
    return groups


def _place(origin_mm: NDArray[np.float64]) -> Dataset:
    item = Dataset()
    item.ImagePositionPatient = [decimal(float(value)) for value in origin_mm]
    return item


def _derivation(instance: Instance, *, purpose: Dataset, method: Dataset) -> Dataset:
    """Derivation Image Macro (PS3.3 C.7.6.16.2.6): drawn on this image, pixel upon pixel."""
    source = image_reference(instance)
    source.SpatialLocationsPreserved = "YES"
    source.PurposeOfReferenceCodeSequence = [purpose]
    item = Dataset()
    item.DerivationCodeSequence = [method]
    item.SourceImageSequence = [source]
    return item


def _pack(masks: Iterable[NDArray[np.bool_]]) -> bytes:
    """Frames as one run of bits, first pixel in the lowest bit (PS3.5 8.1.1), padded to an even number of bytes.

    Eight frames fill whole bytes whatever their size, so they are packed eight at a time.
    """
    packed = b"".join(np.packbits(np.concatenate(eight), bitorder="little").tobytes() for eight in _by_eight(masks))
    return packed + b"\0" * (len(packed) % 2)


def _by_eight(masks: Iterable[NDArray[np.bool_]]) -> Iterator[list[NDArray[np.bool_]]]:
    group: list[NDArray[np.bool_]] = []
    for mask in masks:
        group.append(mask.ravel())
        if len(group) == 8:
            yield group
            group = []
    if group:
        yield group
