"""What is told of a reading's input: makers and kernels by the words that they use, and numbers where they are known."""

import dataclasses

import pytest

from pneumoscope.fleet.messages import EDGES, WORDS
from pneumoscope.worker.features import features, kernel, manufacturer
from support import tiny_reading


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ("GE MEDICAL SYSTEMS", "ge"),
        ("Siemens Healthineers", "siemens"),
        ("TOSHIBA", "canon"),
        ("UIH", "united-imaging"),
        ("SinoVision", "other"),
        ("  ", "unknown"),
    ],
)
def test_makers(told: str, word: str) -> None:
    assert manufacturer(told) == word


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ("B30f", "smooth"),
        ("Br40d\\3", "standard"),
        ("['Bl57d', '3']", "sharp"),
        ("I70f", "sharp"),
        ("FC08", "smooth"),
        ("FC18", "standard"),
        ("FC51", "sharp"),
        ("STANDARD", "standard"),
        ("LUNG", "sharp"),
        ("SOFT", "smooth"),
        ("B", "standard"),
        ("YC", "sharp"),
        ("B_SOFT_B", "smooth"),
        ("B_SHARP_C", "sharp"),
        ("qwerty", "other"),
        ("", "unknown"),
    ],
)
def test_kernels(told: str, word: str) -> None:
    assert kernel(told) == word


def test_a_volume_without_dicom_tells_what_it_can() -> None:
    found = features(tiny_reading(with_dicom=False))
    assert (found["manufacturer"], found["kernel"], found["sex"]) == ("unknown", "unknown", "other")
    assert found["age_years"] == 60
    assert found["thickness_mm"] == 10
    assert "dose_mas" not in found
    assert found.keys() <= {*EDGES, *WORDS}


def test_an_age_that_is_not_told_follows_from_the_dates() -> None:
    reading = tiny_reading()
    study = dataclasses.replace(reading.study, PatientAge="", PatientSex="F")
    found = features(dataclasses.replace(reading, volume=dataclasses.replace(reading.volume, study=study)))
    assert found["age_years"] == pytest.approx(60.16, abs=0.02)
    assert found["sex"] == "f"
