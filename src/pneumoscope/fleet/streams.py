"""What is watched, each against the policy's limit or the site's own baseline, as evidence batch by batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from pneumoscope.fleet.days import KINDS_OF_WORDS, NUMBERS, Day, Share, Values
from pneumoscope.fleet.evidence import Floats, of_means, of_shares
from pneumoscope.fleet.groups import GROUPS
from pneumoscope.fleet.messages import WORDS, AlarmKind, Limits

#: A baseline holds so many readings from so many batches (days) at least.
BASELINE_READINGS, BASELINE_DAYS = 200, 10
#: Days of one site differ by its mix of cases: by so many standard deviations of a reading where nothing else is known,
#: which counts as much as so many days.
_DAY_SPREAD, _DAYS_KNOWN = 0.25, 7
#: The spread between days is learned up to so many days ago, so that a change does not hide itself by widening it.
_LAG = 7
#: Changes smaller than so many standard deviations are nobody's alarm.
_TOLERATED = 0.1
_SHIFTS = (0.5, 1.0)
#: How alike readings of one day are: shares against the policy's limits, and late ones, which come in a queue.
_ALIKE, _ALIKE_LATE, _ALIKE_WORDS = 0.02, 0.05, 0.05
_REST_DAYS = 28


@dataclass(frozen=True)
class Stream:
    """Evidence of one watch. ``describe``: (value, limit) of the batches from an index on."""

    kind: AlarmKind
    subject: str
    log_ratios: Floats  # alternatives x batches; zero during the baseline
    describe: Callable[[int], tuple[float, float]]
    have: float = 0.0  # readings of the baseline
    need: float = 0.0  # and how many it takes; above ``have``: young, no alarm
    weight: int = 1  # its part of the budget of its kind, beside the others'

    @property
    def young(self) -> bool:
        """Whether the baseline does not suffice yet."""
        return self.have < self.need


def _baseline(counts: Floats, *, readings: int = BASELINE_READINGS) -> tuple[int, float, float]:
    """(Number of batches or 0, readings that it has, readings that it needs)."""
    total, days = np.cumsum(counts), np.cumsum(counts > 0)
    ready = np.flatnonzero((total >= readings) & (days >= BASELINE_DAYS))
    if len(ready):
        return int(ready[0]) + 1, float(total[ready[0]]), 0.0
    have = float(total[-1]) if len(total) else 0.0
    return 0, have, max(float(readings), have + 1)


def _young(kind: AlarmKind, subject: str, have: float, need: float) -> Stream:
    return Stream(kind, subject, np.zeros((1, 0)), lambda _: (0.0, 0.0), have, need)


class _Ranks:
    """Normal scores of ranks within a baseline; ties share their middle rank; mean 0 and variance 1 over the baseline."""

    def __init__(self, days: Sequence[Values]) -> None:
        values = np.concatenate([day.values for day in days])
        weights = np.concatenate([day.weights for day in days])
        self.values, where = np.unique(values, return_inverse=True)
        self.counts = np.bincount(where, weights=weights)
        self.below = np.concatenate([[0.0], np.cumsum(self.counts)])
        self.total = self.below[-1]
        scores = self._raw(self.values)
        self.mean = float(np.average(scores, weights=self.counts))
        #: Where nearly all are equal, one that differs is not taken for many deviations.
        self.sd = max(0.3, float(np.sqrt(np.average((scores - self.mean) ** 2, weights=self.counts))))

    def _raw(self, values: Floats) -> Floats:
        left = np.searchsorted(self.values, values, side="left")
        right = np.searchsorted(self.values, values, side="right")
        middle = (self.below[left] + self.below[right]) / 2
        return norm.ppf((middle + 0.5) / (self.total + 1))

    def scores(self, values: Floats) -> Floats:
        """Standardised."""
        return (self._raw(values) - self.mean) / self.sd


def _day_spread(means: Floats, n: Floats, until: int) -> Floats:
    """For each batch the standard deviation between days, by differences of successive days.

    Those of the baseline (``until``) are taken, and after it those up to ``_LAG`` days before.
    """
    known, weight, before = _DAYS_KNOWN * _DAY_SPREAD**2, float(_DAYS_KNOWN), -1
    sums, weights = np.zeros(len(n)), np.zeros(len(n))
    for batch in range(len(n)):
        if n[batch] > 0:
            if before >= 0:
                share = 1 / (1 + 2 / n[batch] + 2 / n[before])  # a day of few readings says little
                known += share * ((means[batch] - means[before]) ** 2 - 1 / n[batch] - 1 / n[before]) / 2
                weight += share
            before = batch
        sums[batch], weights[batch] = known, weight
    spread = np.sqrt(np.maximum(sums / weights, _DAY_SPREAD**2 / 4))
    return spread[np.maximum(np.arange(len(n)) - _LAG, min(until, len(n)) - 1)]


def _apart(scores: Floats, weights: Floats) -> Floats:
    """How far each lies from the mean of its day, whose own place is watched elsewhere."""
    n = weights.sum()
    if n < 2:
        return np.zeros_like(scores)
    return np.minimum(np.abs(scores - np.average(scores, weights=weights)) * np.sqrt(n / (n - 1)), 3.0)


def _shift(
    kind: AlarmKind, subject: str, days: Sequence[Values], transform: Callable[[Floats, Floats], Floats] | None = None
) -> Stream:
    """A shift of values from their own baseline; ``transform``: of the normal scores of a day and their weights."""
    n = np.array([day.weights.sum() for day in days])
    until, have, need = _baseline(n)
    if not until:
        return _young(kind, subject, have, need)
    ranks = _Ranks(days[:until])
    scores = [ranks.scores(day.values) for day in days]
    if transform:
        scores = [transform(score, day.weights) for score, day in zip(scores, days, strict=True)]
    means = np.array(
        [float(score @ day.weights) / max(day.weights.sum(), 1e-9) for score, day in zip(scores, days, strict=True)]
    )
    centre = float(means[:until] @ n[:until]) / n[:until].sum()
    squares = sum(float((score - centre) ** 2 @ day.weights) for score, day in zip(scores[:until], days[:until], strict=True))
    means = (means - centre) / max(0.3, float(np.sqrt(squares / n[:until].sum())))
    spread = _day_spread(means, n, until)
    #: The baseline itself is known so well only.
    of_days = (n[:until] ** 2).sum() / n[:until].sum() ** 2
    error = float(np.sqrt(1 / n[:until].sum() + spread[until - 1] ** 2 * of_days))
    tolerated = max(_TOLERATED, error)
    ratios = of_means(means, n, spread=spread, tolerated=tolerated, shifts=_SHIFTS)
    ratios[:, :until] = 0

    def describe(since: int) -> tuple[float, float]:
        return float(means[since:] @ n[since:] / max(n[since:].sum(), 1e-9)), tolerated

    return Stream(kind, subject, ratios, describe, have, need)


def _against(kind: AlarmKind, subject: str, shares: Sequence[Share], most: float, alike: float) -> Stream:
    """A share against the policy's limit, from the first reading on."""
    hits, n = np.array([share.hits for share in shares]), np.array([share.n for share in shares])
    others = (most + (1 - most) * part for part in (0.15, 0.35, 0.8))
    ratios = np.array([of_shares(hits, n, most=most, other=other, alike=alike) for other in others])
    return Stream(kind, subject, ratios, lambda since: (_part(hits, n, since), most), float(n.sum()))


