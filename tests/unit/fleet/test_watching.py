"""The watches: quiet where nothing changes, and quick where something does."""

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hiding import histogram

from pneumoscope.fleet.alarms import words
from pneumoscope.fleet.groups import GROUPS, groups_of
from pneumoscope.fleet.messages import EDGES, Agreement, Alarm, AlarmKind, Histogram, Limits, Mode, ModelWindow, Role, Window
from pneumoscope.fleet.unwinding import filled, guess
from pneumoscope.fleet.watching import Observed, watch, watch_windows

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
LIMITS = Limits()
MODEL = "lung-lesion 1.0.0"


def _rows(days, *, a_day=50, seed=0, first=0, **changed):
    """``changed``: functions of the generator, by field."""
    rng = np.random.default_rng(seed)
    rows = []
    for day in range(first, first + days):
        effect = rng.normal(0, 0.2)
        for _ in range(rng.poisson(a_day * (0.5 if day % 7 > 4 else 1.2))):
            p = float(rng.beta(6, 2) if rng.random() < 0.3 + 0.1 * effect else rng.beta(1.5, 9))
            truth = bool(rng.random() < p)
            made = {
                "at": BEGIN + timedelta(days=day, hours=float(rng.uniform(0, 24))),
                "probability": p,
                "category": "sign" if p > 0.5 else "no-sign",
                "wait_s": float(rng.lognormal(2.4, 0.5)),
                "features": {
                    "thickness_mm": float(rng.choice([1.0, 5.0], p=[0.8, 0.2])),
                    "age_years": float(rng.uniform(18, 90)),
                    "sex": str(rng.choice(["f", "m"])),
                    "manufacturer": str(rng.choice(["ge", "siemens"])),
                },
                "answer": ("sign" if truth else "no-sign") if rng.random() < 0.4 else "",
            }
            if rng.random() < 0.05:
                made |= {
                    "outcome": str(rng.choice(["failed", "refused"])),
                    "code": "no-lung",
                    "probability": None,
                    "answer": "",
                }
            rows.append(Observed(**made | {key: make(rng, made) for key, make in changed.items()}))
    return rows


@pytest.fixture(scope="module")
def quiet():
    return _rows(20)


def _kinds(found):
    return {alarm.kind for alarm in found.alarms}


@pytest.mark.parametrize("a_day", [5, 50])
def test_a_quiet_site_is_quiet(a_day):
    found = watch(_rows(240, a_day=a_day), LIMITS)
    assert found.alarms == () and sum(number for *_, number in found.episodes) == 0
    assert not any(young.kind is AlarmKind.SCORE_DRIFT for young in found.young)


@pytest.mark.parametrize("way", [1, -1])
def test_scores_that_shift_by_their_deviation_are_found_in_three_days(quiet, way):
    sd = float(np.std([row.probability for row in quiet if row.probability is not None]))

    def moved(rng, made):
        return None if made["probability"] is None else float(np.clip(made["probability"] + way * sd, 0, 1))

    [alarm] = [
        a for a in watch([*quiet, *_rows(3, first=20, seed=1, probability=moved)], LIMITS).alarms if a.subject == "score"
    ]
    assert abs((alarm.since - (BEGIN + timedelta(days=20))).days) <= 1
    assert np.sign(alarm.value) == way and abs(alarm.value) > alarm.limit
    assert "Scores have shifted" in words(alarm)


def _skewed_site(seed, *, days=14, after=3):
    """Scores with a long tail, whose days differ, and that all rise by their deviation when the baseline is just full."""

    def score(rng, made, shift=0.0):
        if made["probability"] is None:
            return None
        day = (made["at"] - BEGIN).days
        effect = np.random.default_rng((seed, day)).normal(0, 0.25) + (0.3 if day % 7 > 4 else 0)
        return float(np.clip(1 / (1 + np.exp(3 - rng.gamma(2.0, 0.8) - effect)) + shift, 0, 1))

    before = _rows(days, seed=seed, probability=score)
    sd = float(np.std([row.probability for row in before if row.probability is not None]))
    return before, _rows(after, first=days, seed=seed + 1000, probability=lambda rng, made: score(rng, made, sd))


