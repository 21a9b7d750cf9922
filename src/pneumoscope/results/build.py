"""Everything that one reading gives."""

from collections.abc import Callable

from pneumoscope.parallel import Crashed, fork_map
from pneumoscope.records import Parcel, Reading
from pneumoscope.results.document import build_document
from pneumoscope.results.fhir import build_bundle
from pneumoscope.results.pagepictures import build_page_pictures
from pneumoscope.results.pictures import key_slice, summary_sheet
from pneumoscope.results.report import build_report

DICOM_MEDIA_TYPE = "application/dicom"
MAX_CAPTURES = 4
CAPTURE_WIDTH_PX = 768


def build_parcels(
    reading: Reading, *, for_pages: bool = False, progress: Callable[[int, int], None] | None = None
) -> tuple[Parcel, ...]:
    """All results; a source without DICOM identity gives no DICOM objects.

    ``for_pages``: also the pictures that a node's pages show.
    """
    if not reading.volume.instances:
        return tuple(_text(reading))
    _import_slow_ones()
    # two processes, each takes every second job: so ordered that both take about as long
    jobs = (_segmentation, _text, _report_object, _captures, *((build_page_pictures,) if for_pages else ()))
    made: dict[int, list[Parcel]] = {}
    for index, parcels in fork_map(lambda job: job(reading), jobs, processes=2):
        if isinstance(parcels, Crashed):
            raise RuntimeError("a process that builds results died")
        made[index] = parcels
        if progress:
            progress(len(made), len(jobs))
    segmentation, text, report, captures, *pictures = (made[index] for index in range(len(jobs)))
    return (*text, *segmentation, *report, *captures, *(picture for part in pictures for picture in part))


def _text(reading: Reading) -> list[Parcel]:
    return [build_document(reading), build_bundle(reading), build_report(reading)]


def _import_slow_ones() -> None:
    """Once, before any process is forked; not at the top, since volume files do not need them."""
    from pneumoscope.results import capture, encode, seg, sr  # noqa: F401


def _segmentation(reading: Reading) -> list[Parcel]:
    from pneumoscope.results.encode import encode
    from pneumoscope.results.seg import build_seg

    seg = build_seg(reading)
    assert seg is not None, "a study without lungs is refused before it comes here"
    return [Parcel(name="seg.dcm", media_type=DICOM_MEDIA_TYPE, content=encode(seg))]


def _report_object(reading: Reading) -> list[Parcel]:
    """Refers to the segmentation, whose outline is all that it needs of it."""
    from pneumoscope.results.encode import encode
    from pneumoscope.results.seg import seg_outline
    from pneumoscope.results.sr import build_sr

    seg = seg_outline(reading)
    assert seg is not None, "a study without lungs is refused before it comes here"
    return [Parcel(name="sr.dcm", media_type=DICOM_MEDIA_TYPE, content=encode(build_sr(reading, seg=seg)))]


def _captures(reading: Reading) -> list[Parcel]:
    from pneumoscope.results.capture import build_captures
    from pneumoscope.results.encode import encode

    pictures = [("Summary", summary_sheet(reading))] + [
        (f"Slice {key.index + 1}", key_slice(reading, key.index, overlay=True, width_px=CAPTURE_WIDTH_PX, marked=True))
        for key in reading.key_slices[:MAX_CAPTURES]
    ]
    return [
        Parcel(name=f"capture-{k:02d}.dcm", media_type=DICOM_MEDIA_TYPE, content=encode(dataset))
        for k, dataset in enumerate(build_captures(reading, pictures), start=1)
    ]
