"""Figures against closed forms, other implementations and simulation."""

import numpy as np
import pytest
from scipy import stats

from pneumoscope.evaluation import metrics
from pneumoscope.evaluation.intervals import wilson
from pneumoscope.evaluation.metrics import Sample


def sample(n: int = 200, *, shift: float = 1.0, seed: int = 0, per_patient: int = 1) -> Sample:
    rng = np.random.default_rng(seed)
    patients = n // per_patient
    label = np.repeat(rng.integers(0, 2, patients), per_patient)
    logit = rng.normal(0, 1, n) + shift * label
    return Sample(
        score=np.round(1 / (1 + np.exp(-logit)), 2),
        label=label,
        patient=np.repeat([f"p{k}" for k in range(patients)], per_patient),
    )


def ones(s: Sample) -> metrics.Weights:
    return np.ones((1, len(s.label)))


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_mann_whitneys_u_with_ties_counted_half(seed: int) -> None:
    s = sample(seed=seed)
    u = stats.mannwhitneyu(s.score[s.label == 1], s.score[s.label == 0]).statistic
    n = s.label.sum()
    assert metrics.auc(s.score, s.label, ones(s))[0] == pytest.approx(u / (n * (len(s.label) - n)))


def test_a_weight_is_that_many_copies() -> None:
    s = sample(60)
    weights = np.random.default_rng(1).integers(0, 4, (1, 60)).astype(float)
    copies = np.repeat(np.arange(60), weights[0].astype(int))
    same = metrics.auc(s.score[copies], s.label[copies], np.ones((1, len(copies))))
    assert metrics.auc(s.score, s.label, weights) == pytest.approx(same)


def test_one_class_alone_has_no_auc_and_no_sensitivity() -> None:
    s = Sample(score=np.array([0.1, 0.9]), label=np.array([0, 0]), patient=np.array(["a", "b"]))
    assert metrics.discrimination(s) is None
    point = metrics.at_threshold(s, 0.5, (0.1,))
    assert point["sensitivity"] is None
    assert point["specificity"]["value"] == 0.5
    assert metrics.calibration(s)["slope"] is None


def test_operating_point_by_hand() -> None:
    s = Sample(
        score=np.array([0.9, 0.8, 0.4, 0.7, 0.2, 0.1]),
        label=np.array([1, 1, 1, 0, 0, 0]),
        patient=np.array(list("abcdef")),
    )
    point = metrics.at_threshold(s, 0.5, (0.1,))
    assert point["sensitivity"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert point["specificity"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert point["accuracy"]["value"] == pytest.approx(4 / 6, abs=1e-4)
    (row,) = point["predictive_values"]
    assert row["ppv"]["value"] == pytest.approx(0.1 * 2 / 3 / (0.1 * 2 / 3 + 0.9 / 3), abs=1e-4)
    assert row["npv"]["value"] == pytest.approx(0.9 * 2 / 3 / (0.9 * 2 / 3 + 0.1 / 3), abs=1e-4)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    truth = float(stats.norm.cdf(1 / np.sqrt(2)))
    held = []
    for seed in range(120):
        s = sample(seed=seed)
        low, high = np.percentile(metrics.auc(s.score, s.label, metrics.resampled(s.patient, resamples=300)), [2.5, 97.5])
        held.append(low <= truth <= high)
    assert np.mean(held) > 0.88  # 0.95 meant; over 120 draws at least 0.91, and the percentile bootstrap is a little narrow


def test_slices_of_one_patient_are_drawn_together() -> None:
    weights = metrics.resampled(np.array(["a", "a", "b", "c", "c", "c"]), resamples=50)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_many_slices_of_few_patients_give_a_wider_interval() -> None:
    few, many = sample(400, per_patient=20), sample(400, per_patient=1)

    def width(s: Sample) -> float:
        found = metrics.discrimination(s)
        assert found is not None
        return found["high"] - found["low"]

    correlated = Sample(score=np.repeat(few.score[::20], 20), label=few.label, patient=few.patient)
    assert width(correlated) > 2 * width(many)


def test_calibration_of_true_probabilities_is_perfect_and_of_overconfident_ones_is_not() -> None:
    rng = np.random.default_rng(3)
    p = rng.uniform(0.02, 0.98, 4000)
    s = Sample(score=p, label=(rng.random(4000) < p).astype(int), patient=np.arange(4000).astype(str))
    good = metrics.calibration(s)
    assert good["slope"]["low"] <= 1 <= good["slope"]["high"]
    assert good["intercept"]["low"] <= 0 <= good["intercept"]["high"]
    assert good["expected_calibration_error"]["value"] < 0.03
    logit = 3 * np.log(p / (1 - p))
    bad = metrics.calibration(Sample(score=1 / (1 + np.exp(-logit)), label=s.label, patient=s.patient))
    assert bad["slope"]["value"] == pytest.approx(1 / 3, abs=0.05)
    assert bad["expected_calibration_error"]["value"] > 0.08
    assert bad["brier"]["value"] > good["brier"]["value"]


def test_wilson_against_scipy() -> None:
    low, high = wilson(7, 20)
    other = stats.binomtest(7, 20).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((other.low, other.high), abs=1e-5)


def test_roc_goes_from_corner_to_corner_and_holds_the_auc() -> None:
    s = sample(500)
    curve = metrics.roc(s)
    assert curve["sensitivity"][-1] == 1
    area = np.trapezoid(curve["sensitivity"], curve["false_positive_rate"])
    assert area == pytest.approx(metrics.auc(s.score, s.label, ones(s))[0], abs=0.01)
    assert all(a <= b <= c for a, b, c in zip(curve["low"], curve["sensitivity"], curve["high"], strict=True))


def pair(seed: int, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.arange(160) % 2
    common = rng.normal(0, 1, 160)
    return common + rng.normal(0, 0.7, 160) + label, common + rng.normal(0, 0.7, 160) + label * (1 + gain), label


def test_delong_agrees_with_the_paired_bootstrap() -> None:
    a, b, label = pair(1, 0.5)
    found = metrics.delong(a, b, label)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(1500):
        k = np.r_[rng.choice(np.flatnonzero(label == 1), 80), rng.choice(np.flatnonzero(label == 0), 80)]
        w = np.ones((1, 160))
        drawn.append(metrics.auc(b[k], label[k], w)[0] - metrics.auc(a[k], label[k], w)[0])
    assert (found["high"] - found["low"]) / (2 * 1.96) == pytest.approx(np.std(drawn), rel=0.12)
    assert found["difference"] == pytest.approx(np.mean(drawn), abs=0.01)


def test_delong_calls_equal_models_different_as_rarely_as_it_says() -> None:
    p = [metrics.delong(*pair(seed, 0.0))["p"] for seed in range(300)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09
    assert np.mean(np.array([metrics.delong(*pair(seed, 0.8))["p"] for seed in range(60)]) < 0.05) > 0.6


def test_delong_of_a_model_with_itself() -> None:
    a, _, label = pair(0, 0.0)
    assert metrics.delong(a, a, label)["p"] == 1.0
