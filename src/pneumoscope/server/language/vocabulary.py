"""Words of the database and of ``reading.json`` for people: each is listed here, so that each is translated.

What a code means is said in the page's language. The English sentence that came with it holds the numbers of the case, and
stands beside it.
"""

from collections.abc import Mapping
from typing import Any

from pneumoscope.config import Role
from pneumoscope.filing.objects import Status
from pneumoscope.fleet.messages import Answer, Mode
from pneumoscope.records import ZONES, Category, Priority, Region
from pneumoscope.results.words import LITTLE_LESION_ML
from pneumoscope.server.language import ENGLISH, current, say
from pneumoscope.store.schema import DeliveryState, StudyState


def N_(text: str) -> str:
    """Mark a text for the catalogues."""
    return text


READY, SENT, UNSENT = "ready", "delivered", "not delivered"
STATES = {
    StudyState.ARRIVING: N_("arriving"),
    StudyState.WAITING: N_("waiting"),
    StudyState.READING: N_("reading"),
    StudyState.READ: N_("ready"),
    StudyState.HELD: N_("held"),
    StudyState.REFUSED: N_("refused"),
    StudyState.FAILED: N_("failed"),
    SENT: N_("delivered"),
    UNSENT: N_("not delivered"),
    READY: N_("ready"),
    "running": N_("reading"),
}
DELIVERY_STATES = {
    DeliveryState.WAITING: N_("waits to be sent"),
    DeliveryState.SENDING: N_("being sent"),
    DeliveryState.PENDING: N_("sent, not yet confirmed"),
    DeliveryState.DELIVERED: N_("delivered"),
    DeliveryState.CONFIRMED: N_("confirmed"),
    DeliveryState.STOPPED: N_("stopped"),
    DeliveryState.CANCELLED: N_("cancelled"),
}
PRIORITIES = {
    Priority.EMERGENCY: N_("emergency"),
    Priority.INPATIENT: N_("inpatient"),
    Priority.ROUTINE: N_("routine"),
    Priority.BACKFILL: N_("old study"),
}
CATEGORIES = {
    Category.SIGN: N_("sign of pneumonia of the COVID-19 pattern"),
    Category.INDETERMINATE: N_("indeterminate"),
    Category.NO_SIGN: N_("no sign"),
    Category.CANNOT_SAY: N_("cannot say"),
}
#: As people say it of a study without a model's word.
VERDICTS = {
    Answer.SIGN: CATEGORIES[Category.SIGN],
    Answer.INDETERMINATE: CATEGORIES[Category.INDETERMINATE],
    Answer.NO_SIGN: CATEGORIES[Category.NO_SIGN],
}
#: For narrow places.
SHORT_CATEGORIES = {**CATEGORIES, Category.SIGN: N_("sign")}
TONES = {
    Category.SIGN: "sign",
    Category.NO_SIGN: "no-sign",
    Category.INDETERMINATE: "indeterminate",
    Category.CANNOT_SAY: "cannot-say",
}
MEANINGS = {
    Category.NO_SIGN: N_("The scan shows less of the pattern than the model takes for a sign."),
    Category.INDETERMINATE: N_("The scan shows some of the pattern, as much as is common without COVID-19 too."),
    Category.SIGN: N_("The scan shows lesions of the kind seen in COVID-19 pneumonia, as much as the model takes for a sign."),
    Category.CANNOT_SAY: N_("The scan is unlike those that the model was made for: no score, and the measures may be wrong."),
}
LIMITS = (
    N_("The score is of a pattern, not of its cause: influenza and other pneumonias can look the same."),
    N_("A scan without lesions does not exclude an infection, least of all in the first days."),
    N_("Software made this reading and no physician has checked it; it is not for primary diagnosis."),
)
REGIONS = {
    Region.LUNGS: N_("both lungs"),
    Region.RIGHT_LUNG: N_("right lung"),
    Region.LEFT_LUNG: N_("left lung"),
    Region.RIGHT_UPPER: N_("right upper zone"),
    Region.RIGHT_MIDDLE: N_("right middle zone"),
    Region.RIGHT_LOWER: N_("right lower zone"),
    Region.LEFT_UPPER: N_("left upper zone"),
    Region.LEFT_MIDDLE: N_("left middle zone"),
    Region.LEFT_LOWER: N_("left lower zone"),
}
ROLES = {
    Role.READER: N_("reader"),
    Role.TECHNICIAN: N_("technician"),
    Role.ADMINISTRATOR: N_("administrator"),
    Role.AUDITOR: N_("auditor"),
    Role.MONITOR: N_("monitor"),
}
#: What the audit trail names, and how it ended.
ACTIONS = {
    "access": N_("access"),
    "associate": N_("associate"),
    "audit": N_("audit"),
    "cancel work item": N_("cancel work item"),
    "create work item": N_("create work item"),
    "lock-out": N_("lock-out"),
    "login": N_("login"),
    "logout": N_("logout"),
    "people": N_("people"),
    "pool": N_("read for others"),
    "query": N_("query"),
    "read again": N_("read again"),
    "read together": N_("read together"),
    "remove": N_("remove"),
    "resend": N_("resend"),
    "retrieve": N_("retrieve"),
    "review": N_("review"),
    "service": N_("service"),
    "subscribe": N_("subscribe"),
    "update work item": N_("update work item"),
    "upload": N_("upload"),
    "verdict": N_("verdict"),
    "view": N_("view"),
}
#: Of a study that another hospital may read.
TASKS = {
    "routine": N_("routine"),
    "urgent": N_("urgent"),
    "under-100": N_("under 100"),
    "100-400": N_("100 to 400"),
    "over-400": N_("over 400"),
    "open": N_("on offer"),
    "asked": N_("asked for"),
    "invited": N_("ready to be read"),
    "opened": N_("opened"),
    "answered": N_("answered"),
    "withdrawn": N_("taken back"),
    "expired": N_("time is over"),
    "lost": N_("another was first"),
}
#: What becomes of the readings of the model in service, and what was decided about it.
MODES = {
    Mode.SHADOW: N_("in shadow: it reads, and nothing of it is shown"),
    Mode.LIVE: N_("live"),
    Mode.STOPPED: N_("out of service"),
}
ACTS = {
    "begin": N_("joined a fleet"),
    "ask release": N_("release asked for"),
    "release": N_("released"),
    "candidate": N_("candidate on trial"),
    "withdraw": N_("candidate withdrawn"),
    "ask promote": N_("change of model asked for"),
    "promote": N_("candidate put in service"),
    "back": N_("back to the previous model"),
    "stop": N_("taken out of service"),
    "ask resume": N_("resumption asked for"),
    "resume": N_("in service again"),
    "limits": N_("own limits set"),
}
ACTION_OUTCOMES = {"success": N_("success"), "refused": N_("refused"), "failed": N_("failed")}
#: What became of the objects of an upload.
TAKINGS = {
    Status.FILED: N_("filed"),
    Status.DUPLICATE: N_("duplicate"),
    Status.CHANGED: N_("changed"),
    Status.UNREADABLE: N_("unreadable"),
    Status.REFUSED: N_("refused"),
    Status.OWN: N_("own"),
    "left out": N_("left out"),
}
SEXES = {"M": N_("male"), "F": N_("female"), "O": N_("other")}
#: Why a study was not read, why a reading says no more, what to keep in mind.
REASONS = {
    "no-eligible-series": N_("No series of the study may be read."),
    "nothing-readable": N_("There is no image among the files."),
    "undecodable-slices": N_("Too many slices cannot be decoded."),
    "unreadable-volume": N_("The chosen series cannot be made into a volume."),
    "too-few-slices": N_("There are too few slices."),
    "not-a-chest-ct": N_("This is not a chest CT: too little lung was found."),
    "not-ct": N_("The images are not CT."),
    "not-ct-image": N_("The objects are CT but no images."),
    "localizer": N_("There are only localizers."),
    "no-pixels": N_("The objects hold no pixels."),
    "colour": N_("The images are in colour."),
    "derived-view": N_("The images are reformats or projections, not slices as acquired."),
    "lossy-jpeg": N_("The images are compressed with loss, so that their values are not HU."),
    "unknown-transfer-syntax": N_("The images are encoded in a way that is not decoded here."),
    "no-rescale": N_("The images lack rescale slope or intercept, so that HU are not known."),
    "other-unit": N_("The values of the images are no HU, but in another unit."),
    "no-position": N_("The images lack position or orientation."),
    "no-pixel-spacing": N_("The images lack a usable pixel spacing."),
    "small-matrix": N_("The images have too few pixels."),
    "too-large": N_("The images have too many pixels to be read."),
    "not-axial": N_("The slices are not axial."),
    "too-short": N_("The scan covers too little of the body."),
    "tilted": N_("The gantry was tilted."),
    "too-thick": N_("The slices are too thick or too far apart."),
    "gap": N_("There is a gap between slices."),
    "too-many-missing": N_("Too many slices are missing."),
    "shadow-mode": N_("The model in service has not been released here; nothing that it found is shown or sent."),
    "model-stopped": N_("The model was taken out of service; nothing that it found is shown or sent."),
    "model-changed": N_("Another model came into service while the study was read; it is read again."),
    "reader-crashed": N_("The program that reads died on this study."),
    "reader-failed": N_("The program that reads does not start."),
    "workflow-lost": N_("The reading was lost again and again."),
    "disk-full": N_("The disk is full."),
    "bug": N_("The reading failed by a fault of the software."),
    "out-of-distribution": N_("The scan is unlike those that the model was made for."),
    "child": N_("The patient is a child; the model was trained on adults."),
    "heavy-noise": N_("The noise is heavy: faint lesions cannot be told from it."),
    "motion": N_("Heavy motion, or doubled anatomy."),
    "metal": N_("Metal throws streaks that can look like lesions."),
    "incomplete-lungs": N_("The lungs are not wholly in the scan; volumes and shares are of what is there."),
    "contrast": N_("The scan was taken with contrast, which raises densities; the model was made for scans without."),
    "doubled-slices": N_("At some positions there are two different images; one of them was read."),
    "lossy-compression": N_("The images were compressed with loss; densities may be off."),
    "missing-slices": N_("Slices are missing; volumes bridge the gap."),
    "thick-slices": N_("The slices are thick: small lesions can be missed."),
}