def _part(hits: Floats, n: Floats, since: int) -> float:
    return float(hits[since:].sum() / max(n[since:].sum(), 1e-9))


def _alike(hits: Floats, n: Floats) -> float:
    """Correlation of readings of one day beyond chance, from a baseline; never taken for less than ``_ALIKE_WORDS``."""
    share = (hits.sum() + 0.5) / (n.sum() + 1)
    told = n > 1
    excess = (hits[told] / n[told] - share) ** 2 / (share * (1 - share)) - 1 / n[told]
    return float(np.clip(np.average(excess, weights=n[told]) * 1.5, _ALIKE_WORDS, 0.9)) if told.any() else _ALIKE_WORDS


def _more_often(kind: AlarmKind, subject: str, hits: Floats, n: Floats, until: int) -> Stream:
    """A share that has risen above its own baseline, whose error is granted."""
    alike = _alike(hits[:until], n[:until])
    total = n[:until].sum()
    effective = max(1.0, total**2 / ((n[:until] ** 2).sum() * alike + total * (1 - alike)))
    share = (hits[:until].sum() + 0.5) / (total + 1)
    most = float(min(1.0, share + 1.5 * np.sqrt(share * (1 - share) / effective) + 0.02))
    ratios = np.array([of_shares(hits, n, most=most, other=most + (1 - most) * part, alike=alike) for part in (0.15, 0.4, 0.8)])
    ratios[:, : len(n) if most > 0.95 else until] = 0  # what nearly all have cannot become more frequent
    return Stream(kind, subject, ratios, lambda since: (_part(hits, n, since), most), float(total))


