"""Languages, words of a reading in each, and who is taken for the same person."""

import re
from dataclasses import replace

import pytest

from pneumoscope.config import Role
from pneumoscope.filing.objects import Status
from pneumoscope.records import Category, Region
from pneumoscope.results.words import LIMITS, REGION_WORDS, certainty, headline, meaning, percent
from pneumoscope.server.auditevents import _OUTCOMES, _TYPES
from pneumoscope.server.earlier import same_person
from pneumoscope.server.language import LANGUAGES, choose, sentences, speaking, vocabulary
from pneumoscope.server.listing import shown_state
from support import tiny_reading


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest):
    with speaking(LANGUAGES[request.param]):
        yield request.param


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
    said = headline(tiny_reading(lesions=lesions))
    assert sentences.known(said) == said
    assert REGION_WORDS == vocabulary.REGIONS
    assert {category: vocabulary.MEANINGS[category] for category in Category} == {each: meaning(each) for each in Category}
    assert vocabulary.LIMITS == LIMITS
    for share in (0.0, 0.0004, 0.001, 0.0994, 0.0996, 0.5, 1.0):
        assert vocabulary.percent(share) == percent(share)
    for score in (0.001, 0.01, 0.5, 0.999):
        assert vocabulary.certainty(score) == certainty(score)


@pytest.mark.parametrize("lesions", [True, False])
def test_every_language_says_every_finding(language: str, lesions: bool) -> None:
    reading = tiny_reading(lesions=lesions)
    told = [headline(replace(reading, scores=replace(reading.scores, category=each, reason=DOUBTS))) for each in Category]
    said = [sentences.known(sentence) for sentence in told]
    assert None not in said
    if language == "en":
        assert said == told
    else:
        assert len(set(said)) == len(Category)
        assert not [sentence for sentence in said if "%(" in sentence or re.search("[a-z]{3,} (the|of|is|was) ", sentence)]
    assert set(vocabulary.REGIONS) == set(Region)


DOUBTS = (
    "12000 ml of lung were found; lungs hold at most 10000 ml. "
    "The network is unsure (0.63; 0.85 is needed): the images are unlike its training images."
)
REFUSED = "None of 3 series can be read; the nearest has slices 12.5 mm apart or thick; at most 10 mm is read."
CUT = "The lungs are not wholly in the scan (cut: bases, sides); volumes and shares are of what is there."


@pytest.mark.parametrize(
    ("kept", "tag", "said"),
    [
        (REFUSED, "en", REFUSED),
        (
            REFUSED,
            "de",
            "Keine von 3 Serien kann befundet werden; die nächstliegende hat Schichten, die 12,5 mm auseinander oder dick "
            "sind; befundet werden höchstens 10 mm.",
        ),
        (REFUSED, "zh-Hans", "3 个序列均无法判读；最接近可判读的序列：层间距或层厚为 12.5 mm；最多可判读 10 mm。"),
        (
            CUT,
            "ko",
            "폐 전체가 촬영되지 않았습니다(잘린 부분: 폐저부, 측면). 용적과 비율은 촬영된 부분에 대한 것입니다.",
        ),
        (
            f"Cannot say. {DOUBTS}",
            "de",
            "Keine Aussage. Gefunden wurden 12.000 ml Lunge; Lungen fassen höchstens 10.000 ml. "
            "Das Netz ist unsicher (0,63; nötig ist 0,85): Die Bilder gleichen nicht denen seines Trainings.",
        ),
        ("has thicker slices than the one chosen", "de", "verglichen mit der gewählten: hat dickere Schichten"),
        ("has modality <b>; CT is read", "de", "hat die Modalität &lt;b&gt;; befundet wird CT"),
        ("", "de", ""),
        ("A sentence of <old>.", "de", '<span lang="en">A sentence of &lt;old&gt;.</span>'),
        ("Cannot say. A sentence of old.", "de", '<span lang="en">Cannot say. A sentence of old.</span>'),
        (
            "30 % of what looks like lung is plain air; at most 15% is known.",
            "de",
            "30 % von dem, was wie Lunge aussieht, ist reine Luft; bekannt sind höchstens 15 %.",
        ),
    ],
)
def test_a_kept_sentence_is_said_in_the_language_of_the_page(kept: str, tag: str, said: str) -> None:
    with speaking(LANGUAGES[tag]):
        assert sentences.said(kept) == said


STORED = "2 of 5 objects were stored; the peer answered 0x0122 (SOP class not supported) to 1, 0xA700 (out of resources) to 2"


@pytest.mark.parametrize(
    ("kept", "tag", "said"),
    [
        (
            "The peer cannot be reached: Connection refused.",
            "de",
            "Die Gegenstelle ist nicht erreichbar: Verbindung abgelehnt.",
        ),
        (
            "The peer rejected the association: it does not know our AE title, 1234 (source 1, reason 3).",
            "de",
            "Die Gegenstelle lehnte die Assoziation ab: Sie kennt unseren AE-Titel 1234 nicht (Quelle 1, Grund 3).",
        ),
        (
            f"{STORED}: Segmentation Storage.",
            "de",
            "2 von 5 Objekten wurden gespeichert; die Gegenstelle antwortete 0x0122 (SOP-Klasse nicht unterstützt) auf 1, "
            "0xA700 (keine Kapazität mehr) auf 2: Segmentation Storage.",
        ),
        (
            f"{STORED}.",
            "ko",
            "객체 5개 중 2개가 저장되었습니다. 상대 시스템의 응답: "
            "1개에 0x0122(지원하지 않는 SOP 클래스), 2개에 0xA700(자원 부족).",
        ),
        (
            "The peer answered with HTTP status 202 (it does not say which objects it stored).",
            "zh-Hans",
            "对方以 HTTP 状态 202（未说明存储了哪些对象）应答。",
        ),
        (
            "The peer answered AE with error 207 of HL7 table 0357.",
            "ko",
            "상대 시스템이 AE, HL7 표 0357의 오류 207(으)로 응답했습니다.",
        ),
        (
            "The folder cannot be read: Stale file handle.",
            "de",
            "Der Ordner kann nicht gelesen werden: Freigabe nicht mehr gültig.",
        ),
        (
            "The acknowledgement is longer than 65536 bytes.",
            "de",
            "Die Quittung ist länger als 65.536 Byte.",
        ),
    ],
)
def test_what_became_of_a_delivery_is_said_in_the_language_of_the_page(kept: str, tag: str, said: str) -> None:
    with speaking(LANGUAGES[tag]):
        assert sentences.said(kept) == said


def test_every_role_action_and_status_has_a_word() -> None:
    assert set(vocabulary.ROLES) == set(Role)
    assert set(vocabulary.ACTIONS) >= set(_TYPES)
    assert set(vocabulary.ACTION_OUTCOMES) == set(_OUTCOMES)
    assert set(vocabulary.TAKINGS) == {*Status, "left out"}


def test_numbers_are_written_as_the_language_writes_them() -> None:
    with speaking(LANGUAGES["de"]):
        assert (vocabulary.percent(0.0532), vocabulary.percent(0.0002)) == ("5,3 %", "unter 0,1 %")


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
