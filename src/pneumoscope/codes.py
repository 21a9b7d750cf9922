"""One table of codes: what each concept is called in SNOMED CT, RadLex, LOINC and DICOM, and in words."""

from dataclasses import dataclass

from pneumoscope.records import Region

SNOMED, RADLEX, LOINC, DCM, UCUM = "SCT", "RADLEX", "LN", "DCM", "UCUM"
#: Concepts without a standard code, under our own designator.
PRIVATE = "99PNEUMOSCOPE"

#: FHIR's name of each coding scheme.
SYSTEM_URIS = {
    SNOMED: "http://snomed.info/sct",
    RADLEX: "http://radlex.org",
    LOINC: "http://loinc.org",
    DCM: "http://dicom.nema.org/resources/ontology/DCM",
    UCUM: "http://unitsofmeasure.org",
    PRIVATE: "urn:pneumoscope:codes",
}


@dataclass(frozen=True)
class Code:
    """A coded concept."""

    value: str
    scheme: str
    meaning: str


COVID_PNEUMONIA = Code("882784691000119100", SNOMED, "Pneumonia caused by SARS-CoV-2")
GROUND_GLASS = Code("RID28531", RADLEX, "ground-glass opacity")
CONSOLIDATION = Code("RID43255", RADLEX, "consolidation")
LESION = Code("lesion", PRIVATE, "Ground-glass opacity or consolidation")
LUNG_VOLUME = Code("118565006", SNOMED, "Volume")
LESION_VOLUME = Code("lesion-volume", PRIVATE, "Volume of lesion")
LESION_SHARE = Code("lesion-share", PRIVATE, "Share of region that is lesion")
GROUND_GLASS_VOLUME = Code("ground-glass-volume", PRIVATE, "Volume of ground-glass opacity")
CONSOLIDATION_VOLUME = Code("consolidation-volume", PRIVATE, "Volume of consolidation")
SEVERITY_SCORE = Code("severity-score", PRIVATE, "CT severity score of six zones, 0 to 24")
SEVERITY_BAND = Code("severity-band", PRIVATE, "Severity band of zone, 0 to 4")
STUDY_SCORE = Code("covid-pattern-score", PRIVATE, "Score for pneumonia of the COVID-19 pattern, 0 to 1")
CATEGORY = Code("covid-pattern-category", PRIVATE, "Category for pneumonia of the COVID-19 pattern")
CHEST_CT = Code("24627-2", LOINC, "CT Chest")
MILLILITRE = Code("ml", UCUM, "milliliter")
PERCENT = Code("%", UCUM, "percent")
UNITY = Code("1", UCUM, "no units")
HOUNSFIELD = Code("[hnsf'U]", UCUM, "Hounsfield unit")

#: Anatomy of each region; a zone is a lung with a qualifier in words, since zones by height have no code of their own.
ANATOMY = {
    Region.LUNGS: Code("39607008", SNOMED, "Lung"),
    Region.RIGHT_LUNG: Code("3341006", SNOMED, "Right lung"),
    Region.LEFT_LUNG: Code("44029006", SNOMED, "Left lung"),
    Region.RIGHT_UPPER: Code("right-upper-zone", PRIVATE, "Upper third of right lung"),
    Region.RIGHT_MIDDLE: Code("right-middle-zone", PRIVATE, "Middle third of right lung"),
    Region.RIGHT_LOWER: Code("right-lower-zone", PRIVATE, "Lower third of right lung"),
    Region.LEFT_UPPER: Code("left-upper-zone", PRIVATE, "Upper third of left lung"),
    Region.LEFT_MIDDLE: Code("left-middle-zone", PRIVATE, "Middle third of left lung"),
    Region.LEFT_LOWER: Code("left-lower-zone", PRIVATE, "Lower third of left lung"),
}

#: Severity by share of a zone: (share from, points, words).
SEVERITY_BANDS = (
    (0.0, 0, "under 5 %"),
    (0.05, 1, "5 to 25 %"),
    (0.25, 2, "25 to 50 %"),
    (0.50, 3, "50 to 75 %"),
    (0.75, 4, "75 % and more"),
)


def severity(share: float) -> tuple[int, str]:
    """Points and words of the band that a share (0 to 1) of a zone falls in."""
    return next((points, words) for low, points, words in reversed(SEVERITY_BANDS) if share >= low)
