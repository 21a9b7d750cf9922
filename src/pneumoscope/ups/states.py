"""The states of a work item, and what is answered to whoever wants to change them (PS3.4 Table CC.1.1-2)."""

from dataclasses import dataclass
from enum import Enum, StrEnum


class State(StrEnum):
    """Procedure Step State (0074,1000)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


FINAL = (State.COMPLETED, State.CANCELED)
_INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."


@dataclass(frozen=True)
class Answer:
    """``code``: as in DIMSE; ``http``: the status of PS3.18; ``warning``: what its Warning header says."""

    code: str
    http: int
    warning: str = ""


class Status(Enum):
    """Every answer to an act on a work item."""

    DONE = Answer("0000", 200)
    ALREADY_CANCELED = Answer("B304", 200, "The UPS is already in the requested state of CANCELED.")
    ALREADY_COMPLETED = Answer("B306", 200, "The UPS is already in the requested state of COMPLETED.")
    OVER = Answer("C300", 409, _INCONSISTENT)
    ENDED = Answer("C300", 400, _INCONSISTENT)  # the same, of an update (PS3.18 11.6.3)
    KEY_MISSING = Answer("C301", 400, "The Transaction UID is missing.")
    KEY_WRONG = Answer("C301", 400, "The Transaction UID is incorrect.")
    CLAIMED = Answer("C302", 409, _INCONSISTENT)
    ONLY_BY_CREATION = Answer("C303", 400, _INCONSISTENT)
    NOT_MET = Answer("C304", 409, _INCONSISTENT)
    UNKNOWN = Answer("C307", 404)
    NOT_CLAIMED = Answer("C310", 409, _INCONSISTENT)
    NOTHING_TO_UNLOCK = Answer("C310", 409, "The target URI did not reference a claimed Workitem.")
    COMPLETED = Answer("C311", 409, "The UPS is already COMPLETED.")
    OUT_OF_REACH = Answer("C312", 409, "The performer cannot be contacted.")
    DECLINED = Answer("C313", 409, "Performer chooses not to cancel.")


#: What is asked for, with the right Transaction UID: the answer in each state.
_CHANGES: dict[State, dict[State, Status]] = {
    State.IN_PROGRESS: {
        State.SCHEDULED: Status.DONE,
        State.IN_PROGRESS: Status.CLAIMED,
        State.COMPLETED: Status.OVER,
        State.CANCELED: Status.OVER,
    },
    State.COMPLETED: {
        State.SCHEDULED: Status.NOT_CLAIMED,
        State.IN_PROGRESS: Status.DONE,
        State.COMPLETED: Status.ALREADY_COMPLETED,
        State.CANCELED: Status.OVER,
    },
    State.CANCELED: {
        State.SCHEDULED: Status.NOT_CLAIMED,
        State.IN_PROGRESS: Status.DONE,
        State.COMPLETED: Status.OVER,
        State.CANCELED: Status.ALREADY_CANCELED,
    },
}


def change(present: State, requested: State, *, given: str, locking: str) -> Status:
    """Whether a work item may go from ``present`` to ``requested``; final state requirements are not looked at.

    ``given``, ``locking``: the Transaction UID of the request, and the one that the work item was claimed with.
    """
    if requested is State.SCHEDULED:
        return Status.ONLY_BY_CREATION
    if not given:
        return Status.KEY_MISSING
    if present is not State.SCHEDULED and given != locking:
        return Status.KEY_WRONG
    return _CHANGES[requested][present]


def update(present: State, *, given: str, locking: str) -> Status:
    """Whether attributes may be changed: by anyone before the work item is claimed, by its performer until it is over."""
    if present in FINAL:
        return Status.ENDED
    if present is State.SCHEDULED:
        return Status.NOTHING_TO_UNLOCK if given else Status.DONE
    if not given:
        return Status.KEY_MISSING
    return Status.DONE if given == locking else Status.KEY_WRONG


def cancel(present: State) -> Status:
    """Whether a request to cancel may be granted or passed on to the performer."""
    return {State.COMPLETED: Status.COMPLETED, State.CANCELED: Status.ALREADY_CANCELED}.get(present, Status.DONE)
