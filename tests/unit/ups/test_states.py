"""The state table of the standard, cell by cell (PS3.4 Table CC.1.1-2)."""

import pytest

from pneumoscope.ups import states
from pneumoscope.ups.states import State, Status

KEY = "2.25.1"
S, P, D, C = State.SCHEDULED, State.IN_PROGRESS, State.COMPLETED, State.CANCELED

#: (requested, with the right key): the DIMSE status in SCHEDULED, IN PROGRESS, COMPLETED, CANCELED.
TABLE = [
    (P, True, ("0000", "C302", "C300", "C300")),
    (P, False, ("C301", "C301", "C301", "C301")),
    (S, True, ("C303", "C303", "C303", "C303")),
    (S, False, ("C303", "C303", "C303", "C303")),
    (D, True, ("C310", "0000", "B306", "C300")),
    (D, False, ("C301", "C301", "C301", "C301")),
    (C, True, ("C310", "0000", "C300", "B304")),
    (C, False, ("C301", "C301", "C301", "C301")),
]


@pytest.mark.parametrize(("requested", "right", "codes"), TABLE)
def test_changes_of_state(requested: State, right: bool, codes: tuple[str, ...]) -> None:
    for present, code in zip((S, P, D, C), codes, strict=True):
        # what nobody has claimed has no key yet: the only wrong one is none
        wrong = "" if present is S else "2.25.2"
        status = states.change(present, requested, given=KEY if right else wrong, locking="" if present is S else KEY)
        assert status.value.code == code, present


def test_a_request_without_a_key_is_told_so() -> None:
    assert states.change(P, D, given="", locking=KEY) is Status.KEY_MISSING
    assert states.change(P, D, given="2.25.2", locking=KEY) is Status.KEY_WRONG


@pytest.mark.parametrize(
    ("present", "given", "status"),
    [
        (S, "", Status.DONE),
        (S, KEY, Status.NOTHING_TO_UNLOCK),
        (P, KEY, Status.DONE),
        (P, "", Status.KEY_MISSING),
        (P, "2.25.2", Status.KEY_WRONG),
        (D, KEY, Status.ENDED),
        (C, KEY, Status.ENDED),
    ],
)
def test_updates(present: State, given: str, status: Status) -> None:
    assert states.update(present, given=given, locking=KEY) is status


def test_requests_to_cancel() -> None:
    assert [states.cancel(state).value.code for state in (S, P, D, C)] == ["0000", "0000", "C311", "B304"]


def test_each_answer_is_one_of_its_own() -> None:
    """Two names with the same content would be one, and a test of the one would pass for the other."""
    assert len(Status.__members__) == len(set(Status))
    assert {status.value.http for status in Status} == {200, 400, 404, 409}
