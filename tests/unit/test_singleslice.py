"""Single slices as pictures: what is too faint to be put on a scale of density gets no score."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.models import load_bundle
from pneumoscope.phantom import training_slice
from pneumoscope.records import Category
from pneumoscope.segmentation import LungLesionNetwork
from pneumoscope.singleslice import SliceReading, read_picture


def chest() -> np.ndarray:
    """HU of a synthetic slice with much lung."""
    rng = np.random.default_rng(5)
    while True:
        hu, lungs, _ = training_slice(rng, size_px=256, pixel_spacing_mm=1.5)
        if lungs.mean() > 0.15:
            return hu


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory):
    bundle = load_bundle()
    network = LungLesionNetwork(bundle.onnx)
    file = tmp_path_factory.mktemp("pictures") / "slice.png"

    def read_with(levels: int) -> SliceReading:
        grey = np.clip((chest() + 1350) / 1500, 0, 1) * levels + 60
        Image.fromarray(grey.astype(np.uint8)).save(file)
        return read_picture(Path(file), bundle, network)

    return read_with


def test_a_picture_of_usual_contrast_gets_a_score(read) -> None:
    found = read(180)
    assert found.probability is not None
    assert found.category is not Category.CANNOT_SAY


def test_a_picture_of_hardly_any_contrast_gets_none(read) -> None:
    found = read(20)
    assert (found.probability, found.category) == (None, Category.CANNOT_SAY)
