"""Everything that crosses the wire between a site and the hub, closed models only: what is not here cannot leave a site.

A site calls, the hub answers: ``Report`` goes up, ``Orders`` come back. Studies appear in closed windows of time as counts and
histograms alone, each count from 1 to 4 as None, and more where sums would tell it (``cells.py``). Words are from fixed lists;
free text does not leave a site.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

#: Grows when what is sent changes its meaning; a hub takes those that it knows.
VERSION = 1
#: A number of studies; None: from 1 to 4, or one that would give such a number away by subtraction.
Count = Annotated[int, Field(ge=0)] | None
#: Name and semantic version of a bundle, as readings carry them; empty: none.
ModelName = Annotated[str, Field(max_length=140, pattern=r"^([a-z0-9]+(-[a-z0-9]+)* [0-9A-Za-z.+-]{1,64})?$")]
DeviceUid = Annotated[str, Field(max_length=64, pattern=r"^[0-9.]*$")]
#: A code of ``errors.py``, never a message.
Code = Annotated[str, Field(max_length=60, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Identifier = Annotated[str, Field(max_length=36, pattern=r"^[0-9a-f-]{1,36}$")]


class Message(BaseModel):
    """Part of a message: frozen, nothing but what it names, and every number one that can be reckoned with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Mode(StrEnum):
    """What becomes of the readings of the model that is in service at a site."""

    SHADOW = "shadow"  # reads everything, shows and delivers nothing: not released yet
    LIVE = "live"
    STOPPED = "stopped"  # taken out of service: as in shadow, and readers are told


class Role(StrEnum):
    """Which of a site's models made a reading."""

    PRESENT = "present"  # the one in service
    CANDIDATE = "candidate"  # runs beside it on the same studies, for comparison alone


class Answer(StrEnum):
    """Categories as keys; their words are those of ``records.Category``."""

    NO_SIGN = "no-sign"
    INDETERMINATE = "indeterminate"
    SIGN = "sign"
    CANNOT_SAY = "cannot-say"


class AlarmKind(StrEnum):
    """What a watch can find. The words for people are in ``alarms.py``."""

    SCORE_DRIFT = "score-drift"
    INPUT_DRIFT = "input-drift"
    AGREEMENT = "agreement"
    CALIBRATION = "calibration"
    FAILURES = "failures"
    REFUSALS = "refusals"
    LATE = "late"
    SUBGROUP = "subgroup"
    STOP_RULE = "stop-rule"
    BUNDLE_REFUSED = "bundle-refused"
    CERTIFICATE = "certificate"
    CLOCK = "clock"
    SILENT = "silent"  # found by the hub alone


#: Upper edges of the bins of each histogram, the last bin is open; the number of bins is one more.
EDGES: dict[str, tuple[float, ...]] = {
    "score": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "involved_percent": (0.1, 1, 5, 10, 25, 50),
    "reading_s": (2, 5, 10, 20, 40, 80),
    "wait_s": (5, 10, 20, 30, 60, 120, 600, 3600),
    "score_difference": (-0.5, -0.2, -0.1, -0.05, 0.05, 0.1, 0.2, 0.5),
    "thickness_mm": (1.01, 1.51, 2.51, 3.51, 5.01),
    "noise_hu": (10, 20, 30, 40, 60, 90),
    "age_years": (20, 40, 50, 60, 70, 80),
    "lung_volume_l": (2, 3, 4, 5, 6, 7),
    "dose_mas": (25, 50, 100, 200, 400),
}
#: Values of what has no order; what is none of them counts as "other", what is not told as "unknown".
WORDS: dict[str, tuple[str, ...]] = {
    "manufacturer": ("ge", "siemens", "philips", "canon", "united-imaging", "neusoft", "fujifilm", "hitachi"),
    "kernel": ("smooth", "standard", "sharp"),
    "sex": ("f", "m"),
}


class Histogram(Message):
    """``bins``: counts between the edges that ``EDGES`` gives for its name; None where all is hidden."""

    bins: tuple[Count, ...]


class Agreement(Message):
    """Answers of people to readings, or blind verdicts beside them."""

    answers: Count = 0
    agreed: Count = 0
    #: What the model said against what people said, "model/people", such as "sign/no-sign".
    table: dict[Annotated[str, Field(pattern=r"^[a-z-]+/[a-z-]+$")], Count] = {}


class Paired(Message):
    """A candidate against the model in service, on the same studies."""

    both: Count = 0
    same_category: Count = 0
    score_difference: Histogram  # candidate minus present


