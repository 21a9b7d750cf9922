from dataclasses import replace
from datetime import date

import pytest

from pneumoscope.records import Category, Region
from pneumoscope.results.words import certainty, headline, meaning, parse_date, percent
from support import tiny_reading


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0.0 %"), (0.0004, "under 0.1 %"), (0.0123, "1.2 %"), (0.0996, "10 %"), (0.12, "12 %"), (1.0, "100 %")],
)
def test_percent_has_no_false_precision(share, words):
    assert percent(share) == words


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("20200301", date(2020, 3, 1)),
        ("2020.03.01", date(2020, 3, 1)),
        ("20201399", None),
        ("٢٠٢٠٠٣٠١", None),
        ("20200301-20200302", None),
        ("", None),
    ],
)
def test_only_a_date_is_a_date(text, day):
    assert parse_date(text) == day


def test_headline_names_extent_place_and_kind():
    assert headline(tiny_reading()).startswith("Sign of pneumonia of the COVID-19 pattern: ")
    assert headline(tiny_reading()).endswith("most in the right middle zone, mostly ground-glass.")


def test_headline_without_lesion():
    reading = tiny_reading(lesions=False)
    assert headline(reading) == "No sign of pneumonia of the COVID-19 pattern: no lesion was found in the lungs."


def test_a_trace_of_lesion_is_not_called_none():
    reading = tiny_reading(lesions=False)
    trace = tuple(replace(f, ground_glass_ml=0.2) if f.region is Region.LUNGS else f for f in reading.findings)
    assert "hardly any lesion" in headline(replace(reading, findings=trace))


def test_cannot_say_gives_the_reason_and_no_share():
    reading = tiny_reading()
    scores = replace(reading.scores, probability=None, category=Category.CANNOT_SAY, reason="The lungs are cut off.")
    assert headline(replace(reading, scores=scores)) == "Cannot say. The lungs are cut off."


@pytest.mark.parametrize("category", Category)
def test_every_category_has_a_meaning(category):
    assert meaning(category).endswith(".")


@pytest.mark.parametrize(
    ("score", "words"),
    [(0.0, "under 0.01"), (0.0096, "under 0.01"), (0.01, "0.01"), (0.5, "0.50"), (0.99, "0.99"), (0.9969, "over 0.99")],
)
def test_no_score_is_shown_as_certain(score, words):
    assert certainty(score) == words
