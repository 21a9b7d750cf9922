"""Comprehensive 3D SR, root TID 1500 Measurement Report: measures, evaluations and what they refer to (IHE AI Results).

Groups, in this order: the study as a whole; both lungs; each segment of the SEG (TID 1411); the six zones; the key slices. All
but the segments' are TID 1501. The document is PRELIMINARY and UNVERIFIED: no person has seen it.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dicom_codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import Comprehensive3DSRStorage

from pneumoscope import codes
from pneumoscope.codes import Code, severity
from pneumoscope.records import GROUND_GLASS_LABEL, ZONES, Category, Finding, KeySlice, Lung, Reading, Region
from pneumoscope.results.header import Kind, first_instance, new_result, put_as_is
from pneumoscope.results.seg import SEGMENTS, Segment, tracking_uid
from pneumoscope.results.source import files_by_series, reference
from pneumoscope.results.words import headline

Group: TypeAlias = sr.MeasurementsAndQualitativeEvaluations
REGION_OF_LUNG = {Lung.RIGHT.label: Region.RIGHT_LUNG, Lung.LEFT.label: Region.LEFT_LUNG}


def build_sr(reading: Reading, *, seg: Dataset | None) -> Dataset:
    """The findings of a reading; groups of regions of interest refer to ``seg``, which is None where nothing was segmented."""
    first_instance(reading)  # says why, where there is none
    groups = [_study_group(reading), _region_group(reading, Region.LUNGS)]
    groups += _segment_groups(reading, seg) if seg is not None else []
    groups += [_region_group(reading, zone) for zone in ZONES]
    groups += [_key_slice_group(reading, rank, key) for rank, key in enumerate(reading.key_slices, start=1)]
    content = sr.MeasurementReport(
        observation_context=_observer(reading),
        procedure_reported=coded(codes.CHEST_CT),
        imaging_measurements=groups,
    )
    header = new_result(reading, Kind.FINDINGS, Comprehensive3DSRStorage)
    ds = document(content, header, evidence=_evidence(reading, seg))
    if reading.replaces:
        earlier = reference(Comprehensive3DSRStorage, reading.replaces.SOPInstanceUID)
        series = {reading.replaces.SeriesInstanceUID: [earlier]}
        ds.PredecessorDocumentsSequence = [references(reading.study.StudyInstanceUID, series)]
    return ds


def document(content: sr.MeasurementReport, header: Dataset, *, evidence: Dataset, final: bool = False) -> Dataset:
    """SR Document General and Content (PS3.3 C.17.2, C.17.3), with patient, study, series and equipment as in ``header``.

    By hand: highdicom's document copies the whole content to look for what it refers to, and takes patient and study from the
    evidence, which it checks more strictly than archives do.
    """
    ds = Dataset()
    ds.update(content[0])
    ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "FINAL" if final else "PRELIMINARY"
    ds.CurrentRequestedProcedureEvidenceSequence = [evidence]
    ds.PerformedProcedureCodeSequence = []
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CodingSchemeIdentificationSequence = [_private_scheme()]
    ds.update(header)
    return ds


def references(StudyInstanceUID: str, by_series: Mapping[str, list[Dataset]]) -> Dataset:
    """Hierarchical SOP Instance Reference Macro (PS3.3 Table C.17-3) of objects of one study."""
    study, items = Dataset(), []
    for SeriesInstanceUID, objects in by_series.items():
        series = Dataset()
        put_as_is(series, "SeriesInstanceUID", SeriesInstanceUID)
        series.ReferencedSOPSequence = objects
        items.append(series)
    put_as_is(study, "StudyInstanceUID", StudyInstanceUID)
    study.ReferencedSeriesSequence = items
    return study


def _private_scheme() -> Dataset:
    """Who answers for the codes of our own (PS3.3 C.12.1.1.1)."""
    item = Dataset()
    item.CodingSchemeDesignator = codes.PRIVATE
    item.CodingSchemeName = "Pneumoscope codes"
    item.CodingSchemeResponsibleOrganization = "Pneumoscope"
    return item


def _evidence(reading: Reading, seg: Dataset | None) -> Dataset:
    """What was read and the SEG."""
    by_series = files_by_series(reading.volume.instances)
    if seg is not None:
        by_series[seg.SeriesInstanceUID] = [reference(seg.SOPClassUID, seg.SOPInstanceUID)]
    return references(reading.study.StudyInstanceUID, by_series)


def _observer(reading: Reading) -> sr.ObservationContext:
    model = reading.model
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=dicom_codes.DCM.Device,
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=model.device_uid,
                name=f"{model.name} {model.version}",
                manufacturer_name=model.manufacturer,
                model_name=model.name,
                serial_number=model.sha256[:16],
            ),
        )
    )


def _study_group(reading: Reading) -> Group:
    """The question that the reading answers: score, category, severity, and in words what a reader should know."""
    scores = reading.scores
    measurements = _numbers((codes.SEVERITY_SCORE, reading.severity_points, codes.UNITY))
    if scores.probability is not None:
        measurements += _numbers((codes.STUDY_SCORE, round(scores.probability, 4), codes.UNITY))
    group = Group(
        tracking_identifier=_tracking(reading, "Study"),
        # a bare Finding reads as present, whatever the category beside it says
        finding_type=coded(codes.COVID_PNEUMONIA) if scores.category is Category.SIGN else None,
        finding_sites=[site_of(Region.LUNGS)],
        algorithm_id=_algorithm(reading),
        measurements=measurements,
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name=coded(codes.CATEGORY), value=coded(codes.CATEGORIES[scores.category]))
        ],
    )
    texts = [(codes.SUMMARY, headline(reading)), (codes.REASON, scores.reason)]
    texts += [(codes.NOTICE, notice.text) for notice in reading.notices]
    for name, text in texts:
        if text:
            group[0].ContentSequence.append(
                sr.TextContentItem(name=coded(name), value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS)
            )
    return group


def _region_group(reading: Reading, region: Region) -> Group:
    """Both lungs, or a zone with its severity band: regions that are no segment of their own."""
    finding = reading.finding(region)
    measurements = _measures(finding)
    if region in ZONES:
        measurements += _numbers((codes.SEVERITY_BAND, severity(finding.share)[0], codes.UNITY))
    return Group(
        tracking_identifier=_tracking(reading, "Both lungs" if region is Region.LUNGS else codes.ANATOMY[region].meaning),
        finding_category=coded(codes.ANATOMICAL_STRUCTURE),
        finding_type=coded(codes.LUNG),
        finding_sites=[site_of(region)],
        algorithm_id=_algorithm(reading),
        measurements=measurements,
    )


def _segment_groups(reading: Reading, seg: Dataset) -> list[sr.VolumetricROIMeasurementsAndQualitativeEvaluations]:
    """One group per segment that the SEG holds."""
    by_label = {segment.label: segment for segment in SEGMENTS}
    series = sr.SourceSeriesForSegmentation(first_instance(reading).SeriesInstanceUID)
    groups = []
    for item in seg.SegmentSequence:
        segment = by_label[item.SegmentLabel]
        groups.append(
            sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(uid=item.TrackingUID, identifier=item.TrackingID),
                referenced_segment=sr.ReferencedSegment(
                    sop_class_uid=seg.SOPClassUID,
                    sop_instance_uid=seg.SOPInstanceUID,
                    segment_number=item.SegmentNumber,
                    source_series=series,
                ),
                finding_category=coded(segment.category),
                finding_type=coded(segment.kind),
                finding_sites=[site_of(_segment_region(segment))],
                algorithm_id=_algorithm(reading),
                measurements=_segment_measures(reading, segment),
            )
        )
    return groups


def _segment_region(segment: Segment) -> Region:
    return Region.LUNGS if segment.in_lesions else REGION_OF_LUNG[segment.value]


def _segment_measures(reading: Reading, segment: Segment) -> list[sr.Measurement]:
    finding = reading.finding(_segment_region(segment))
    if not segment.in_lesions:
        return _measures(finding)
    volume_ml = finding.ground_glass_ml if segment.value == GROUND_GLASS_LABEL else finding.consolidation_ml
    return _numbers((codes.LUNG_VOLUME, round(volume_ml, 2), codes.MILLILITRE))


def _key_slice_group(reading: Reading, rank: int, key: KeySlice) -> Group:
    """A slice worth looking at, with the image itself; ``rank`` 1 first."""
    instance = reading.volume.instances[key.index]
    return Group(
        tracking_identifier=_tracking(reading, f"Key slice {rank}"),
        finding_type=coded(codes.LESION) if key.lesion_area_mm2 > 0 else None,
        finding_sites=[site_of(Region.LUNGS)],
        algorithm_id=_algorithm(reading),
        measurements=_numbers(
            (codes.LESION_AREA, round(key.lesion_area_mm2, 1), codes.SQUARE_MILLIMETRE),
            (codes.SLICE_SHARE, round(key.share * 100, 2), codes.PERCENT),
        ),
        source_images=[
            sr.SourceImageForMeasurementGroup(
                instance.SOPClassUID,
                instance.SOPInstanceUID,
                None if instance.frame_index is None else [instance.frame_index + 1],
            )
        ],
    )


def _measures(finding: Finding) -> list[sr.Measurement]:
    """The measures of a region; the lesion volume carries its uncertainty, and a region without a voxel has no density."""
    volume, lesion, *others = _numbers(
        (codes.LUNG_VOLUME, round(finding.volume_ml, 2), codes.MILLILITRE),
        (codes.LESION_VOLUME, round(finding.lesion_ml, 2), codes.MILLILITRE),
        (codes.GROUND_GLASS_VOLUME, round(finding.ground_glass_ml, 2), codes.MILLILITRE),
        (codes.CONSOLIDATION_VOLUME, round(finding.consolidation_ml, 2), codes.MILLILITRE),
        (codes.LESION_SHARE, round(finding.share * 100, 2), codes.PERCENT),
    )
    _add_uncertainty(lesion, round(finding.lesion_uncertainty_ml, 2), codes.MILLILITRE)
    if finding.volume_ml > 0 and math.isfinite(finding.mean_hu):
        others.append(
            sr.Measurement(
                name=coded(codes.ATTENUATION),
                value=round(finding.mean_hu, 1),
                unit=coded(codes.HOUNSFIELD),
                derivation=coded(codes.MEAN),
            )
        )
    return [volume, lesion, *others]


def _numbers(*rows: tuple[Code, float, Code]) -> list[sr.Measurement]:
    """Measurements from rows of (name, value, unit)."""
    return [sr.Measurement(name=coded(name), value=value, unit=coded(unit)) for name, value, unit in rows]


def _add_uncertainty(measurement: sr.Measurement, half_width: float, unit: Code) -> None:
    """Upper and lower range (TID 310), in the measurement's unit; highdicom's own would be without unit."""
    measurement[0].ContentSequence = sr.ContentSequence(
        [
            sr.NumContentItem(
                name=coded(name),
                value=half_width,
                unit=coded(unit),
                relationship_type=sr.RelationshipTypeValues.HAS_PROPERTIES,
            )
            for name in (codes.UPPER_UNCERTAINTY, codes.LOWER_UNCERTAINTY)
        ]
    )


def _tracking(reading: Reading, what: str) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid=tracking_uid(reading, what), identifier=what)


def _algorithm(reading: Reading) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(
        name=reading.model.name,
        version=reading.model.version,
        family=coded(codes.ARTIFICIAL_INTELLIGENCE),
        manufacturer=reading.model.manufacturer,
    )


def site_of(region: Region) -> sr.FindingSite:
    """Where a region is, for a measurement group."""
    anatomy, laterality = codes.SITES[region]
    return sr.FindingSite(coded(anatomy), laterality=None if laterality is None else coded(laterality))


def coded(code: Code) -> DicomCode:
    """A code as highdicom takes it."""
    return DicomCode(code.value, code.scheme, code.meaning)
