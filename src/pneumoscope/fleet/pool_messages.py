"""What a site and its hub say of readings that sites do for one another; parts of ``messages.py``."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from pneumoscope.fleet.wire import Identifier, Message


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
