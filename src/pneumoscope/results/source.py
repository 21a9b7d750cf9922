"""The source images, as results refer to them."""

from collections.abc import Iterable

from pydicom.dataset import Dataset

from pneumoscope.records import Instance
from pneumoscope.results.header import put_as_is


def reference(SOPClassUID: str, SOPInstanceUID: str) -> Dataset:
    """SOP Instance Reference Macro (PS3.3 Table 10-11)."""
    item = Dataset()
    put_as_is(item, "ReferencedSOPClassUID", SOPClassUID)
    put_as_is(item, "ReferencedSOPInstanceUID", SOPInstanceUID)
    return item


def image_reference(instance: Instance) -> Dataset:
    """Image SOP Instance Reference Macro (PS3.3 Table 10-3) of one slice, with its frame where its file has several."""
    item = reference(instance.SOPClassUID, instance.SOPInstanceUID)
    if instance.frame_index is not None:
        item.ReferencedFrameNumber = instance.frame_index + 1
    return item


def file_references(instances: Iterable[Instance]) -> list[Dataset]:
    """SOP Instance Reference Macro (PS3.3 Table 10-11) of each file once, whole."""
    return [reference(instance.SOPClassUID, instance.SOPInstanceUID) for instance in _one_per_file(instances)]


def files_by_series(instances: Iterable[Instance]) -> dict[str, list[Dataset]]:
    """References to the files, by SeriesInstanceUID."""
    by_series: dict[str, list[Instance]] = {}
    for instance in instances:
        by_series.setdefault(instance.SeriesInstanceUID, []).append(instance)
    return {SeriesInstanceUID: file_references(members) for SeriesInstanceUID, members in by_series.items()}


def series_references(instances: Iterable[Instance]) -> list[Dataset]:
    """Items of Referenced Series Sequence (PS3.3 C.12.2), one per series."""
    items = []
    for SeriesInstanceUID, files in files_by_series(instances).items():
        item = Dataset()
        put_as_is(item, "SeriesInstanceUID", SeriesInstanceUID)
        item.ReferencedInstanceSequence = files
        items.append(item)
    return items


def _one_per_file(instances: Iterable[Instance]) -> list[Instance]:
    return list({instance.SOPInstanceUID: instance for instance in reversed(list(instances))}.values())[::-1]
