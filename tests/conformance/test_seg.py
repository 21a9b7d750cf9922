"""The segmentation as others read it: dicom3tools, dcmtk, ITK, highdicom."""

import dataclasses
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from peers import ENHANCED_CT, NAMES, iod_complaints, reference_uids, run, write, write_sources
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO

from pneumoscope.geometry import intervals_mm
from pneumoscope.records import Masks, Reading
from pneumoscope.results.encode import encode
from pneumoscope.results.seg import build_seg, segments_found
from support import tiny_reading


def with_masks(lungs: np.ndarray, lesions: np.ndarray) -> Reading:
    """A reading of these masks, on a volume of their shape."""
    slices, rows, columns = lungs.shape
    reading = tiny_reading(slices=12, size=16)
    volume = reading.volume
    volume = dataclasses.replace(
        volume,
        hu=np.zeros(lungs.shape, np.int16),
        instances=tuple(dataclasses.replace(i, Rows=rows, Columns=columns) for i in volume.instances[:slices]),
        positions_mm=volume.positions_mm[:slices],
        intervals_mm=volume.intervals_mm[:slices],
        origins_mm=volume.origins_mm[:slices],
    )
    return dataclasses.replace(reading, volume=volume, masks=Masks(lungs=lungs, lesions=lesions, confidence=np.ones(slices)))


def with_positions(reading: Reading, z_mm: np.ndarray, orientation: tuple[float, ...]) -> Reading:
    """The same reading on slices at these heights and with this orientation."""
    origins = reading.volume.origins_mm.copy()
    origins[:, 2] = z_mm
    volume = dataclasses.replace(
        reading.volume,
        origins_mm=origins,
        positions_mm=z_mm,
        intervals_mm=intervals_mm(z_mm),
        ImageOrientationPatient=orientation,
    )
    return dataclasses.replace(reading, volume=volume)


def in_enhanced_files(reading: Reading, *, frames_per_file: int) -> Reading:
    """The same reading, its slices frames of multi-frame files, stored from head to feet."""
    count = len(reading.volume.instances)
    instances = []
    for k, instance in enumerate(reading.volume.instances):
        file, frame = divmod(count - 1 - k, frames_per_file)
        uid = f"{instance.SeriesInstanceUID}.9.{file + 1}"
        changed = dataclasses.replace(instance, SOPClassUID=ENHANCED_CT, SOPInstanceUID=uid, frame_index=frame)
        instances.append(changed)
    return dataclasses.replace(reading, volume=dataclasses.replace(reading.volume, instances=tuple(instances)))


def decode(seg: Dataset, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """Lungs and lesions as highdicom reads them from the file's bytes, asked for by source image."""
    read = hd.seg.Segmentation.from_dataset(dcmread(DicomBytesIO(encode(seg))), copy=False)
    uids = [instance.SOPInstanceUID for instance in reading.volume.instances]
    stack = read.get_pixels_by_source_instance(uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True)
    lungs, lesions = np.zeros_like(reading.masks.lungs), np.zeros_like(reading.masks.lesions)
    for number, (segment, _) in enumerate(segments_found(reading.masks)):
        (lesions if segment.in_lesions else lungs)[stack[..., number] > 0] = segment.value
    return lungs, lesions


def test_how_a_source_lost_quality_is_told(tmp_path: Path) -> None:
    reading = tiny_reading()
    told = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "12.5\\3.8",
        "LossyImageCompressionMethod": "ISO_15444_1",
    }
    images = [dataclasses.replace(one, **(told if k else {})) for k, one in enumerate(reading.volume.instances)]
    seg = build_seg(dataclasses.replace(reading, volume=dataclasses.replace(reading.volume, instances=tuple(images))))
    assert (seg.LossyImageCompression, seg.LossyImageCompressionMethod) == ("01", "ISO_15444_1")
    assert list(seg.LossyImageCompressionRatio) == [12.5, 3.8]
    assert iod_complaints(write(seg, tmp_path / "seg.dcm")) == []


@pytest.mark.parametrize("lesions", [True, False])
def test_dciodvfy_finds_no_fault(tmp_path: Path, lesions: bool) -> None:
    assert iod_complaints(write(build_seg(tiny_reading(lesions=lesions)), tmp_path / "seg.dcm")) == []