class Subgroup(Message):
    """Readings of one part of the patients."""

    read: Count = 0
    sign: Count = 0
    answers: Count = 0
    agreed: Count = 0


class ModelWindow(Message):
    """What one model did in a window."""

    model: ModelName
    device_uid: DeviceUid
    role: Role
    mode: Mode
    read: Count = 0
    refused: dict[Code, Count] = {}
    failed: dict[Code, Count] = {}
    categories: dict[Answer, Count] = {}
    score: Histogram
    involved_percent: Histogram
    reading_s: Histogram
    agreement: Agreement = Agreement()
    paired: Paired | None = None  # of a candidate
    #: By "sex:f", "age:60-70" and the like: names of ``WORDS`` and edges of ``EDGES``.
    subgroups: dict[Annotated[str, Field(max_length=40, pattern=r"^[a-z_]+:[a-z0-9<>=.-]+$")], Subgroup] = {}


class Window(Message):
    """Readings that ended in [``start``, ``end``): closed, and never changed afterwards."""

    start: AwareDatetime
    end: AwareDatetime
    studies: Count = 0  # whose reading by the model in service ended, however; None first, where few were not read
    wait_s: Histogram  # from the last image to results
    inputs: dict[Annotated[str, Field(max_length=40)], Histogram] = {}  # names of EDGES
    words: dict[Annotated[str, Field(max_length=40)], dict[str, Count]] = {}  # names of WORDS, "other", "unknown"
    models: tuple[ModelWindow, ...] = ()


class Service(Message):
    """Which model serves a site, and which one is tried beside it."""

    model: ModelName
    device_uid: DeviceUid = ""
    mode: Mode
    since: AwareDatetime
    candidate: ModelName = ""
    previous: ModelName = ""  # what a roll-back leads to
    waits_for_people: bool = False  # the hub wishes more than this site's people have released


class Health(Message):
    """How a node is, of which nothing depends on a single study."""

    ready: bool
    faults: tuple[Code, ...] = ()
    waiting: Count = 0  # studies
    disk_free_share: Annotated[float, Field(ge=0, le=1)]
    certificate_days: float
    software: Annotated[str, Field(max_length=40, pattern=r"^[0-9A-Za-z.+-]*$")]


class Alarm(Message):
    """Something that a site's own watch found, in numbers."""

    kind: AlarmKind
    subject: Annotated[str, Field(max_length=60, pattern=r"^[a-z0-9_ .+:-]*$")] = ""  # thickness_mm, a model, a subgroup
    since: AwareDatetime
    value: float = 0
    limit: float = 0


class Urgency(StrEnum):
    """How soon a reading for another hospital is wanted."""

    ROUTINE = "routine"
    URGENT = "urgent"


class Amount(StrEnum):
    """How many images a study has, roughly."""

    FEW = "under-100"
    SOME = "100-400"
    MANY = "over-400"


class Outcome(StrEnum):
    """How a task of reading for another hospital ended."""

    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


#: PEM of a site's certificate in this fleet.
Certificate = Annotated[
    str, Field(max_length=4096, pattern=r"^-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*$")
]
_Base64 = Annotated[str, Field(max_length=4096, pattern=r"^[A-Za-z0-9+/]+=*$")]


class Task(Message):
    """A study that another hospital may read: a random name, and nothing of the patient."""

    id: Identifier
    urgency: Urgency
    images: Amount
    until: AwareDatetime


class Sealed(Message):
    """An invitation that only the taker can open (``sealing.py``)."""

    id: Identifier
    key: _Base64
    content: _Base64


class Take(Message):
    """A site would read this; invitations are sealed to its certificate."""

    id: Identifier
    certificate: Certificate


class Ended(Message):
    """A task is over."""

    id: Identifier
    outcome: Outcome


class Pool(Message):
    """What a site that shares readings says, whole each time."""

    partners: Annotated[tuple[Identifier, ...], Field(max_length=1000)] = ()  # whom its administrators agreed with
    offers: Annotated[tuple[Task, ...], Field(max_length=200)] = ()  # all that are not over
    takes: Annotated[tuple[Take, ...], Field(max_length=50)] = ()
    invitations: Annotated[tuple[Sealed, ...], Field(max_length=200)] = ()
    ended: Annotated[tuple[Ended, ...], Field(max_length=500)] = ()


class Report(Message):
    """From a site, every minute; ``windows``: those closed and not acknowledged yet, the oldest first, at most 50."""

    version: Literal[1] = 1
    sent_at: AwareDatetime
    health: Health
    service: Service
    alarms: tuple[Alarm, ...] = ()
    windows: Annotated[tuple[Window, ...], Field(max_length=50)] = ()
    #: What became of the hub's wish.
    wish: "WishState | None" = None
    #: Where the site shares readings.
    pool: Pool | None = None


