"""The path of a study, in order; the only place that knows the order."""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from pneumoscope.classification import score_study
from pneumoscope.classification.guard import assess
from pneumoscope.findings import key_slices, measure, severity_points
from pneumoscope.intake import from_files, open_input
from pneumoscope.models import Bundle
from pneumoscope.records import Notice, Predecessor, Reading, SeriesVerdict, Volume
from pneumoscope.segmentation import LungLesionNetwork, segment
from pneumoscope.segmentation.evidence import densities
from pneumoscope.series import choose_series
from pneumoscope.volume import load_volume

#: Told how far a stage has come: its name, steps done, steps in all.
Progress = Callable[[str, int, int], None]
STAGES = ("find", "load", "segment", "measure", "write")


def read_path(path: Path, bundle: Bundle, *, progress: Progress = lambda *_: None) -> Reading:
    """Read the study at ``path``. Raises what its stages raise."""
    volume, verdicts = load_path(path, progress=progress)
    return read_volume(volume, bundle, verdicts=verdicts, progress=progress)


def read_files(
    files: Sequence[Path],
    bundle: Bundle,
    *,
    made_at: datetime,
    replaces: Predecessor | None = None,
    progress: Progress = lambda *_: None,
) -> Reading:
    """Read the study that lies in these DICOM files. Raises what its stages raise.

    ``made_at`` stands in the results and in their UIDs, so that reading again what was interrupted gives the same objects.
    ``replaces``: the reading of the study that this one is a later version of.
    """
    found = from_files(files, lambda done, total: progress("find", done, total))
    series, verdicts = choose_series(found.instances, found.studies)
    progress("find", 1, 1)
    volume = load_volume(series, progress=lambda done, total: progress("load", done, total))
    reading = read_volume(volume, bundle, verdicts=verdicts, made_at=made_at, progress=progress)
    if replaces is None:
        return reading
    text = f"This reading replaces that of {replaces.made_at.astimezone():%Y-%m-%d %H:%M:%S}, which was made of the same study."
    notice = Notice(code="replaces-earlier", text=text)
    return dataclasses.replace(reading, replaces=replaces, notices=(*reading.notices, notice))


def load_path(path: Path, *, progress: Progress = lambda *_: None) -> tuple[Volume, tuple[SeriesVerdict, ...]]:
    """Find, choose and decode the series to be read."""
    with open_input(path, progress=lambda done, total: progress("find", done, total)) as found:
        if found.volume is not None:
            return found.volume, ()
        series, verdicts = choose_series(found.instances, found.studies)
        progress("find", 1, 1)
        return load_volume(series, progress=lambda done, total: progress("load", done, total)), verdicts


def read_volume(
    volume: Volume,
    bundle: Bundle,
    *,
    verdicts: tuple[SeriesVerdict, ...] = (),
    made_at: datetime | None = None,
    progress: Progress = lambda *_: None,
) -> Reading:
    """Segment, judge and measure a volume; ``made_at`` is now unless given."""
    segmented = segment(
        volume,
        LungLesionNetwork(bundle.onnx),
        lesion_threshold=bundle.lesion_threshold,
        progress=lambda done, total: progress("segment", done, total),
    )
    masks = segmented.masks
    progress("measure", 0, 2)
    with ThreadPoolExecutor(2) as pool:
        measured = pool.submit(measure, volume, masks)
        assessment = assess(volume, masks)
        findings = measured.result()
    progress("measure", 1, 2)
    reading = Reading(
        volume=volume,
        masks=masks,
        findings=findings,
        severity_points=severity_points(findings),
        key_slices=key_slices(volume, masks),
        scores=score_study(volume, masks, segmented.sums, calibration=bundle.calibration, doubts=assessment.doubts),
        evidence=densities(segmented.maps, segmented.sums),
        notices=(*volume.notices, *assessment.doubts, *assessment.warnings),
        verdicts=verdicts,
        model=bundle.model,
        made_at=made_at or datetime.now(UTC),
        noise_hu=assessment.noise_hu or None,
    )
    progress("measure", 2, 2)
    return reading
