"""Instances to the one series that is read, with a word on every other."""

from collections.abc import Mapping, Sequence

from pneumoscope.errors import NoEligibleSeries
from pneumoscope.records import Instance, Notice, Series, SeriesVerdict, Study
from pneumoscope.series.rules import (
    PERHAPS_LOSSY,
    PREFERENCES,
    THICK_MM,
    Rule,
    first_broken,
    largest_gap_mm,
    missing_count,
    ranking,
)
from pneumoscope.series.stacks import Stack, build_stacks

__all__ = ["choose_series"]


def choose_series(instances: Sequence[Instance], studies: Mapping[str, Study]) -> tuple[Series, tuple[SeriesVerdict, ...]]:
    """Choose the stack to be read, and say of every stack why it was or was not.

    ``studies``: by StudyInstanceUID. Where several studies lie together, the one with the best stack is read. Raises
    NoEligibleSeries.
    """
    stacks = build_stacks(instances)
    checked = [(stack, *first_broken(stack)) for stack in stacks]
    eligible = [stack for stack, _, rule in checked if rule is None]
    if not eligible:
        raise _none(checked)
    best = max(eligible, key=lambda s: (ranking(s), s.first.SeriesInstanceUID, s.first.SOPInstanceUID))
    verdicts = tuple(
        _verdict(stack, "chosen", _why_chosen(eligible), chosen=True)
        if stack is best
        else _verdict(stack, rule.code, rule.say(stack))
        if rule
        else _verdict(stack, *_why_worse(stack, best))
        for stack, _, rule in checked
    )
    return (
        Series(
            study=studies.get(best.first.StudyInstanceUID, Study(StudyInstanceUID=best.first.StudyInstanceUID)),
            instances=best.instances,
            doubles=best.doubles,
            notices=tuple(_notices(best)),
        ),
        verdicts,
    )


def _none(checked: list[tuple[Stack, int, Rule | None]]) -> NoEligibleSeries:
    """The error when nothing may be read: what is wrong with the stack that came furthest down the table of rules."""
    ranked = sorted(checked, key=lambda item: (-item[1], -len(item[0].instances)))
    reasons = []
    for stack, _, rule in ranked:
        assert rule is not None, "no stack is eligible"
        reasons.append((rule.code, rule.say(stack)))
    count, (code, fault) = len(checked), reasons[0]
    several = f"None of {count} series can be read; the nearest {fault}."
    text = several if count > 1 else f"The only series cannot be read: it {fault}."
    return NoEligibleSeries(text, code=code, reasons=tuple(reasons))


def _why_chosen(eligible: list[Stack]) -> str:
    return "the only axial chest-sized series" if len(eligible) == 1 else f"the best of {len(eligible)} that could be read"


def _why_worse(stack: Stack, best: Stack) -> tuple[str, str]:
    if stack.first.StudyInstanceUID != best.first.StudyInstanceUID:
        return "other-study", "belongs to another study than the one read"
    for preference in PREFERENCES:
        if preference.rank(stack) != preference.rank(best):
            return "not-best", f"{preference.worse} than the one chosen"
    return "not-best", "is equal to the one chosen"


def _verdict(stack: Stack, code: str, reason: str, *, chosen: bool = False) -> SeriesVerdict:
    first = stack.first
    return SeriesVerdict(
        SeriesInstanceUID=first.SeriesInstanceUID,
        SeriesNumber=first.SeriesNumber,
        SeriesDescription=first.SeriesDescription,
        image_count=len(stack.instances) + len(stack.doubles),
        chosen=chosen,
        code=code,
        reason=reason,
    )


def _notices(stack: Stack) -> list[Notice]:
    """What a reader of the result must know of the chosen stack."""
    first, notices = stack.first, []
    thickness_mm = max(first.SliceThickness or 0.0, stack.step_mm)
    if thickness_mm > THICK_MM:
        text = f"Slices are {thickness_mm:.1f} mm thick or apart; above {THICK_MM:.0f} mm small lesions can be missed."
        notices.append(Notice(code="thick-slices", text=text))
    if missing := missing_count(stack):
        text = f"{missing} slices are missing (largest gap {largest_gap_mm(stack):.1f} mm); volumes bridge the gap."
        notices.append(Notice(code="missing-slices", text=text))
    if any(i.ContrastBolusAgent for i in stack.instances):
        text = "The scan was taken with contrast, which raises the density of lung and vessels; read for scans without."
        notices.append(Notice(code="contrast", text=text))
    if any(i.TransferSyntaxUID in PERHAPS_LOSSY and i.LossyImageCompression == "01" for i in stack.instances):
        text = "The images were compressed with loss; densities may be off by some HU."
        notices.append(Notice(code="lossy-compression", text=text))
    return notices
