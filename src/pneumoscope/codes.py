"""One table of codes: what each concept is called in SNOMED CT, RadLex, LOINC and DICOM, and in words."""

from dataclasses import dataclass

from pneumoscope.records import Category, Judgement, Objection, Region

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
    """A coded concept. A value of at most 16 characters fits Code Value (0008,0100), which old readers need."""

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
SLICE_SHARE = Code("slice-share", PRIVATE, "Share of lung in slice that is lesion")
LESION_AREA = Code("lesion-area", PRIVATE, "Area of lesion in slice")
GROUND_GLASS_VOLUME = Code("ggo-volume", PRIVATE, "Volume of ground-glass opacity")
CONSOLIDATION_VOLUME = Code("consol-volume", PRIVATE, "Volume of consolidation")
ATTENUATION = Code("112031", DCM, "Attenuation Coefficient")
MEAN = Code("373098007", SNOMED, "Mean")
UPPER_UNCERTAINTY = Code("371886008", SNOMED, "+, range of upper measurement uncertainty")
LOWER_UNCERTAINTY = Code("371885007", SNOMED, "-, range of lower measurement uncertainty")
SEVERITY_SCORE = Code("severity-score", PRIVATE, "CT severity score of six zones, 0 to 24")
SEVERITY_BAND = Code("severity-band", PRIVATE, "Severity band of zone, 0 to 4")
STUDY_SCORE = Code("covid-score", PRIVATE, "Score for pneumonia of the COVID-19 pattern, 0 to 1")
CATEGORY = Code("covid-category", PRIVATE, "Category for pneumonia of the COVID-19 pattern")
SUMMARY = Code("121111", DCM, "Summary")
REASON = Code("reason", PRIVATE, "Reason for the category")
NOTICE = Code("notice", PRIVATE, "Notice")
CHEST_CT = Code("24627-2", LOINC, "CT Chest")
#: What this node does with a work item (Scheduled Workitem Code Sequence of a UPS).
READING = Code("covid-ct-reading", PRIVATE, "Reading of chest CT for pneumonia of COVID-19 pattern")
MILLILITRE = Code("ml", UCUM, "milliliter")
SQUARE_MILLIMETRE = Code("mm2", UCUM, "square millimeter")
PERCENT = Code("%", UCUM, "Percent")
UNITY = Code("1", UCUM, "no units")
HOUNSFIELD = Code("[hnsf'U]", UCUM, "Hounsfield unit")

ANATOMICAL_STRUCTURE = Code("123037004", SNOMED, "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", SNOMED, "Morphologically Abnormal Structure")
RIGHT = Code("24028007", SNOMED, "Right")
LEFT = Code("7771000", SNOMED, "Left")
PRESENT = Code("52101004", SNOMED, "Present")
ABSENT = Code("272519000", SNOMED, "Absent")

# What DICOM objects say of themselves (PS3.16).
ARTIFICIAL_INTELLIGENCE = Code("123110", DCM, "Artificial Intelligence")
PROCESSING_EQUIPMENT = Code("109102", DCM, "Processing Equipment")
UNSPECIFIED_REASON = Code("110513", DCM, "Discontinued for unspecified reason")
SEGMENTATION = Code("113076", DCM, "Segmentation")
SOURCE_IMAGE = Code("121322", DCM, "Source image for image processing operation")

#: The answer to ``CATEGORY`` (PS3.16 CID 240, with "Indeterminate" from SNOMED CT).
CATEGORIES = {
    Category.NO_SIGN: ABSENT,
    Category.INDETERMINATE: Code("82334004", SNOMED, "Indeterminate"),
    Category.SIGN: PRESENT,
    Category.CANNOT_SAY: Code("373068000", SNOMED, "Undetermined"),
}

# What a person says of a result. IHE AI Result Assessment names the three answers and has no codes in DICOM's tables yet.
ASSESSMENT = Code("assessment", PRIVATE, "Assessment of an algorithm's result by a person")
ASSESSED = Code("assessed-result", PRIVATE, "Assessed result")
OBJECTION = Code("objection", PRIVATE, "Reason for the assessment")
CORRECTED_CATEGORY = Code("correct-category", PRIVATE, "Corrected category for pneumonia of the COVID-19 pattern")
LESION_IN_ZONE = Code("lesion-in-zone", PRIVATE, "Lesion in zone, as corrected")
COMMENT = Code("121106", DCM, "Comment")
JUDGEMENTS = {
    Judgement.ACCEPT: Code("accepted", PRIVATE, "Accepted"),
    Judgement.MODIFY: Code("modified", PRIVATE, "Modified"),
    Judgement.REJECT: Code("rejected", PRIVATE, "Rejected"),
}
OBJECTIONS = {
    Objection.MISSED_LESION: Code("missed-lesion", PRIVATE, "A lesion was missed"),
    Objection.FALSE_LESION: Code("false-lesion", PRIVATE, "What was marked is no lesion"),
    Objection.WRONG_EXTENT: Code("wrong-extent", PRIVATE, "The extent is wrong"),
    Objection.WRONG_CATEGORY: Code("wrong-category", PRIVATE, "The category is wrong"),
    Objection.INADEQUATE_IMAGE: Code("inadequate-image", PRIVATE, "The images are not adequate"),
    Objection.OTHER: Code("other-objection", PRIVATE, "Another reason"),
}

#: One code for each region; a zone by height on one side has none in the standards.
ANATOMY = {
    Region.LUNGS: Code("39607008", SNOMED, "Lung"),
    Region.RIGHT_LUNG: Code("3341006", SNOMED, "Right lung"),
    Region.LEFT_LUNG: Code("44029006", SNOMED, "Left lung"),
    Region.RIGHT_UPPER: Code("right-upper-zone", PRIVATE, "Upper third of right lung"),
    Region.RIGHT_MIDDLE: Code("right-mid-zone", PRIVATE, "Middle third of right lung"),
    Region.RIGHT_LOWER: Code("right-lower-zone", PRIVATE, "Lower third of right lung"),
    Region.LEFT_UPPER: Code("left-upper-zone", PRIVATE, "Upper third of left lung"),
    Region.LEFT_MIDDLE: Code("left-middle-zone", PRIVATE, "Middle third of left lung"),
    Region.LEFT_LOWER: Code("left-lower-zone", PRIVATE, "Lower third of left lung"),
}

LUNG = ANATOMY[Region.LUNGS]
UPPER_ZONE = Code("281392002", SNOMED, "Upper zone of lung")
MIDDLE_ZONE = Code("281393007", SNOMED, "Middle zone of lung")
LOWER_ZONE = Code("281394001", SNOMED, "Lower zone of lung")

#: The same regions as DICOM composes them: (anatomy, laterality), all standard codes (PS3.16 CID 6124, CID 244).
SITES: dict[Region, tuple[Code, Code | None]] = {
    Region.LUNGS: (LUNG, None),
    Region.RIGHT_LUNG: (LUNG, RIGHT),
    Region.LEFT_LUNG: (LUNG, LEFT),
    Region.RIGHT_UPPER: (UPPER_ZONE, RIGHT),
    Region.RIGHT_MIDDLE: (MIDDLE_ZONE, RIGHT),
    Region.RIGHT_LOWER: (LOWER_ZONE, RIGHT),
    Region.LEFT_UPPER: (UPPER_ZONE, LEFT),
    Region.LEFT_MIDDLE: (MIDDLE_ZONE, LEFT),
    Region.LEFT_LOWER: (LOWER_ZONE, LEFT),
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
