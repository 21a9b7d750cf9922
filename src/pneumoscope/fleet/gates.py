"""Gates of a roll-out: what a stage has shown, against what it must show. Each verdict says why, in words.

A gate breaks where a bound that chance crosses in one of 200 looks is crossed; it opens when all that is asked for is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pneumoscope.fleet.messages import AlarmKind
from pneumoscope.fleet.shares import NOTHING, Share, Span, chance_of_so_many

#: Of two-sided intervals, of which one side counts.
LEVEL = 0.99
#: Fewer alarms than chance brings this often break nothing.
ALARM_CHANCE = 0.05
_HOURS_A_YEAR = 8766.0
#: Alarms of the model itself: sites of the stage go back.
GRAVE = (AlarmKind.STOP_RULE, AlarmKind.FAILURES, AlarmKind.AGREEMENT)
#: Alarms that are to be looked into before it goes on.
NOTABLE = (AlarmKind.SCORE_DRIFT, AlarmKind.INPUT_DRIFT, AlarmKind.CALIBRATION, AlarmKind.SUBGROUP, AlarmKind.LATE)


class Standing(StrEnum):
    """How one thing that is asked for stands."""

    GOOD = "good"
    WAITS = "waits"
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """As the setting ``[hub.gate]`` has them; ``false_alarms_a_year`` of a site."""

    hours: float
    sites_share: float
    pairs: int
    readings: int
    answers: int
    failed_share: float
    same_share: float
    difference: float
    agreement: float
    refused_sites_share: float
    false_alarms_a_year: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a stage has shown in its phase; ``there``: sites that have come as far as asked."""

    live: bool
    hours: float
    sites: int
    there: int
    refused: int = 0
    waits_for_people: int = 0
    read: Span
    failed: Span
    pairs: Span = NOTHING
    same: Span = NOTHING
    difference: float | None = None  # mean of scores, candidate minus present
    answers: Span = NOTHING
    agreed: Span = NOTHING
    grave: int = 0  # sites with alarms of each sort that began in this phase
    notable: int = 0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is asked for; ``back``: where it is broken, sites of the stage go back."""

    title: str
    standing: Standing
    text: str
    back: bool = False


def judge(evidence: Evidence, rules: Rules) -> tuple[Finding, ...]:
    """Everything that the gate of this phase asks for."""
    shared = (_time(evidence, rules), _sites(evidence, rules), _refusals(evidence, rules), _failures(evidence, rules))
    if evidence.live:
        return (*shared, _readings(evidence, rules), _agreement(evidence, rules), *_alarms(evidence, rules))
    return (*shared, _pairs(evidence, rules), _same(evidence, rules), _difference(evidence, rules), *_alarms(evidence, rules))


def outcome(findings: Sequence[Finding]) -> Standing:
    """Broken where one is, good where all are."""
    standings = {finding.standing for finding in findings}
    return next(one for one in (Standing.BROKEN, Standing.WAITS, Standing.GOOD) if one in standings or one is Standing.GOOD)


def _enough(is_enough: bool) -> Standing:
    return Standing.GOOD if is_enough else Standing.WAITS


def _time(evidence: Evidence, rules: Rules) -> Finding:
    text = f"{evidence.hours:.0f} of {rules.hours:g} hours have gone by"
    return Finding(title="time", standing=_enough(evidence.hours >= rules.hours), text=text)


def _sites(evidence: Evidence, rules: Rules) -> Finding:
    reached = evidence.there >= rules.sites_share * (evidence.sites - evidence.refused)
    doing = "run it in service" if evidence.live else "run it beside their own"
    text = (
        f"{evidence.there} of {evidence.sites} sites {doing}, needed are {100 * rules.sites_share:.0f} % of those that take it"
    )
    if evidence.waits_for_people:
        text += f"; {evidence.waits_for_people} wait for two people of their own"
    return Finding(title="sites", standing=_enough(reached), text=text)


def _refusals(evidence: Evidence, rules: Rules) -> Finding:
    broken = evidence.refused > rules.refused_sites_share * evidence.sites
    text = f"{evidence.refused} of {evidence.sites} sites refused it, allowed are {100 * rules.refused_sites_share:.0f} %"
    return Finding(title="refusals", standing=Standing.BROKEN if broken else Standing.GOOD, text=text)


def _failures(evidence: Evidence, rules: Rules) -> Finding:
    share = Share(hits=evidence.failed, n=evidence.read + evidence.failed)
    broken = share.interval(level=LEVEL)[0] > rules.failed_share
    text = f"{evidence.failed} of {share.n} readings failed, allowed are {100 * rules.failed_share:g} %"
    return Finding(title="failures", standing=Standing.BROKEN if broken else Standing.GOOD, text=text, back=True)


def _pairs(evidence: Evidence, rules: Rules) -> Finding:
    text = f"{evidence.pairs} of {rules.pairs} studies were read by both models"
    return Finding(title="pairs", standing=_enough(evidence.pairs.least >= rules.pairs), text=text)


def _same(evidence: Evidence, rules: Rules) -> Finding:
    share = Share(hits=evidence.same, n=evidence.pairs)
    broken = share.interval(level=LEVEL)[1] < rules.same_share
    text = f"{evidence.same} of {evidence.pairs} pairs fall into the same category, needed are {100 * rules.same_share:.0f} %"
    return Finding(title="same category", standing=Standing.BROKEN if broken else Standing.GOOD, text=text)


def _difference(evidence: Evidence, rules: Rules) -> Finding:
    if evidence.difference is None:
        return Finding(title="scores", standing=_enough(rules.pairs == 0), text="no scores can be compared yet")
    enough = evidence.pairs.least >= max(rules.pairs, 1)
    broken = enough and abs(evidence.difference) > rules.difference
    text = f"scores differ by {evidence.difference:+.3f} on average, allowed are {rules.difference:g} either way"
    return Finding(title="scores", standing=Standing.BROKEN if broken else Standing.GOOD, text=text)


def _readings(evidence: Evidence, rules: Rules) -> Finding:
    text = f"{evidence.read} of {rules.readings} readings were made in service"
    return Finding(title="readings", standing=_enough(evidence.read.least >= rules.readings), text=text)


def _agreement(evidence: Evidence, rules: Rules) -> Finding:
    share = Share(hits=evidence.agreed, n=evidence.answers)
    broken = share.interval(level=LEVEL)[1] < rules.agreement
    text = f"{evidence.agreed} of {evidence.answers} answers agree, needed are {100 * rules.agreement:.0f} %"
    if rules.answers:
        text += f" of at least {rules.answers}"
    standing = Standing.BROKEN if broken else _enough(evidence.answers.least >= rules.answers)
    return Finding(title="agreement", standing=standing, text=text, back=True)


def _alarms(evidence: Evidence, rules: Rules) -> tuple[Finding, ...]:
    expected = evidence.sites * evidence.hours / _HOURS_A_YEAR * rules.false_alarms_a_year
    sorts = (("alarms of the model", evidence.grave, True), ("alarms of drift", evidence.notable, False))
    found = []
    for title, number, back in sorts:
        broken = number > 0 and chance_of_so_many(number, expected) < ALARM_CHANCE
        text = f"{number} of {evidence.sites} sites raised {title}; by chance alone {expected:.1f} would"
        standing = Standing.BROKEN if broken else Standing.GOOD
        found.append(Finding(title=title, standing=standing, text=text, back=back))
    return tuple(found)
