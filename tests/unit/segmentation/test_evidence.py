"""What lesions look like: nothing but lesions inside the lungs speaks, and more of the same does not speak louder."""

import numpy as np
import pytest

from pneumoscope.segmentation.evidence import LEAST_LESION, Sums, densities, pattern, sum_up

SIDE, CELL = 4, 6


def scene(*, lesion: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lungs of 2 x 2 cells in the middle, a lesion in one of them."""
    lungs = np.zeros((1, SIDE * CELL, SIDE * CELL), dtype=bool)
    lungs[:, CELL : 3 * CELL, CELL : 3 * CELL] = True
    sick = np.zeros(lungs.shape, dtype=np.uint8)
    if lesion:
        sick[:, CELL : 2 * CELL, CELL : 2 * CELL] = 255
    return lungs, sick


def maps(*, at_lesion: float, elsewhere: float) -> np.ndarray:
    made = np.full((1, SIDE, SIDE), elsewhere, dtype=np.float32)
    made[:, 1, 1] = at_lesion
    return made


def test_what_lies_outside_the_lesions_is_not_heard() -> None:
    lungs, sick = scene(lesion=True)
    quiet, loud = (pattern(sum_up(lungs, sick, maps(at_lesion=0.5, elsewhere=value))) for value in (0.0, 1e6))
    assert quiet == pytest.approx(loud)


def test_a_lesion_outside_the_lungs_is_none() -> None:
    lungs, sick = scene(lesion=False)
    sick[:, 3 * CELL :] = 255
    sums = sum_up(lungs, sick, maps(at_lesion=1.0, elsewhere=1.0))
    assert sums.lesion == pytest.approx([0.0])
    assert pattern(sums) == pytest.approx([0.0])


def test_lesions_speak_by_their_mean() -> None:
    lungs, sick = scene(lesion=True)
    assert pattern(sum_up(lungs, sick, maps(at_lesion=2.0, elsewhere=0.0))) == pytest.approx([2.0 / (1 + 4 * LEAST_LESION)])


def test_hardly_any_lesion_says_hardly_anything() -> None:
    lungs, sick = scene(lesion=True)
    faint = pattern(sum_up(lungs, sick // 255, maps(at_lesion=2.0, elsewhere=0.0)))
    assert 0 < faint[0] < 0.2


def test_no_lung_says_nothing() -> None:
    nothing = np.zeros((1, SIDE * CELL, SIDE * CELL))
    sums = sum_up(nothing.astype(bool), nothing.astype(np.uint8), maps(at_lesion=3.0, elsewhere=3.0))
    assert pattern(sums) == pytest.approx([0.0])


def test_a_stretch_of_like_slices_says_what_one_says() -> None:
    one = sum_up(*scene(lesion=True), maps(at_lesion=0.7, elsewhere=0.0))
    many = Sums(*(np.repeat(part, 9) for part in one))
    assert pattern(many.over(np.full(9, 2.5))) == pytest.approx(pattern(one))


def test_densities_add_up_to_the_pattern() -> None:
    lungs, sick = scene(lesion=True)
    evidence = np.random.default_rng(3).standard_normal((1, SIDE, SIDE)).astype(np.float32)
    sums = sum_up(lungs, sick, evidence)
    density = densities(evidence, sums)[0].repeat(CELL, axis=0).repeat(CELL, axis=1)
    assert (density * sick[0] / 255).sum() / CELL**2 == pytest.approx(float(pattern(sums)[0]), rel=1e-5)
