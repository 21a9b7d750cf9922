from dataclasses import replace

import numpy as np
import pytest

from pneumoscope.geometry import AxialView, intervals_mm
from pneumoscope.records import Category, Masks, Notice, Reading
from pneumoscope.results.pictures import coronal, evidence_slice, key_slice, summary_sheet, thumbnail
from pneumoscope.results.pictures.coronal import GAP_GREY
from pneumoscope.results.pictures.drawing import HEAT, heat, outline, window
from support import tiny_reading

ORIENTATIONS = [
    (1, 0, 0, 0, 1, 0),
    (-1, 0, 0, 0, 1, 0),
    (1, 0, 0, 0, -1, 0),
    (-1, 0, 0, 0, -1, 0),
    (0, 1, 0, 1, 0, 0),
    (0, -1, 0, 1, 0, 0),
    (0, 1, 0, -1, 0, 0),
    (0, -1, 0, -1, 0, 0),
]


@pytest.fixture(scope="module")
def reading() -> Reading:
    return tiny_reading()


def chroma(picture: np.ndarray) -> np.ndarray:
    """How far each pixel is from grey."""
    return picture.max(axis=2).astype(int) - picture.min(axis=2)


def stored_as(reading: Reading, orientation: tuple[int, ...]) -> Reading:
    """The same body, stored in another orientation."""
    view = AxialView.from_orientation(orientation)
    masks, volume = reading.masks, reading.volume
    turned = Masks(lungs=view.undo(masks.lungs), lesions=view.undo(masks.lesions), confidence=masks.confidence)
    return replace(
        reading,
        volume=replace(volume, hu=view.undo(volume.hu), ImageOrientationPatient=tuple(float(x) for x in orientation)),
        masks=turned,
    )


def test_lung_window():
    hu = np.array([[-2000, -1350, -600, 149, 3000]])
    assert window(hu).tolist() == [[0, 0, 127, 254, 255]]


def test_outline_is_the_rim_of_the_mask():
    mask = np.zeros((7, 7), dtype=bool)
    mask[1:6, 1:6] = True
    assert outline(mask).sum() == 16


def test_deeper_lesion_is_brighter():
    depths = np.linspace(0, HEAT[-1][0], 50)
    lightness = heat(depths) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -1).all()
    assert lightness[-1] > 3 * lightness[0]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("draw", [lambda r: key_slice(r, 8, overlay=True), coronal], ids=["slice", "coronal"])
def test_pictures_do_not_depend_on_how_slices_are_stored(reading, orientation, draw):
    np.testing.assert_array_equal(draw(stored_as(reading, orientation)), draw(reading))


def test_the_patients_right_is_on_the_left_of_the_picture(reading):
    picture = key_slice(reading, 8, overlay=True).astype(int)
    warm = picture[..., 0] > picture[..., 2] + 20  # both colours of lesion, not that of the lungs
    _, columns = np.nonzero(warm)
    assert len(columns) > 1000
    assert columns.max() < picture.shape[1] / 2


def test_no_colour_without_overlay(reading):
    assert chroma(key_slice(reading, 8, overlay=False)).max() == 0
    assert chroma(coronal(reading, overlay=False)).max() == 0


def test_overlay_can_be_seen_through(reading):
    hu = reading.volume.hu.copy()
    hu[8][reading.masks.lesions[8] > 0] -= 300
    darker = replace(reading, volume=replace(reading.volume, hu=hu))

    def difference(*, overlay: bool) -> float:
        one, other = (key_slice(r, 8, overlay=overlay).astype(int) for r in (reading, darker))
        return float(np.abs(one - other).sum())

    assert difference(overlay=True) > 0.6 * difference(overlay=False)


def test_pixels_that_are_not_square_keep_the_bodys_proportions(reading):
    row_mm, column_mm = reading.volume.PixelSpacing
    flat = replace(
        reading,
        volume=replace(reading.volume, hu=reading.volume.hu[:, ::2], PixelSpacing=(row_mm * 2, column_mm)),
        masks=replace(reading.masks, lungs=reading.masks.lungs[:, ::2], lesions=reading.masks.lesions[:, ::2]),
    )
    whole, drawn = key_slice(reading, 8, overlay=False), key_slice(flat, 8, overlay=False)
    assert drawn.shape[1] == whole.shape[1]
    assert abs(drawn.shape[0] - whole.shape[0]) < 0.03 * whole.shape[0]  # the box ends on whole pixels


def spoken(reading: Reading, evidence: float) -> Reading:
    """The reading with like evidence everywhere, outside the lungs too."""
    return replace(reading, evidence=np.full_like(reading.evidence, evidence))