def test_nine_in_ten_sites_with_skewed_scores_find_a_shift_in_three_days():
    found = [
        AlarmKind.SCORE_DRIFT in _kinds(watch([*before, *after], LIMITS)) for before, after in map(_skewed_site, range(20))
    ]
    assert sum(found) >= 18


def test_a_model_that_says_the_same_of_everybody_is_found(quiet):
    found = watch([*quiet, *_rows(3, first=20, seed=1, probability=lambda *_: 0.2)], LIMITS)
    assert AlarmKind.SCORE_DRIFT in _kinds(found)


CHANGES = {
    "thicker slices": (
        AlarmKind.INPUT_DRIFT,
        "thickness_mm",
        {"features": lambda rng, made: made["features"] | {"thickness_mm": 5.0}},
    ),
    "a new scanner": (
        AlarmKind.INPUT_DRIFT,
        "manufacturer:canon",
        {"features": lambda rng, made: made["features"] | {"manufacturer": "canon"}},
    ),
    "an unknown maker": (
        AlarmKind.INPUT_DRIFT,
        "manufacturer:other",
        {"features": lambda rng, made: made["features"] | {"manufacturer": "acme"}},
    ),
    "failures": (AlarmKind.FAILURES, "", {"outcome": lambda rng, made: "failed" if rng.random() < 0.4 else "read"}),
    "a code of refusal": (
        AlarmKind.REFUSALS,
        "not-axial",
        {"outcome": lambda rng, made: "refused", "code": lambda rng, made: "not-axial" if rng.random() < 0.4 else "no-lung"},
    ),
    "disagreement": (AlarmKind.AGREEMENT, "", {"agreed": lambda rng, made: bool(rng.random() < 0.4)}),
    "lateness": (AlarmKind.LATE, "", {"wait_s": lambda rng, made: float(rng.lognormal(3.7, 0.5))}),
    "calibration": (AlarmKind.CALIBRATION, "", {"answer": lambda rng, made: "sign" if rng.random() < 0.8 else "no-sign"}),
    "one sex": (
        AlarmKind.SUBGROUP,
        "sex:f.sign",
        {"category": lambda rng, made: "sign" if made["features"]["sex"] == "f" else made["category"]},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_watch_finds_what_it_is_for(quiet, name):
    kind, subject, changed = CHANGES[name]
    found = watch([*quiet, *_rows(8, first=20, seed=1, **changed)], LIMITS)
    [alarm] = [alarm for alarm in found.alarms if (alarm.kind, alarm.subject) == (kind, subject)]
    assert alarm.since >= BEGIN + timedelta(days=18)
    assert words(alarm).endswith(".")


def test_the_order_of_readings_does_not_matter(quiet):
    rows = [*quiet, *_rows(3, first=20, seed=1, probability=lambda *_: 0.9)]
    shuffled = random.Random(3).sample(rows, len(rows))
    assert watch(rows, LIMITS) == watch(shuffled, LIMITS)


def test_a_young_baseline_says_so_and_raises_nothing_about_scores(quiet):
    rows = [row for row in quiet if row.at < BEGIN + timedelta(days=3)]
    found = watch(rows, LIMITS)
    [score] = [young for young in found.young if young.subject == "score"]
    assert 0 < score.have < score.need and AlarmKind.SCORE_DRIFT not in _kinds(found)


def test_failures_need_no_baseline():
    found = watch(_rows(2, outcome=lambda *_: "failed"), LIMITS)
    assert AlarmKind.FAILURES in _kinds(found)


def test_what_has_passed_ends(quiet):
    bad = _rows(2, first=20, seed=1, outcome=lambda *_: "failed")
    assert AlarmKind.FAILURES in _kinds(watch([*quiet, *bad], LIMITS))
    found = watch([*quiet, *bad, *_rows(8, first=22, seed=2)], LIMITS)
    assert AlarmKind.FAILURES not in _kinds(found) and (AlarmKind.FAILURES, "", 1) in found.episodes


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_scores_that_are_all_equal_are_no_fault(probability):
    found = watch(_rows(30, a_day=20, probability=lambda *_: probability), LIMITS)
    assert AlarmKind.SCORE_DRIFT not in _kinds(found)


def test_nothing_at_all():
    assert watch([], LIMITS).alarms == () and watch_windows([], LIMITS, model=MODEL).alarms == ()


def _window(day, scores, *, agreed=None, answers=0):
    start = BEGIN + timedelta(days=day)
    entry = ModelWindow(
        model=MODEL,
        device_uid="2.25.1",
        role=Role.PRESENT,
        mode=Mode.LIVE,
        read=len(scores),
        score=histogram("score", scores),
        involved_percent=Histogram(bins=()),
        reading_s=Histogram(bins=()),
        agreement=Agreement(answers=answers, agreed=agreed),
    )
    waits = histogram("wait_s", [12.0] * len(scores))
    return Window(start=start, end=start + timedelta(days=1), studies=len(scores), wait_s=waits, models=(entry,))


def _windows(days, *, first=0, seed=0, a_day=40, shift=0.0):
    rng = np.random.default_rng(seed)
    return [
        _window(first + day, np.clip(rng.beta(2, 4, size=rng.poisson(a_day)) + shift, 0, 1).tolist(), answers=20, agreed=17)
        for day in range(days)
    ]


@pytest.mark.parametrize("a_day", [8, 40])
def test_the_hub_is_quiet_over_hidden_counts(a_day):
    found = watch_windows(_windows(240, a_day=a_day), LIMITS, model=MODEL)
    assert found.alarms == ()


def test_the_hub_finds_a_shift_in_windows_in_any_order():
    windows = [*_windows(20), *_windows(4, first=20, seed=1, shift=0.2)]
    found = watch_windows(windows[::-1], LIMITS, model=MODEL)
    assert "score" in {alarm.subject for alarm in found.alarms}
    assert watch_windows(windows, LIMITS, model="other 1.0.0").alarms == ()


def test_a_hidden_count_is_at_least_one_and_as_expected_else():
    for expected in ([0.5, 0.3, 0.2], [0.0, 0.0, 1.0]):
        row = filled((None, 12, None), np.array(expected))
        assert row[1] == 12 and (row[[0, 2]] >= 1).all()
    assert filled((None, 12, None), np.array([0.5, 0.3, 0.2])).tolist() == [20, 12, 8]
    assert filled((None, 12, None), np.full(3, 1 / 3), 17).tolist() == [2.5, 12, 2.5]
    # A second cell may be hidden for the sake of the first, and be larger.
    assert filled((None, 12, None), np.array([0.1, 0.5, 0.4]), 24).sum() == pytest.approx(24)
    assert (guess(7, likely=2), guess(None, likely=9), guess(None, likely=0.2)) == (7, 9, 1)


def test_a_single_failure_that_is_hidden_is_no_alarm():
    """Its reading's number is hidden with it."""
    windows = []
    for window in _windows(60, a_day=40):
        [entry] = window.models
        hidden = entry.model_copy(update={"read": None, "failed": {"model-failed": None}})
        windows.append(window.model_copy(update={"models": (hidden,)}))
    assert watch_windows(windows, LIMITS, model=MODEL).alarms == ()


@pytest.mark.parametrize("kind", AlarmKind)
def test_each_kind_of_alarm_has_words(kind):
    sentence = words(Alarm(kind=kind, since=BEGIN, value=1.1, limit=0.2))
    assert sentence[0].isupper() and sentence.endswith(".")


def test_words_of_a_shift():
    alarm = Alarm(kind=AlarmKind.SCORE_DRIFT, subject="score", since=datetime(2026, 3, 3, tzinfo=UTC), value=1.1)
    assert words(alarm) == (
        "Scores have shifted upwards by about 1.1 standard deviations since 3 March: look at what changed at the scanner."
    )


def test_groups_are_named_as_they_may_be_sent():
    for age in (0, 20, 59, 80, 110):
        assert groups_of({"age_years": age, "sex": "f"})[1] in GROUPS
    assert groups_of({"sex": "f", "age_years": 64.0}) == ("sex:f", "age:60-70")
    assert groups_of({"sex": "other"}) == ()
    assert len(GROUPS) == 2 + len(EDGES["age_years"]) + 1
    for group in GROUPS:
        Alarm(kind=AlarmKind.SUBGROUP, subject=f"{group}.disagreement", since=BEGIN)
