"""Sentences about a reading, the same in every result."""

from pneumoscope.records import ZONES, Category, Reading, Region

NOT_FOR_DIAGNOSIS = "NOT FOR PRIMARY DIAGNOSIS"

REGION_WORDS = {region: region.value.replace("_", " ") for region in Region} | {Region.LUNGS: "both lungs"}


def percent(share: float) -> str:
    """A share in words, without false precision."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    return f"{share * 100:.1f} %" if share < 0.1 else f"{share * 100:.0f} %"


def headline(reading: Reading) -> str:
    """The finding in one sentence."""
    lungs = reading.finding(Region.LUNGS)
    category = reading.scores.category
    if category is Category.CANNOT_SAY:
        return f"Cannot say. {reading.scores.reason}"
    lead = {
        Category.NO_SIGN: "No sign of pneumonia of the COVID-19 pattern",
        Category.INDETERMINATE: "Indeterminate for pneumonia of the COVID-19 pattern",
        Category.SIGN: "Sign of pneumonia of the COVID-19 pattern",
    }[category]
    if lungs.lesion_ml < 0.5:
        return f"{lead}: no lesion was found in the lungs."
    worst = max((reading.finding(zone) for zone in ZONES), key=lambda f: f.lesion_ml)
    dense = lungs.consolidation_ml / lungs.lesion_ml
    kind = "mostly ground-glass" if dense < 0.4 else "mostly consolidation" if dense > 0.6 else "ground-glass and consolidation"
    return f"{lead}: {percent(lungs.share)} of the lungs involved, most in the {REGION_WORDS[worst.region]}, {kind}."


def meaning(category: Category) -> str:
    """What a category says and what it does not."""
    limits = "Other pneumonias can look the same, and a scan without lesions does not exclude an infection."
    return {
        Category.NO_SIGN: f"The scan shows less than the model's limit of lesion. {limits}",
        Category.INDETERMINATE: f"The scan shows some lesion, which is common without COVID-19 too. {limits}",
        Category.SIGN: (
            f"The scan shows lesions of the kind seen in COVID-19. The score is of the pattern, not of its cause. {limits}"
        ),
        Category.CANNOT_SAY: "The scan is unlike those the model was made for; the measures below may be wrong.",
    }[category]