def _mix(kind: AlarmKind, prefix: str, days: Sequence[dict[str, float]], totals: Floats, names: Sequence[str]) -> list[Stream]:
    """Shares of words against their baseline; those not in ``names`` count together as "other"."""
    until, have, need = _baseline(totals)
    if not until:
        return [_young(kind, prefix, have, need)]
    rest = {word for day in days for word in day} - set(names)
    streams = []
    for name in (*names, "other"):
        words = (rest | {"other"}) if name == "other" else {name}
        hits = np.array([sum(day.get(word, 0.0) for word in words) for day in days])
        streams.append(_more_often(kind, f"{prefix}:{name}" if prefix else name, hits, totals, until))
    return streams


def scores(days: Sequence[Day]) -> list[Stream]:
    """Where scores lie, which gets most of the budget as most faults show there, and how far apart."""
    values = [day.numbers["score"] for day in days]
    return [
        replace(_shift(AlarmKind.SCORE_DRIFT, "score", values), weight=5),
        _shift(AlarmKind.SCORE_DRIFT, "score-spread", values, _apart),
    ]


def inputs(days: Sequence[Day]) -> list[Stream]:
    """Numbers and words of what comes in."""
    found = [_shift(AlarmKind.INPUT_DRIFT, name, [day.numbers[name] for day in days]) for name in NUMBERS]
    for kind in KINDS_OF_WORDS:
        words = [day.words.get(kind, {}) for day in days]
        totals = np.array([sum(day.values()) for day in words], dtype=float)
        found += _mix(AlarmKind.INPUT_DRIFT, kind, words, totals, (*WORDS[kind], "unknown"))
    return found


def shares(days: Sequence[Day], limits: Limits) -> list[Stream]:
    """Failures, refusals, disagreement and lateness against the policy, and codes of refusals against their baseline."""
    found = [
        _against(AlarmKind.FAILURES, "", [day.failed for day in days], limits.failed_share, _ALIKE),
        _against(AlarmKind.REFUSALS, "", [day.refused for day in days], limits.refused_share, _ALIKE),
        _against(AlarmKind.AGREEMENT, "", [day.disagreed for day in days], 1 - limits.agreement, _ALIKE),
        _against(AlarmKind.LATE, "", [day.late for day in days], 0.05, _ALIKE_LATE),
    ]
    totals = np.array([day.readings for day in days])
    until, *_ = _baseline(totals)
    known = sorted({code for day in days[:until] for code in day.codes})
    return found + _mix(AlarmKind.REFUSALS, "", [day.codes for day in days], totals, known)


#: Odds may differ by so much from the probabilities before it counts, and the alternatives beyond.
_ODDS, _ODDS_BEYOND = np.log(2.0), (1.0, 2.0)


