"""What answers to storing mean: DIMSE statuses (PS3.4 table B.2-1, PS3.7 annex C), which STOW-RS uses too (PS3.18 I.2.2)."""

from collections import Counter
from enum import Enum

from pydicom.uid import UID

from pneumoscope.errors import OperatorNeeded, RetryLater


class Verdict(Enum):
    """What must happen after an answer."""

    STORED = "stored"
    LATER = "later"
    OPERATOR = "operator"


NOT_ACCEPTED = 0x0122  # SOP class not supported; ours too where no presentation context was accepted
#: (from, to, verdict, words); the first row that fits counts, and a status in none of them needs an operator.
STATUSES = (
    (0x0000, 0x0000, Verdict.STORED, "success"),
    (0x0111, 0x0111, Verdict.STORED, "it has the object already"),
    (0xB00E, 0xB00E, Verdict.STORED, "it has the object already"),  # as some DICOMweb services of clouds say it
    (0xB000, 0xBFFF, Verdict.STORED, "stored with a warning"),
    (0xA700, 0xA7FF, Verdict.LATER, "out of resources"),
    (0x0213, 0x0213, Verdict.LATER, "resource limitation"),
    (0x0110, 0x0110, Verdict.LATER, "processing failure"),
    (NOT_ACCEPTED, NOT_ACCEPTED, Verdict.OPERATOR, "SOP class not supported"),
    (0x0124, 0x0124, Verdict.OPERATOR, "not authorized"),
    (0xA900, 0xA9FF, Verdict.OPERATOR, "object does not match its SOP class"),
    (0xC000, 0xCFFF, Verdict.OPERATOR, "object not understood"),
)


def judge(status: int) -> tuple[Verdict, str]:
    """What a status means, and in words."""
    row = next((row for row in STATUSES if row[0] <= status <= row[1]), None)
    return (row[2], row[3]) if row else (Verdict.OPERATOR, "no meaning that we know")


class Tally:
    """Counts the answers of one delivery; a partial success is a failure, since a resend does no harm."""

    def __init__(self, *, total: int) -> None:
        self._total = total
        self._stored = 0
        self._failed: Counter[int] = Counter()
        self._unsupported: dict[str, None] = {}

    def count(self, status: int, SOPClassUID: UID | None = None) -> None:
        """One answer."""
        if judge(status)[0] is Verdict.STORED:
            self._stored += 1
            return
        self._failed[status] += 1
        if status == NOT_ACCEPTED and SOPClassUID is not None:
            self._unsupported[SOPClassUID.name] = None

    @property
    def stored(self) -> int:
        """How many objects the peer has."""
        return self._stored

    @property
    def hopeless(self) -> bool:
        """Whether the peer is full, so that the other objects need not be tried."""
        return any(0xA700 <= status <= 0xA7FF for status in self._failed)

    def broken(self) -> RetryLater:
        """The peer broke off or fell silent."""
        return RetryLater(
            f"The peer broke off or did not answer in time; {self._stored} of {self._total} objects were stored.",
            code="peer-aborted",
        )

    def settle(self) -> None:
        """Raise RetryLater or OperatorNeeded unless all were stored."""
        if not self._failed:
            if self._stored < self._total:
                raise RetryLater(f"The peer tells of {self._stored} of {self._total} objects only.", code="peer-stored-some")
            return
        numbers = [(f"0x{status:04X}", judge(status)[1], n) for status, n in sorted(self._failed.items())]
        answers = ", ".join(f"{number} ({meaning}) to {n}" for number, meaning, n in numbers)
        message = f"{self._stored} of {self._total} objects were stored; the peer answered {answers}."
        if self._unsupported:
            kinds = ", ".join(self._unsupported)
            message = f"{self._stored} of {self._total} objects were stored; the peer answered {answers}: {kinds}."
        if any(
            judge(status)[0] is Verdict.LATER for status in self._failed
        ):  # what needs an operator shows when only that is left
            raise RetryLater(message, code="peer-out-of-resources" if self.hopeless else "peer-failed")
        raise OperatorNeeded(message, code="peer-not-accepting" if NOT_ACCEPTED in self._failed else "peer-refused")
