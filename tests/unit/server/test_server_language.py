"""Languages, words of a reading in each, and who is taken for the same person."""

import json

import pytest

from pneumoscope.config import Role
from pneumoscope.filing.objects import Status
from pneumoscope.records import Category, Region
from pneumoscope.results.document import build_document
from pneumoscope.results.words import LIMITS, certainty, headline, meaning, percent
from pneumoscope.server.auditevents import _OUTCOMES, _TYPES
from pneumoscope.server.earlier import same_person
from pneumoscope.server.language import LANGUAGES, choose, current, vocabulary
from pneumoscope.server.listing import shown_state
from support import tiny_reading


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest):
    token = current.set(LANGUAGES[request.param])
    yield request.param
    current.reset(token)


@pytest.mark.parametrize(
    ("cookie", "accept", "tag"),
    [
        ("", "", "en"),
        ("", "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("", "zh-Hant-TW", "zh-Hans"),
        ("", "de;q=0.1, ko;q=0.2", "ko"),
        ("", "de;q=0", "en"),
        ("", "fr, *;q=0.1", "en"),
        ("de", "ko", "de"),
        ("../de", "ko", "ko"),
        ("", "de;q=nan, ;;;,,\x00", "en"),
        ("", "x," * 10_000 + "de", "en"),
    ],
)
def test_a_language_is_chosen(cookie: str, accept: str, tag: str) -> None:
    assert choose(cookie, accept).tag == tag


@pytest.mark.parametrize("lesions", [True, False])
def test_english_pages_say_what_the_results_say(lesions: bool) -> None:
    reading = tiny_reading(lesions=lesions)
    assert vocabulary.headline(json.loads(build_document(reading).content)) == headline(reading)
    assert {category: vocabulary.MEANINGS[category] for category in Category} == {each: meaning(each) for each in Category}
    assert vocabulary.LIMITS == LIMITS
    for share in (0.0, 0.0004, 0.001, 0.0994, 0.0996, 0.5, 1.0):
        assert vocabulary.percent(share) == percent(share)
    for score in (0.001, 0.01, 0.5, 0.999):
        assert vocabulary.certainty(score) == certainty(score)


def test_every_language_says_every_finding(language: str) -> None:
    document = json.loads(build_document(tiny_reading()).content)
    said = set()
    for category in Category:
        document["category"], document["reason"] = category, "Why not."
        said.add(vocabulary.headline(document))
    assert len(said) == len(Category)
    assert all("%(" not in sentence for sentence in said)
    assert set(vocabulary.REGIONS) == set(Region)


def test_every_role_action_and_status_has_a_word() -> None:
    assert set(vocabulary.ROLES) == set(Role)
    assert set(vocabulary.ACTIONS) >= set(_TYPES)
    assert set(vocabulary.ACTION_OUTCOMES) == set(_OUTCOMES)
    assert set(vocabulary.TAKINGS) == {*Status, "left out"}


def test_numbers_are_written_as_the_language_writes_them() -> None:
    token = current.set(LANGUAGES["de"])
    try:
        assert (vocabulary.percent(0.0532), vocabulary.percent(0.0002)) == ("5,3 %", "unter 0,1 %")
    finally:
        current.reset(token)


HONG = {
    "PatientName": "Hong^Gildong=洪^吉洞",
    "PatientBirthDate": "19600102",
    "StudyDate": "20200301",
    "involved_share": 0.1,
    "right_share": 0.1,
    "left_share": None,
}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"PatientName": "HONG^GILDONG"}, True),
        ({"PatientName": "洪吉洞"}, True),
        ({"PatientBirthDate": ""}, True),
        ({"PatientBirthDate": "19600103"}, False),
        ({"PatientName": "Hong^Other"}, False),
        ({"PatientName": ""}, False),
    ],
)
def test_the_same_person(changes: dict[str, str], same: bool) -> None:
    found = same_person(HONG, [HONG | changes], None)
    assert (len(found.studies), found.doubtful) == ((1, 0) if same else (0, 1))


def test_nobody_without_a_name_is_the_same() -> None:
    nobody = HONG | {"PatientName": "^"}
    assert same_person(nobody, [nobody], None).doubtful == 1


def test_the_plot_has_each_dated_study() -> None:
    others = [HONG | {"StudyDate": date} for date in ("20200201", "", "2020.01.01")] + [HONG | {"involved_share": None}]
    plot = same_person(HONG, others, HONG).plot
    assert plot.count('class="dot both"') == 3
    assert plot.count('class="dot left"') == 0
    assert "2020-01-01 10 %; 2020-02-01 10 %; 2020-03-01 10 %" in plot
    assert same_person(HONG, [], HONG).plot == ""


@pytest.mark.parametrize(
    ("state", "deliveries", "shown"),
    [
        ("read", [], "ready"),
        ("read", ["delivered", "confirmed"], "delivered"),
        ("read", ["delivered", "waiting"], "ready"),
        ("read", ["delivered", "stopped"], "not delivered"),
        ("reading", ["delivered"], "reading"),
        ("refused", [], "refused"),
    ],
)
def test_where_a_study_stands(state: str, deliveries: list[str], shown: str) -> None:
    assert shown_state(state, [{"state": each} for each in deliveries]) == shown
