"""The source images, as results refer to them."""

from collections.abc import Iterable

from pydicom.dataset import Dataset

from pneumoscope.records import Instance, Volume
from pneumoscope.results.header import patient_and_study, put_as_is


def source_datasets(volume: Volume) -> list[Dataset]:
    """One header per source file, in the order of the slices; frames of one multi-frame file share theirs.

    Raises ValueError for a volume without DICOM identity.
    """
    files = _one_per_file(volume.instances)
    if not files:
        raise ValueError("DICOM results need DICOM sources: this volume has none")
    shared = patient_and_study(volume.study)
    return [_header(instance, shared) for instance in files]


def image_reference(instance: Instance) -> Dataset:
    """Image SOP Instance Reference Macro (PS3.3 Table 10-3) of one slice, with its frame where its file has several."""
    item = Dataset()
    put_as_is(item, "ReferencedSOPClassUID", instance.SOPClassUID)
    put_as_is(item, "ReferencedSOPInstanceUID", instance.SOPInstanceUID)
    if instance.frame_index is not None:
        item.ReferencedFrameNumber = instance.frame_index + 1
    return item


def file_references(instances: Iterable[Instance]) -> list[Dataset]:
    """SOP Instance Reference Macro (PS3.3 Table 10-11) of each file once, whole."""
    items = []
    for instance in _one_per_file(instances):
        item = image_reference(instance)
        item.pop("ReferencedFrameNumber", None)
        items.append(item)
    return items


def series_references(instances: Iterable[Instance]) -> list[Dataset]:
    """Items of Referenced Series Sequence (PS3.3 C.12.2), one per series."""
    by_series: dict[str, list[Instance]] = {}
    for instance in instances:
        by_series.setdefault(instance.SeriesInstanceUID, []).append(instance)
    items = []
    for SeriesInstanceUID, members in by_series.items():
        item = Dataset()
        put_as_is(item, "SeriesInstanceUID", SeriesInstanceUID)
        item.ReferencedInstanceSequence = file_references(members)
        items.append(item)
    return items


def _one_per_file(instances: Iterable[Instance]) -> list[Instance]:
    return list({instance.SOPInstanceUID: instance for instance in reversed(list(instances))}.values())[::-1]


def _header(instance: Instance, shared: Dataset) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.update(shared)
    put_as_is(ds, "SOPClassUID", instance.SOPClassUID)
    put_as_is(ds, "SOPInstanceUID", instance.SOPInstanceUID)
    put_as_is(ds, "SeriesInstanceUID", instance.SeriesInstanceUID)
    put_as_is(ds, "FrameOfReferenceUID", instance.FrameOfReferenceUID)
    ds.Modality = instance.Modality
    ds.Rows, ds.Columns = instance.Rows, instance.Columns
    return ds