def calibration(days: Sequence[Day]) -> list[Stream]:
    """What people saw against the probabilities, both ways."""
    ratios = np.zeros((2 * len(_ODDS_BEYOND), len(days)))
    for batch, day in enumerate(days):
        if not day.judged:
            continue
        odds = logit(np.clip([p for p, _ in day.judged], 0.02, 0.98))
        signs = np.array([sign for _, sign in day.judged])
        row = 0
        for way in (1, -1):
            for beyond in _ODDS_BEYOND:
                edge, other = odds + way * _ODDS, odds + way * (_ODDS + beyond)
                change = np.where(signs, np.log(expit(other) / expit(edge)), np.log(expit(-other) / expit(-edge)))
                ratios[row, batch] = change.sum()
                row += 1

    def describe(since: int) -> tuple[float, float]:
        judged = [pair for day in days[since:] for pair in day.judged]
        return sum(sign for _, sign in judged) / max(1, len(judged)), sum(p for p, _ in judged) / max(1, len(judged))

    return [Stream(AlarmKind.CALIBRATION, "", ratios, describe, float(sum(len(day.judged) for day in days)))]


def _trailing(hits: Floats, n: Floats) -> tuple[Floats, Floats]:
    """(Share, readings) of the last ``_REST_DAYS`` batches before each."""
    sums, totals = np.concatenate([[0], np.cumsum(hits)]), np.concatenate([[0], np.cumsum(n)])
    index = np.arange(len(n))
    start = np.maximum(index - _REST_DAYS, 0)
    total = totals[index] - totals[start]
    return (sums[index] - sums[start] + 0.5) / (total + 1), total


def _group(kind_of: str, group: str, inside: Sequence[Share], everyone: Sequence[Share]) -> Stream:
    """A part of the patients against the rest: its share of signs as in the baseline, its disagreement not above theirs."""
    subject = f"{group}.{kind_of}"
    hits, n = np.array([share.hits for share in inside]), np.array([share.n for share in inside])
    rest_hits, rest_n = np.array([s.hits for s in everyone]) - hits, np.array([s.n for s in everyone]) - n
    told = (rest_hits >= 0) & (rest_n >= rest_hits)  # of everyone, too: at the hub they may be hidden
    hits, n, rest_hits, rest_n = (np.where(told, counts, 0.0) for counts in (hits, n, rest_hits, rest_n))
    until, have, need = _baseline(np.minimum(n, rest_n), readings=50)
    if not until:
        return _young(AlarmKind.SUBGROUP, subject, have, need)
    share, known = _trailing(rest_hits, rest_n)
    margin = 1.5 / np.sqrt(np.maximum(known * share * (1 - share), 1.0))
    odds = logit(share)
    if kind_of == "sign":
        own, other = _odds(hits[:until], n[:until]), _odds(rest_hits[:until], rest_n[:until])
        odds = odds + own[0] - other[0]
        margin = 0.3 + np.hypot(margin, 1.5 * np.hypot(own[1], other[1]))
        ways = [(hits, 1), (n - hits, -1)]
    else:
        margin = 0.3 + margin
        ways = [(hits, 1)]
    rows = []
    for counted, way in ways:
        for beyond in (0.7, 1.5):
            edge = way * odds + margin
            rows.append(of_shares(counted, n, most=expit(edge), other=expit(edge + beyond), alike=_ALIKE))
    ratios = np.array(rows)
    ratios[:, :until] = 0
    return Stream(AlarmKind.SUBGROUP, subject, ratios, lambda s: (_part(hits, n, s), _part(rest_hits, rest_n, s)), have, need)


def _odds(hits: Floats, n: Floats) -> tuple[float, float]:
    """(Logarithm of the odds, its standard error)."""
    yes, no = hits.sum() + 0.5, (n - hits).sum() + 0.5
    return float(np.log(yes / no)), float(np.sqrt(1 / yes + 1 / no))


def subgroups(days: Sequence[Day]) -> list[Stream]:
    """Each part of the patients: share of signs and disagreement against the rest."""
    nothing = Share()
    found = []
    for kind_of, pick in (("sign", "signs"), ("disagreement", "group_disagreed")):
        tables: list[dict[str, Share]] = [getattr(day, pick) for day in days]
        everyone = [table.get("", nothing) for table in tables]
        found += [_group(kind_of, group, [table.get(group, nothing) for table in tables], everyone) for group in GROUPS]
    return found