def test_evidence_is_coloured_in_the_lesions_alone(reading):
    changed = (evidence_slice(spoken(reading, 1.0), 8) != evidence_slice(spoken(reading, 0.0), 8)).any(axis=2)
    overlay = key_slice(reading, 8, overlay=True).astype(int)
    warm = overlay[..., 0] > overlay[..., 2] + 20
    assert changed.sum() == pytest.approx(warm.sum(), rel=0.05)
    assert (changed & warm).sum() == pytest.approx(changed.sum(), rel=0.05)


def test_what_speaks_for_is_warm_and_what_speaks_against_is_cold(reading):
    warm, cold = (evidence_slice(spoken(reading, sign), 8).astype(int) for sign in (1.0, -1.0))
    where = (warm != cold).any(axis=2)
    assert where.any()
    assert (warm[where][:, 0] > warm[where][:, 2]).all()
    assert (cold[where][:, 0] < cold[where][:, 2]).all()


def test_marked_slices_say_that_they_are_not_for_diagnosis(reading):
    plain, marked = (key_slice(reading, 8, overlay=True, marked=marked) for marked in (False, True))
    changed = (plain != marked).any(axis=2)
    assert changed.any()
    assert not changed[: changed.shape[0] * 3 // 4].any()


def test_coronal_keeps_proportions_with_uneven_slices(reading):
    kept = np.r_[0:8, 8:24:2]
    volume, masks = reading.volume, reading.masks
    positions = volume.positions_mm[kept]
    uneven = replace(
        reading,
        volume=replace(volume, hu=volume.hu[kept], positions_mm=positions, intervals_mm=intervals_mm(positions)),
        masks=replace(masks, lungs=masks.lungs[kept], lesions=masks.lesions[kept]),
        key_slices=(),
    )
    even = replace(reading, key_slices=())
    tall, other = (coronal(r, lettered=False) for r in (even, uneven))
    assert abs(tall.shape[0] - other.shape[0]) < 0.04 * tall.shape[0]  # half an interval at the upper end
    assert np.abs(tall[-200:].astype(int) - other[-200:]).mean() < 12


def test_a_gap_between_slices_is_shown_as_one(reading):
    kept = np.r_[0:10, 16:24]
    volume, masks = reading.volume, reading.masks
    positions = volume.positions_mm[kept]
    gapped = replace(
        reading,
        volume=replace(volume, hu=volume.hu[kept], positions_mm=positions, intervals_mm=intervals_mm(positions)),
        masks=replace(masks, lungs=masks.lungs[kept], lesions=masks.lesions[kept]),
        key_slices=(),
    )
    blank = (coronal(gapped, lettered=False) == GAP_GREY).all(axis=(1, 2))
    mm_px = (volume.positions_mm[-1] + 10) / len(blank)
    assert blank.sum() * mm_px == pytest.approx(60, abs=3)  # 70 mm between two slices that stand for 5 mm each on that side
    assert not (coronal(reading, lettered=False) == GAP_GREY).all(axis=(1, 2)).any()


def test_coronal_shows_the_lesion_where_it_is(reading):
    picture = coronal(reading, lettered=False)
    rows, columns = np.nonzero(chroma(picture) > 80)
    assert columns.max() < picture.shape[1] / 2
    assert rows.mean() / picture.shape[0] == pytest.approx(2 / 3, abs=0.05)


def test_summary_sheet_bears_no_name(reading):
    sheet = summary_sheet(reading)
    assert sheet.shape == (1024, 1024, 3)
    assert sheet.dtype == np.uint8
    other = replace(reading, volume=replace(reading.volume, study=replace(reading.study, PatientName="홍^길동", PatientID="7")))
    np.testing.assert_array_equal(summary_sheet(other), sheet)


def test_summary_sheet_of_awkward_readings(reading):
    doubtful = replace(
        reading,
        scores=replace(reading.scores, probability=None, category=Category.CANNOT_SAY, reason="Reason after reason. " * 30),
        notices=tuple(Notice(code=f"n{k}", text="A notice that goes on and on. " * 12) for k in range(9)),
    )
    assert summary_sheet(doubtful).shape == (1024, 1024, 3)
    lungless = replace(
        reading,
        masks=replace(reading.masks, lungs=reading.masks.lungs * 0, lesions=reading.masks.lesions * 0),
        findings=tuple(replace(f, volume_ml=0.0, ground_glass_ml=0.0, consolidation_ml=0.0) for f in reading.findings),
        key_slices=(),
    )
    assert summary_sheet(lungless).shape == (1024, 1024, 3)


def test_thumbnail_is_small(reading):
    assert thumbnail(reading).shape[1] == 192
