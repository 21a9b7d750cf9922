"""Sentences about a reading, the same in every result."""

import re
from datetime import date

from pneumoscope.records import ZONES, Category, Reading, Region

NOT_FOR_DIAGNOSIS = "NOT FOR PRIMARY DIAGNOSIS"

REGION_WORDS = {region: region.value.replace("_", " ") for region in Region} | {Region.LUNGS: "both lungs"}

#: Below this much lesion a share would say more than was measured.
LITTLE_LESION_ML = 0.5

#: What a reading never says, whatever its category.
LIMITS = (
    "The score is of a pattern, not of its cause: influenza and other pneumonias can look the same.",
    "A scan without lesions does not exclude an infection, least of all in the first days.",
    "Software made this reading and no physician has checked it; it is not for primary diagnosis.",
)


def percent(share: float) -> str:
    """A share in words, without false precision."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    return f"{share * 100:.1f} %" if share < 0.0995 else f"{share * 100:.0f} %"


def certainty(score: float) -> str:
    """A score in words; none is shown as certain, however it rounds."""
    return "under 0.01" if score < 0.01 else "over 0.99" if score > 0.99 else f"{score:.2f}"


def headline(reading: Reading) -> str:
    """The finding in one sentence."""
    lungs = reading.finding(Region.LUNGS)
    category = reading.scores.category
    if category is Category.CANNOT_SAY:
        return f"Cannot say. {reading.scores.reason}".strip()
    lead = {
        Category.NO_SIGN: "No sign of pneumonia of the COVID-19 pattern",
        Category.INDETERMINATE: "Indeterminate for pneumonia of the COVID-19 pattern",
        Category.SIGN: "Sign of pneumonia of the COVID-19 pattern",
    }[category]
    if lungs.lesion_ml < LITTLE_LESION_ML:
        return f"{lead}: no lesion was found in the lungs." if lungs.lesion_ml == 0 else f"{lead}: hardly any lesion was found."
    worst = max((reading.finding(zone) for zone in ZONES), key=lambda f: f.lesion_ml)
    dense = lungs.consolidation_ml / lungs.lesion_ml
    kind = "mostly ground-glass" if dense < 0.4 else "mostly consolidation" if dense > 0.6 else "ground-glass and consolidation"
    return f"{lead}: {percent(lungs.share)} of the lungs involved, most in the {REGION_WORDS[worst.region]}, {kind}."


def meaning(category: Category) -> str:
    """What a category says; ``LIMITS`` is what it does not."""
    return {
        Category.NO_SIGN: "The scan shows less of the pattern than the model takes for a sign.",
        Category.INDETERMINATE: "The scan shows some of the pattern, as much as is common without COVID-19 too.",
        Category.SIGN: "The scan shows lesions of the kind seen in COVID-19 pneumonia, as much as the model takes for a sign.",
        Category.CANNOT_SAY: "The scan is unlike those that the model was made for: no score, and the measures may be wrong.",
    }[category]


def parse_date(value: str) -> date | None:
    """A DICOM date (PS3.5 6.2, DA), or None where it is not one."""
    digits = re.fullmatch(r"([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})", value.strip())
    try:
        return date(*(int(part) for part in digits.groups())) if digits else None
    except ValueError:
        return None


def person_names(PatientName: str) -> tuple[str, ...]:
    """The component groups of a person name (PS3.5 6.2.1) to be read: "Hong Gildong", "洪 吉洞", "홍 길동"."""
    groups = (" ".join(part for part in group.split("^") if part.strip()) for group in PatientName.split("="))
    return tuple(group.strip() for group in groups if group.strip())
