"""Everything that one reading gives."""

from collections.abc import Callable

from pneumoscope.records import Parcel, Reading
from pneumoscope.results.document import build_document
from pneumoscope.results.fhir import build_bundle
from pneumoscope.results.pictures import key_slice, summary_sheet
from pneumoscope.results.report import build_report

DICOM_MEDIA_TYPE = "application/dicom"
MAX_CAPTURES = 4
CAPTURE_WIDTH_PX = 768


def build_parcels(reading: Reading, *, progress: Callable[[int, int], None] | None = None) -> tuple[Parcel, ...]:
    """All results; a source without DICOM identity gives no DICOM objects."""
    parcels = [build_document(reading), build_bundle(reading), build_report(reading)]
    if progress:
        progress(1, 2)
    if reading.volume.instances:
        parcels += _dicom_parcels(reading)
    if progress:
        progress(2, 2)
    return tuple(parcels)


def _dicom_parcels(reading: Reading) -> list[Parcel]:
    # imported here: highdicom is slow to import, and volume files do not need it
    from pneumoscope.results.capture import build_captures
    from pneumoscope.results.encode import encode
    from pneumoscope.results.seg import build_seg
    from pneumoscope.results.sr import build_sr

    seg = build_seg(reading)
    assert seg is not None, "a study without lungs is refused before it comes here"
    pictures = [("Summary", summary_sheet(reading))] + [
        (f"Slice {key.index + 1}", key_slice(reading, key.index, overlay=True, width_px=CAPTURE_WIDTH_PX, marked=True))
        for key in reading.key_slices[:MAX_CAPTURES]
    ]
    objects = {"seg.dcm": seg, "sr.dcm": build_sr(reading, seg=seg)}
    objects |= {f"capture-{k:02d}.dcm": dataset for k, dataset in enumerate(build_captures(reading, pictures), start=1)}
    return [Parcel(name=name, media_type=DICOM_MEDIA_TYPE, content=encode(dataset)) for name, dataset in objects.items()]
