"""Words of the database and of ``reading.json`` for people: each is listed here, so that each is translated."""

from pneumoscope.config import Role
from pneumoscope.filing.objects import Status
from pneumoscope.fleet.messages import Answer, Mode
from pneumoscope.records import Category, Priority, Region
from pneumoscope.server.language import current, say
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
