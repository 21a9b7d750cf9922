"""The watches of a site, all together under one budget of false alarms: at the site on its readings, at the hub on windows.

``watch`` and ``watch_windows`` are pure: the whole history since the baseline began goes in, what stands now comes out. They
may be asked as often as one likes. A baseline that is young is told in ``Watched.young`` and raises no alarm.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pneumoscope.fleet import streams
from pneumoscope.fleet.days import Day, Observed, days_of
from pneumoscope.fleet.evidence import gather
from pneumoscope.fleet.messages import Alarm, AlarmKind, Limits, Window
from pneumoscope.fleet.streams import Stream
from pneumoscope.fleet.unwinding import days_of_windows

__all__ = ["Observed", "Watched", "Young", "watch", "watch_windows"]

_YEAR_S = 365.25 * 86_400
#: How the budget of false alarms is split; within a kind, by the weights of its streams.
_PARTS = {
    AlarmKind.SCORE_DRIFT: 0.3,
    AlarmKind.INPUT_DRIFT: 0.15,
    AlarmKind.FAILURES: 0.1,
    AlarmKind.REFUSALS: 0.1,
    AlarmKind.AGREEMENT: 0.15,
    AlarmKind.CALIBRATION: 0.1,
    AlarmKind.LATE: 0.05,
    AlarmKind.SUBGROUP: 0.05,
}


@dataclass(frozen=True)
class Young:
    """A watch whose baseline is not full: ``have`` of ``need`` readings."""

    kind: AlarmKind
    subject: str
    have: int
    need: int


@dataclass(frozen=True)
class Watched:
    """What stands now. ``episodes``: alarms ever raised in the history, ended ones too."""

    alarms: tuple[Alarm, ...]
    young: tuple[Young, ...]
    episodes: tuple[tuple[AlarmKind, str, int], ...] = ()


def watch(rows: Sequence[Observed], limits: Limits, *, batch_s: float = 86_400) -> Watched:
    """At a site: ``rows`` of one model since its baseline shall begin, in any order."""
    return _judge(days_of(rows, late_s=limits.wait_s, batch_s=batch_s), limits, batch_s)


def watch_windows(windows: Sequence[Window], limits: Limits, *, model: str) -> Watched:
    """At the hub: all windows of a site, of which those where ``model`` was present count; what is hidden speaks for no change.

    Calibration takes single readings, and is watched by the site alone.
    """
    ordered = sorted(windows, key=lambda window: window.start)
    if not ordered:
        return Watched((), ())
    batch_s = (ordered[-1].end - ordered[-1].start).total_seconds()
    return _judge(days_of_windows(ordered, model=model, late_s=limits.wait_s), limits, batch_s)


def _judge(days: Sequence[Day], limits: Limits, batch_s: float) -> Watched:
    if not days:
        return Watched((), ())
    found = [
        *streams.scores(days),
        *streams.inputs(days),
        *streams.shares(days, limits),
        *streams.calibration(days),
        *streams.subgroups(days),
    ]
    weights = Counter[AlarmKind]()
    for stream in found:
        weights[stream.kind] += stream.weight
    alarms, young, episodes = [], [], []
    for stream in found:
        if stream.young:
            if stream.have:
                young.append(Young(stream.kind, stream.subject, int(stream.have), int(np.ceil(stream.need))))
            continue
        rate = limits.false_alarms_a_year * _PARTS[stream.kind] * stream.weight / weights[stream.kind]
        standing = gather(stream.log_ratios, log_limit=float(np.log(max(_YEAR_S / batch_s / rate, 2.0))))
        if standing.episodes:
            episodes.append((stream.kind, stream.subject, standing.episodes))
        if standing.since >= 0:
            alarms.append(_alarm(stream, days, standing.since, limits))
    return Watched(tuple(alarms), tuple(young), tuple(episodes))


def _alarm(stream: Stream, days: Sequence[Day], since: int, limits: Limits) -> Alarm:
    value, limit = stream.describe(since)
    if stream.kind is AlarmKind.LATE:
        waits = np.concatenate([day.waits_s for day in days[since:]])
        value, limit = (float(np.quantile(waits, 0.95)) if len(waits) else value), limits.wait_s
    if stream.kind is AlarmKind.AGREEMENT:
        value, limit = 1 - value, limits.agreement
    subject = stream.subject
    if stream.kind is AlarmKind.REFUSALS and subject == "other":
        new = Counter[str]()
        before = {code for day in days[:since] for code in day.codes}
        for day in days[since:]:
            new.update({code: int(n) for code, n in day.codes.items() if code not in before})
        subject = new.most_common(1)[0][0] if new else subject
    return Alarm(kind=stream.kind, subject=subject, since=days[since].start, value=round(value, 3), limit=round(limit, 3))