class WishKind(StrEnum):
    """What the hub wants of a site concerning one bundle."""

    SHADOW = "shadow"  # fetch, verify, run beside the present one
    LIVE = "live"  # put it in service
    BACK = "back"  # as before: out of service, or no candidate any more


class WishStage(StrEnum):
    """How far a site has come with it."""

    FETCHING = "fetching"
    REFUSED = "refused"  # ``code`` says why; it is not run
    SHADOW = "shadow"
    WAITS = "waits"  # for two people of the site
    LIVE = "live"
    BACK = "back"
    STOPPED = "stopped"


class WishState(Message):
    """A site's answer to the wish of a roll-out."""

    rollout: Identifier
    stage: WishStage
    code: Code | Literal[""] = ""


class Offer(Message):
    """A bundle at the hub: fetched by its digest, believed by its signature alone."""

    model: ModelName
    sha256: Sha256  # of the zip
    size_bytes: Annotated[int, Field(ge=1)]


class Wish(Message):
    """What the hub wants of this site now."""

    rollout: Identifier
    kind: WishKind
    offer: Offer | None = None  # with SHADOW and LIVE
    paused: bool = False  # stay where you are


class Stop(Message):
    """A model that is to be in service at no site; ``reason``: a person's words, which readers are shown."""

    id: Identifier
    model: ModelName
    reason: Annotated[str, Field(min_length=1, max_length=400)]


class Limits(Message):
    """The hub's policy: what a site may set, and when its watch must act."""

    no_sign_below: tuple[float, float] = (0.05, 0.5)  # a site's own limit must lie in here
    sign_from: tuple[float, float] = (0.5, 0.95)
    acceptance_cases: int = 20  # labelled cases that a site reads before release, at least
    acceptance_auc: float = 0.7  # and what its assessment must reach
    failed_share: float = 0.1  # of readings, by a bound that chance seldom crosses
    refused_share: float = 0.5
    agreement: float = 0.7  # share of answers that agree
    wait_s: float = 60  # 95 % of studies
    false_alarms_a_year: float = 1.0  # of all watches of a site together
    stops: tuple[AlarmKind, ...] = (AlarmKind.FAILURES, AlarmKind.AGREEMENT, AlarmKind.CALIBRATION)  # take the model out


class Policy(Message):
    """What holds for every site."""

    window_s: Annotated[float, Field(gt=0)] = 86_400
    every_s: Annotated[float, Field(gt=0)] = 60
    limits: Limits = Limits()


class Neighbour(Message):
    """Another site that shares readings."""

    site: Identifier
    title: Annotated[str, Field(max_length=80)]
    agrees: bool  # its administrators agreed with this site


class Open(Message):
    """A task that this site may take."""

    owner: Identifier
    task: Task


class Assigned(Message):
    """A task of this site that another took."""

    id: Identifier
    taker: Identifier
    certificate: Certificate


class Progress(Message):
    """A task that this site took, or wished to take."""

    id: Identifier
    outcome: Outcome | None = None
    lost: bool = False  # another was first, or it is open no more
    invitation: Sealed | None = None


class PoolOrders(Message):
    """What the hub tells a site that shares readings; it matches, and never sees a link."""

    neighbours: tuple[Neighbour, ...] = ()
    open: tuple[Open, ...] = ()
    assigned: tuple[Assigned, ...] = ()
    progress: tuple[Progress, ...] = ()


class Orders(Message):
    """The hub's answer to a report. A site is its own master: it does what its settings and its people allow."""

    version: Literal[1] = 1
    now: AwareDatetime
    site: Identifier
    title: Annotated[str, Field(max_length=80)]
    province: Annotated[str, Field(max_length=80)]
    policy: Policy = Policy()
    kept: tuple[AwareDatetime, ...] = ()  # starts of windows that the hub has seen
    windows_until: AwareDatetime | None = None  # before this no window of the site may begin any more
    wish: Wish | None = None
    stops: Annotated[tuple[Stop, ...], Field(max_length=100)] = ()
    pool: PoolOrders | None = None


def window_start(moment: datetime, *, window_s: float) -> datetime:
    """The start of the window that ``moment`` lies in: windows begin at whole multiples of their length since 1970, UTC."""
    return datetime.fromtimestamp(moment.timestamp() // window_s * window_s, tz=moment.tzinfo)
