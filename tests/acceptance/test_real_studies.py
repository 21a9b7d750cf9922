"""Real studies whose slices radiologists have labelled."""

import csv
from functools import lru_cache

import numpy as np
import pytest

from pneumoscope.findings import slice_share
from pneumoscope.models import load_bundle
from pneumoscope.pipeline import read_path
from pneumoscope.records import Category, Reading, Region
from real_data import DATA, needs_real_data

pytestmark = needs_real_data


@lru_cache
def reading_of(name: str) -> Reading:
    return read_path(DATA / "volumes" / name, load_bundle())


@pytest.mark.parametrize("name", ["covid_p001", "cap_001", "normal_001"])
def test_it_is_read_without_doubt_and_with_plausible_lungs(name: str) -> None:
    reading = reading_of(name)
    assert reading.notices == ()
    assert reading.scores.probability is not None
    for side in (Region.RIGHT_LUNG, Region.LEFT_LUNG):
        assert 1000 < reading.finding(side).volume_ml < 4500
        assert -900 < reading.finding(side).mean_hu < -700
    assert 0.9 < reading.finding(Region.RIGHT_LUNG).volume_ml / reading.finding(Region.LEFT_LUNG).volume_ml < 1.6


@pytest.mark.parametrize("name", ["covid_p001", "cap_001"])
def test_lesions_lie_in_the_slices_that_radiologists_marked(name: str) -> None:
    reading = reading_of(name)
    with (DATA / "volumes" / "slice_labels.csv").open(newline="") as file:
        infected = {row["sop_instance_uid"]: row["infected"] == "1" for row in csv.DictReader(file)}
    truth = np.array([infected[instance.SOPInstanceUID] for instance in reading.volume.instances])
    share = slice_share(reading.masks)
    sick, clean = share[truth][:, None], share[~truth]
    assert np.mean((sick > clean) + 0.5 * (sick == clean)) >= 0.85
    assert reading.finding(Region.LUNGS).share > 0.01


def test_a_healthy_lung_stays_clean() -> None:
    reading = reading_of("normal_001")
    assert reading.finding(Region.LUNGS).share < 0.01
    assert reading.scores.category is Category.NO_SIGN
