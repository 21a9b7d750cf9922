"""What a watch found, in words for people: what is seen, since when, and where to look."""

from pneumoscope.fleet.messages import Alarm, AlarmKind

_NAMES = {
    "thickness_mm": "slice thickness",
    "noise_hu": "image noise",
    "age_years": "the patients' age",
    "lung_volume_l": "lung volume",
    "dose_mas": "dose (mAs)",
}


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _score(alarm: Alarm, since: str) -> str:
    if alarm.subject == "score-spread":
        way = "further apart" if alarm.value > 0 else "closer together"
        return f"Scores have lain {way} than in the baseline since {since}: look at what changed at the scanner."
    return f"Scores have shifted {_deviations(alarm.value)} since {since}: look at what changed at the scanner."


def _deviations(value: float) -> str:
    return f"{'upwards' if value > 0 else 'downwards'} by about {abs(value):.1f} standard deviations"


def _input(alarm: Alarm, since: str) -> str:
    if alarm.subject in _NAMES:
        return (
            f"Studies are not as they were: {_NAMES[alarm.subject]} has shifted {_deviations(alarm.value)} since {since}. "
            "Look for a new scanner, protocol or group of patients."
        )
    kind, _, word = alarm.subject.partition(":")
    return (
        f"Studies are not as they were: since {since}, {_percent(alarm.value)} have {kind} {word or 'other'}, and the baseline "
        f"allows for {_percent(alarm.limit)}. Look for a new scanner, protocol or group of patients."
    )


def _refusals(alarm: Alarm, since: str) -> str:
    why = f" with the code {alarm.subject}" if alarm.subject else ""
    against = "the baseline allows for" if alarm.subject else "the limit is"
    return (
        f"Of all studies, {_percent(alarm.value)} have been refused{why} since {since}; {against} {_percent(alarm.limit)}. "
        "Look at what the scanners send."
    )


def _subgroup(alarm: Alarm, since: str) -> str:
    group, _, of = alarm.subject.partition(".")
    kind, _, which = group.partition(":")
    named = {"sex:f": "women", "sex:m": "men"}.get(group, f"patients aged {which}" if kind == "age" else group)
    if of == "disagreement":
        return (
            f"People disagree with the model in {_percent(alarm.value)} of {named} since {since}, and in "
            f"{_percent(alarm.limit)} of the others: look at those studies."
        )
    return (
        f"Signs were found in {_percent(alarm.value)} of {named} since {since}, and in {_percent(alarm.limit)} of the others, "
        "which is not as in the baseline: look at those studies."
    )


def _failures(alarm: Alarm, since: str) -> str:
    return (
        f"Of all readings, {_percent(alarm.value)} have failed since {since}; the limit is {_percent(alarm.limit)}. "
        "Look at the log."
    )


def _agreement(alarm: Alarm, since: str) -> str:
    return (
        f"People have agreed with {_percent(alarm.value)} of readings since {since}; the policy wants {_percent(alarm.limit)}. "
        "Look at the studies where they did not."
    )


def _calibration(alarm: Alarm, since: str) -> str:
    return (
        f"People saw signs in {_percent(alarm.value)} of the studies that they judged since {since}; the model's probabilities "
        f"lead one to expect {_percent(alarm.limit)}."
    )


def _late(alarm: Alarm, since: str) -> str:
    return (
        f"Results are late: since {since}, one study in twenty waits {alarm.value:.0f} s or longer; the limit is "
        f"{alarm.limit:.0f} s. Look at the queue and the machines."
    )


def _silent(alarm: Alarm, since: str) -> str:
    return f"Nothing has been heard from this site since {since}: its network, or its node, may be down. It works on its own."


def _stop_rule(alarm: Alarm, since: str) -> str:
    return (
        f"The model {alarm.subject or 'in service'} was taken out of service on {since} by the stop rule: what it read "
        "since is held back."
    )


def _bundle(alarm: Alarm, since: str) -> str:
    return f"The bundle of {alarm.subject or 'a model'} was refused on {since}, and is not run."


def _certificate(alarm: Alarm, since: str) -> str:
    return (
        f"The site's certificate for the hub ends in {alarm.value:.0f} days and was not renewed: see whether the hub can be "
        "reached."
    )


def _clock(alarm: Alarm, since: str) -> str:
    return f"The clocks of site and hub differ by {alarm.value:.0f} s since {since}; at most {alarm.limit:.0f} s are well."


_WORDS = {
    AlarmKind.SCORE_DRIFT: _score,
    AlarmKind.INPUT_DRIFT: _input,
    AlarmKind.AGREEMENT: _agreement,
    AlarmKind.CALIBRATION: _calibration,
    AlarmKind.FAILURES: _failures,
    AlarmKind.REFUSALS: _refusals,
    AlarmKind.LATE: _late,
    AlarmKind.SUBGROUP: _subgroup,
    AlarmKind.STOP_RULE: _stop_rule,
    AlarmKind.BUNDLE_REFUSED: _bundle,
    AlarmKind.CERTIFICATE: _certificate,
    AlarmKind.CLOCK: _clock,
    AlarmKind.SILENT: _silent,
}


def words(alarm: Alarm) -> str:
    """One or two sentences in English; the day is that of UTC."""
    return _WORDS[alarm.kind](alarm, f"{alarm.since.day} {alarm.since:%B}")