def test_dciodvfy_finds_no_fault_on_enhanced_sources(tmp_path: Path) -> None:
    reading = in_enhanced_files(tiny_reading(size=32), frames_per_file=10)
    assert iod_complaints(write(build_seg(reading), tmp_path / "seg.dcm")) == []


def test_dcmtk_lists_every_segment(tmp_path: Path) -> None:
    status, said = run("dcmdump", write(build_seg(tiny_reading()), tmp_path / "seg.dcm"))
    assert status == 0
    for label in ("Right lung", "Left lung", "Ground-glass opacity", "Consolidation"):
        assert f"[{label}]" in said


def test_itk_reads_the_same_pixels(tmp_path: Path) -> None:
    reading = tiny_reading()
    image = sitk.ReadImage(write(build_seg(reading), tmp_path / "seg.dcm"))
    frames = [
        (reading.masks.lesions if segment.in_lesions else reading.masks.lungs)[k] == segment.value
        for segment, slices in segments_found(reading.masks)
        for k in slices
    ]
    assert np.array_equal(sitk.GetArrayFromImage(image) > 0, np.stack(frames))
    assert image.GetSpacing()[:2] == pytest.approx(reading.volume.PixelSpacing)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_masks_survive(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(2, 4), st.integers(1, 9), st.integers(1, 9)))  # also when bits end in mid-byte
    label = arrays(np.uint8, shape, elements=st.integers(0, 2))
    lungs, lesions = data.draw(label), data.draw(label)
    reading = with_masks(lungs, np.where(lungs > 0, lesions, 0).astype(np.uint8))
    seg = build_seg(reading)
    if not lungs.any():
        assert seg is None
        return
    read_lungs, read_lesions = decode(seg, reading)
    assert np.array_equal(read_lungs, reading.masks.lungs)
    assert np.array_equal(read_lesions, reading.masks.lesions)


