"""Copies are recognised, other pictures are not."""

import io

import numpy as np
import pytest
from PIL import Image

from pneumoscope.evaluation.fingerprints import MAX_DIFFERENT_BITS, different_bits, duplicates, fingerprint, pack, seen, unpack
from pneumoscope.phantom import training_slice


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    hu = [training_slice(rng, size_px=256, pixel_spacing_mm=1.5)[0] for _ in range(12)]
    return [np.clip((h + 1350) / 1500 * 255, 0, 255).astype(np.uint8) for h in hu]


def again(grey: np.ndarray, change: str) -> np.ndarray:
    image = Image.fromarray(grey)
    if change == "jpeg":
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=50)
        return np.asarray(Image.open(stream))
    if change == "smaller":
        return np.asarray(image.resize((150, 150)))
    if change == "brighter":
        return np.clip(grey * 1.15 + 8, 0, 255).astype(np.uint8)
    return np.pad(grey, 40)


def bits(a: np.ndarray, b: np.ndarray) -> int:
    return int(different_bits(fingerprint(a)[None], fingerprint(b)[None])[0, 0])


@pytest.mark.parametrize("change", ["jpeg", "smaller", "brighter", "framed"])
def test_a_copy_is_recognised(pictures: list[np.ndarray], change: str) -> None:
    assert max(bits(grey, again(grey, change)) for grey in pictures) <= MAX_DIFFERENT_BITS


def test_other_pictures_are_not(pictures: list[np.ndarray]) -> None:
    prints = np.stack([fingerprint(grey) for grey in pictures])
    apart = different_bits(prints, prints)[np.triu_indices(len(prints), 1)]
    assert apart.min() > MAX_DIFFERENT_BITS
    assert not np.diag(different_bits(prints, prints)).any()


def test_cases_seen_before(pictures: list[np.ndarray]) -> None:
    prints = [fingerprint(grey)[None] for grey in pictures]
    known = unpack(pack([p[0] for p in prints[:6]]))
    none = np.empty((0, 32), dtype=np.uint8)
    study = np.concatenate(prints[:5])  # five slices, all known
    mostly_new = np.concatenate([prints[0], *prints[6:10]])
    found = seen([prints[2], prints[8], none, study, mostly_new], known)
    assert found.tolist() == [True, False, False, True, False]
    assert not seen([prints[0]], none).any()


def test_duplicates_within_a_list(pictures: list[np.ndarray]) -> None:
    a, b, c, d, *_ = (fingerprint(grey)[None] for grey in pictures)
    none = np.empty((0, 32), dtype=np.uint8)
    assert duplicates([none, a, b, none, a, np.concatenate([c, d]), a, np.concatenate([c, d])]) == [(1, 4), (1, 6), (5, 7)]
    assert duplicates([]) == []