def reason(code: str) -> str:
    """What a code means, in a language other than English; empty where the English sentence says it already, or alone can."""
    return say(REASONS[code]) if code in REASONS and current.get() != ENGLISH else ""


def percent(share: float) -> str:
    """A share in words, without false precision."""
    language = current.get()
    if 0 < share < 0.001:
        return say(N_("under %(percent)s %%"), percent=language.number(0.1, 1))
    return say(N_("%(percent)s %%"), percent=language.number(share * 100, 1 if share < 0.0995 else 0))


def certainty(score: float) -> str:
    """A score in words; none is shown as certain, however it rounds."""
    number = current.get().number
    if score < 0.01:
        return say(N_("under %(score)s"), score=number(0.01, 2))
    return say(N_("over %(score)s"), score=number(0.99, 2)) if score > 0.99 else number(score, 2)


_SENTENCES = {
    (Category.NO_SIGN, "none"): N_("No sign of pneumonia of the COVID-19 pattern: no lesion was found in the lungs."),
    (Category.NO_SIGN, "hardly"): N_("No sign of pneumonia of the COVID-19 pattern: hardly any lesion was found."),
    (Category.NO_SIGN, "some"): N_(
        "No sign of pneumonia of the COVID-19 pattern: %(share)s of the lungs involved, most in the %(zone)s, %(kind)s."
    ),
    (Category.INDETERMINATE, "none"): N_(
        "Indeterminate for pneumonia of the COVID-19 pattern: no lesion was found in the lungs."
    ),
    (Category.INDETERMINATE, "hardly"): N_("Indeterminate for pneumonia of the COVID-19 pattern: hardly any lesion was found."),
    (Category.INDETERMINATE, "some"): N_(
        "Indeterminate for pneumonia of the COVID-19 pattern: %(share)s of the lungs involved, most in the %(zone)s, %(kind)s."
    ),
    (Category.SIGN, "none"): N_("Sign of pneumonia of the COVID-19 pattern: no lesion was found in the lungs."),
    (Category.SIGN, "hardly"): N_("Sign of pneumonia of the COVID-19 pattern: hardly any lesion was found."),
    (Category.SIGN, "some"): N_(
        "Sign of pneumonia of the COVID-19 pattern: %(share)s of the lungs involved, most in the %(zone)s, %(kind)s."
    ),
}
_KINDS = (N_("mostly ground-glass"), N_("ground-glass and consolidation"), N_("mostly consolidation"))


def headline(document: Mapping[str, Any]) -> str:
    """The finding in one sentence, made anew from the parts of a ``reading.json`` as ``results.words`` made the English one."""
    category = Category(document["category"])
    if category is Category.CANNOT_SAY:
        return say(N_("Cannot say.")) + " " + (reason("out-of-distribution") or document["reason"])
    findings = {finding["region"]: finding for finding in document["findings"]}
    lungs = findings[Region.LUNGS]
    if lungs["lesion_ml"] < LITTLE_LESION_ML:
        return say(_SENTENCES[category, "none" if lungs["lesion_ml"] == 0 else "hardly"])
    worst = max((findings[zone] for zone in ZONES), key=lambda finding: finding["lesion_ml"])
    dense = lungs["consolidation_ml"] / lungs["lesion_ml"]
    kind = _KINDS[0 if dense < 0.4 else 2 if dense > 0.6 else 1]
    return say(_SENTENCES[category, "some"], share=percent(lungs["share"]), zone=say(REGIONS[worst["region"]]), kind=say(kind))