@settings(max_examples=15, deadline=None)
@given(
    steps_mm=st.lists(st.floats(0.4, 9.0), min_size=11, max_size=11),
    orientation=st.sampled_from([(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (0, 1, 0, -1, 0, 0), (0.6, 0.8, 0, -0.8, 0.6, 0)]),
)
def test_every_frame_lies_where_its_source_does(steps_mm: list[float], orientation: tuple[float, ...]) -> None:
    z_mm = np.concatenate([[-100.0], -100.0 + np.cumsum(steps_mm)])
    reading = with_positions(tiny_reading(slices=12, size=16), z_mm, orientation)
    seg = dcmread(DicomBytesIO(encode(build_seg(reading))))
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == pytest.approx(list(orientation))
    assert "SpacingBetweenSlices" not in shared.PixelMeasuresSequence[0] or np.ptp(steps_mm) < 0.01
    by_uid = {i.SOPInstanceUID: k for k, i in enumerate(reading.volume.instances)}
    for group in seg.PerFrameFunctionalGroupsSequence:
        k = by_uid[group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        position = group.PlanePositionSequence[0].ImagePositionPatient
        assert position == pytest.approx(reading.volume.origins_mm[k], abs=1e-6)
    read_lungs, read_lesions = decode(seg, reading)
    assert np.array_equal(read_lungs, reading.masks.lungs)
    assert np.array_equal(read_lesions, reading.masks.lesions)


def test_an_even_stack_is_a_volume_to_highdicom() -> None:
    reading = tiny_reading(lesions=False)
    read = hd.seg.Segmentation.from_dataset(dcmread(DicomBytesIO(encode(build_seg(reading)))), copy=False)
    volume = read.get_volume(combine_segments=True)
    used = np.flatnonzero(reading.masks.lungs.any(axis=(1, 2)))
    if volume.affine[2, 0] < 0:  # highdicom may run from head to feet
        volume = volume.flip_spatial(0)
    assert np.array_equal(volume.array, reading.masks.lungs[used])
    assert volume.spacing[0] == pytest.approx(10.0)


def test_frames_of_several_multi_frame_files_are_referred_to_by_number() -> None:
    reading = in_enhanced_files(tiny_reading(size=16), frames_per_file=10)
    seg = build_seg(reading)
    by_frame = {(i.SOPInstanceUID, i.frame_index + 1): k for k, i in enumerate(reading.volume.instances)}
    for group in seg.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        k = by_frame[source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber]
        assert group.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(reading.volume.origins_mm[k])
    listed = [i.ReferencedSOPInstanceUID for s in seg.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence]
    assert len(listed) == len(set(listed)) == 3
    assert reference_uids(seg) == {i.SOPInstanceUID for i in reading.volume.instances}


def test_frames_of_one_multi_frame_file_are_read_back() -> None:
    reading = in_enhanced_files(tiny_reading(size=16), frames_per_file=24)
    read = hd.seg.Segmentation.from_dataset(dcmread(DicomBytesIO(encode(build_seg(reading)))), copy=False)
    stack = read.get_pixels_by_source_frame(
        reading.volume.instances[0].SOPInstanceUID,
        [i.frame_index + 1 for i in reading.volume.instances],
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    assert np.array_equal(stack[..., 0] > 0, reading.masks.lungs == 1)
    assert np.array_equal(stack[..., 3] > 0, reading.masks.lesions == 2)


def test_only_segments_that_hold_something_are_listed() -> None:
    seg = build_seg(tiny_reading(lesions=False))
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Right lung", "Left lung"]


def test_each_segment_says_what_it_is() -> None:
    seg = build_seg(tiny_reading())
    kinds = [item.SegmentedPropertyTypeCodeSequence[0] for item in seg.SegmentSequence]
    assert [kind.CodeValue for kind in kinds] == ["39607008", "39607008", "RID28531", "RID43255"]
    sides = [kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning for kind in kinds[:2]]
    assert sides == ["Right", "Left"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_survive(name: str) -> None:
    assert dcmread(DicomBytesIO(encode(build_seg(tiny_reading(size=16, PatientName=name))))).PatientName == name


def test_values_that_break_the_rules_are_the_archives_own_and_are_kept() -> None:
    reading = tiny_reading(size=16)
    study = dataclasses.replace(reading.study, PatientSex="W", StudyDate="2020.03.01", AccessionNumber="A" * 40)
    seg = build_seg(dataclasses.replace(reading, volume=dataclasses.replace(reading.volume, study=study)))
    assert (seg.PatientSex, seg.StudyDate, seg.AccessionNumber) == ("W", "2020.03.01", "A" * 40)
    assert b"2020.03.01" in encode(seg)


def test_the_algorithm_names_itself() -> None:
    reading = tiny_reading(size=16)
    item = build_seg(reading).ContributingEquipmentSequence[0]
    assert (item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions, item.DeviceUID) == (
        "Pneumoscope",
        "lung-lesion",
        "0.1.0",
        reading.model.device_uid,
    )
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert "InstitutionName" not in item


def test_the_same_reading_gives_the_same_bytes_and_a_retrained_model_another_object() -> None:
    reading = tiny_reading(size=16)
    other = dataclasses.replace(reading, model=dataclasses.replace(reading.model, device_uid="1.2.3.4"))
    assert encode(build_seg(reading)) == encode(build_seg(reading))
    assert build_seg(reading).SOPInstanceUID != build_seg(other).SOPInstanceUID
    assert build_seg(reading).SeriesInstanceUID != build_seg(other).SeriesInstanceUID


def test_it_joins_the_source_in_study_and_frame_of_reference(tmp_path: Path) -> None:
    reading = tiny_reading(slices=12, size=16)
    source = dcmread(write_sources(reading.volume, tmp_path)[0])
    seg = build_seg(reading)
    assert seg.StudyInstanceUID == source.StudyInstanceUID
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID


def test_a_volume_without_dicom_identity_is_refused() -> None:
    with pytest.raises(ValueError, match="DICOM sources"):
        build_seg(tiny_reading(size=16, with_dicom=False))


def test_a_model_without_a_proper_uid_is_refused() -> None:
    reading = tiny_reading(size=16)
    with pytest.raises(ValueError, match="device_uid"):
        build_seg(dataclasses.replace(reading, model=dataclasses.replace(reading.model, device_uid="1.02.x")))
